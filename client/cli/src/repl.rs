//! The prompt of a terminal.

use std::borrow::Cow;
use std::io::Write;

use reedline::{
    ColumnarMenu, Completer, CompletionResult, DefaultHinter, EditCommand, Emacs, Hinter, History, KeyCode,
    KeyModifiers, MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, Span, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};
use simplekv_resp::table::TABLE;

use crate::history::Discreet;
use crate::session::{Session, Step};
use crate::{help, line};

const MENU: &str = "commands";

/// Reads lines and answers them until the user leaves.
///
/// # Errors
/// The terminal does not work.
pub(crate) fn run(session: &mut Session) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if let Err(error) = session.greet() {
        writeln!(out, "{error}")?;
    }
    let mut editor = editor()?;
    loop {
        let prompt = Address(session.server().to_string());
        let step = match editor.read_line(&prompt)? {
            Signal::Success(line) => session.run_line(line.as_bytes()),
            Signal::CtrlD => Some(Step::Exit),
            _ => None,
        };
        match step {
            None => (),
            Some(Step::Said { mut text, .. }) => {
                text.push(b'\n');
                out.write_all(&text)?;
            }
            Some(Step::Clear) => editor.clear_screen()?,
            Some(Step::Exit) => return Ok(()),
        }
    }
}

fn editor() -> anyhow::Result<Reedline> {
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]),
    );
    keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, ReedlineEvent::Edit(vec![EditCommand::InsertNewline]));
    let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU)));
    Ok(Reedline::create()
        .with_history(Box::new(Discreet::open()?))
        .with_completer(Box::new(CommandNames))
        .with_hinter(Box::new(Hints { history: DefaultHinter::default(), is_syntax: false }))
        .with_validator(Box::new(Quotes))
        .with_menu(menu)
        .with_edit_mode(Box::new(Emacs::new(keys))))
}

/// The prompt: whom we talk to.
struct Address(String);

impl Prompt for Address {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("... ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = if matches!(search.status, PromptHistorySearchStatus::Failing) { "failing " } else { "" };
        Cow::Owned(format!("({failing}search: {}) ", search.term))
    }
}

/// Completes command names, and the names of subcommands.
struct CommandNames;

impl Completer for CommandNames {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        CompletionResult::fresh(suggestions(line.get(..pos).unwrap_or(line)))
    }
}

fn suggestions(typed: &str) -> Vec<Suggestion> {
    let (rows, begun) = match typed.split_once(' ') {
        None => (TABLE.iter().collect::<Vec<_>>(), typed),
        Some((command, begun)) if !begun.contains(' ') => {
            let spec = TABLE.iter().find(|spec| spec.name.eq_ignore_ascii_case(command));
            (spec.map(|spec| spec.subcommands.iter().collect()).unwrap_or_default(), begun)
        }
        Some(_) => (Vec::new(), ""),
    };
    let start = typed.len() - begun.len();
    let is_lower = begun.chars().any(|c| c.is_ascii_lowercase());
    rows.into_iter()
        .filter(|spec| spec.own_name().get(..begun.len()).is_some_and(|name| name.eq_ignore_ascii_case(begun)))
        .map(|spec| Suggestion {
            value: if is_lower { spec.own_name().to_owned() } else { spec.own_name().to_ascii_uppercase() },
            description: Some(spec.summary.to_owned()),
            span: Span { start, end: typed.len() },
            append_whitespace: true,
            ..Suggestion::default()
        })
        .collect()
}

/// Shows what a command takes as soon as its name is typed; else how the line went on the last time.
struct Hints {
    history: DefaultHinter,
    is_syntax: bool,
}

impl Hinter for Hints {
    fn handle(&mut self, line: &str, pos: usize, history: &dyn History, use_ansi_coloring: bool, cwd: &str) -> String {
        let from_history = self.history.handle(line, pos, history, use_ansi_coloring, cwd);
        let syntax = help::missing_arguments(line).filter(|_| from_history.is_empty());
        self.is_syntax = syntax.is_some();
        match syntax {
            Some(syntax) if use_ansi_coloring => format!("\x1b[90m{syntax}\x1b[0m"),
            Some(syntax) => syntax.to_owned(),
            None => from_history,
        }
    }

    /// What a command takes is to be read, not to be typed.
    fn complete_hint(&self) -> String {
        if self.is_syntax { String::new() } else { self.history.complete_hint() }
    }

    fn next_hint_token(&self) -> String {
        if self.is_syntax { String::new() } else { self.history.next_hint_token() }
    }
}

/// A line with an open quote goes on.
struct Quotes;

impl Validator for Quotes {
    fn validate(&self, line: &str) -> ValidationResult {
        if line::is_open(line) { ValidationResult::Incomplete } else { ValidationResult::Complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(typed: &str) -> Vec<String> {
        suggestions(typed).into_iter().map(|suggestion| suggestion.value).collect()
    }

    #[test]
    fn names_are_completed_in_the_case_they_are_typed() {
        assert_eq!(completed("ren"), ["rename", "renamenx"]);
        assert_eq!(completed("REN"), ["RENAME", "RENAMENX"]);
        assert!(completed("client set").contains(&"setname".to_owned()));
        assert_eq!(suggestions("client setn")[0].span.start, 7);
        assert!(completed("get k").is_empty());
        assert!(completed("nosuch x").is_empty());
    }
}
