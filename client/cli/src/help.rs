//! Help, from the command table.

use std::fmt::Write as _;
use std::sync::LazyLock;

use simplekv_resp::table::{self, Spec, TABLE};

use crate::directive::{self, About};

/// What `help` answers: for a command, what it does and takes; for a group of commands, their list; else an overview.
pub(crate) fn text(about: &[String]) -> String {
    let Some(topic) = about.first() else { return overview() };
    if let Some(group) = topic.strip_prefix('@') {
        return group_of(group);
    }
    if let Some(about) = directive::find(topic) {
        let title = format!("{} {}", about.name, About::shown(about.syntax));
        return format!("{}\n  {}", title.trim_end(), about.summary);
    }
    let full = about.join("|");
    match table::find_full(full.as_bytes()).or_else(|| table::find(topic.as_bytes())) {
        Some(spec) => command(spec),
        None => format!("there is no command `{}`; `help` shows what there is", about.join(" ")),
    }
}

/// The groups of commands, each with its `@`.
pub(crate) fn groups() -> Vec<&'static str> {
    static GROUPS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut groups: Vec<String> = TABLE.iter().map(|spec| format!("@{}", spec.group.name())).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    });
    GROUPS.iter().map(String::as_str).collect()
}

fn overview() -> String {
    let mut text = format!(
        "help COMMAND    what a command does and takes\n\
         help @GROUP     the commands of a group: {}\n\
         clear           empties the screen\n\
         exit            leaves (so does Ctrl-D)\n\
         Tab completes names and options; Ctrl-C gives up a line, Alt-Enter begins another.\n\
         Words are separated by blanks; \"…\" holds blanks and escapes (\\n, \\x41), '…' only blanks.\n\
         A line that begins with a blank, or names a password, is not kept in the history.\n\
         For the command line itself:",
        groups().join(" ")
    );
    for about in &directive::ALL {
        // Writing to a string does not fail.
        let _ = write!(text, "\n{:15} {}", about.name, about.summary);
    }
    text
}

fn group_of(group: &str) -> String {
    let mut text = String::new();
    for spec in TABLE.iter().filter(|spec| spec.group.name().eq_ignore_ascii_case(group)) {
        let rows = if spec.subcommands.is_empty() { std::slice::from_ref(spec) } else { spec.subcommands };
        for row in rows {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:24} {}", title(row), row.summary);
        }
    }
    if text.is_empty() {
        format!("there is no group `@{group}`; `help` shows what there is")
    } else {
        text.trim_end().to_owned()
    }
}

fn command(spec: &Spec) -> String {
    let mut text = format!("{} {}", title(spec), spec.syntax).trim_end().to_owned();
    let _ = write!(
        text,
        "\n  {}\n  group: @{}, since: {}, cost: {}",
        spec.summary,
        spec.group.name(),
        spec.since,
        spec.complexity
    );
    for sub in spec.subcommands {
        let _ = write!(text, "\n  {:24} {}", format!("{} {}", title(sub), sub.syntax).trim_end(), sub.summary);
    }
    text
}

/// A command's name as it is typed.
pub(crate) fn title(spec: &Spec) -> String {
    spec.name.replace('|', " ").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(about: &str) -> String {
        text(&about.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn help_comes_from_the_command_table() {
        assert!(help("get").starts_with("GET key\n"), "{}", help("get"));
        assert!(help("client setname").starts_with("CLIENT SETNAME "));
        assert!(help("client").contains("CLIENT GETNAME"));
        assert!(help("@string").contains("\nSET "));
        assert!(help("").contains("@generic"));
        assert!(help("nosuch").contains("there is no command"));
    }

    #[test]
    fn help_knows_what_begins_with_a_colon() {
        assert_eq!(help(":route").lines().next(), Some(":route KEY"));
        assert!(help("").contains("\n:session "));
    }

    #[test]
    fn every_command_and_group_has_help() {
        for spec in TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)) {
            let text = help(&spec.name.replace('|', " "));
            assert!(text.starts_with(&title(spec)) && text.contains(spec.summary), "{text}");
        }
        for group in groups() {
            assert!(!help(group).starts_with("there is no"), "{group}");
        }
    }
}
