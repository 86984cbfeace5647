//! The prompt of a terminal.

use std::borrow::Cow;
use std::io::Write;

use reedline::{
    ColumnarMenu, Completer, CompletionResult, DefaultHinter, EditCommand, Emacs, Hinter, History, KeyCode,
    KeyModifiers, MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, Span, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};

use crate::history::Discreet;
use crate::session::{Session, Step};
use crate::{completion, line};

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
        let prompt = Address(session.prompt());
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
            Some(Step::Listening { text }) => {
                writeln!(out, "Listening; Ctrl-C leaves.")?;
                // It is left only by being ended.
                editor.sync_history()?;
                if let Err(error) = session.listen(text, b"\n", &mut out) {
                    writeln!(out, "(error) {error}")?;
                }
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
        .with_history_exclusion_prefix(Some(" ".to_owned()))
        .with_completer(Box::new(Names))
        .with_hinter(Box::new(Hints { history: DefaultHinter::default(), is_syntax: false }))
        .with_validator(Box::new(Quotes))
        .with_menu(menu)
        .with_quick_completions(true)
        .with_partial_completions(true)
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

/// What the Tab key offers.
struct Names;

impl Completer for Names {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let typed = line.get(..pos).unwrap_or(line);
        let suggestions = completion::suggestions(typed).into_iter().map(|suggestion| Suggestion {
            value: suggestion.word,
            description: suggestion.about,
            span: Span { start: suggestion.start, end: typed.len() },
            append_whitespace: true,
            ..Suggestion::default()
        });
        CompletionResult::fresh(suggestions.collect::<Vec<_>>())
    }
}

/// Shows behind a word what is still to come, and within one how the line went on the last time.
struct Hints {
    history: DefaultHinter,
    is_syntax: bool,
}

impl Hinter for Hints {
    fn handle(&mut self, line: &str, pos: usize, history: &dyn History, use_ansi_coloring: bool, cwd: &str) -> String {
        let is_between_words = line.ends_with(' ');
        let from_history = self.history.handle(line, pos, history, use_ansi_coloring, cwd);
        let syntax = if is_between_words || from_history.is_empty() { completion::hint(line) } else { None };
        self.is_syntax = syntax.is_some();
        match syntax {
            Some(syntax) if use_ansi_coloring => format!("\x1b[90m{syntax}\x1b[0m"),
            Some(syntax) => syntax,
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
