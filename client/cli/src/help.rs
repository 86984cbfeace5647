//! Help, from the command table.

use std::fmt::Write as _;

use simplekv_resp::table::{self, Spec, TABLE};

/// What `help` answers: for a command, what it does and takes; for a group of commands, their list; else an overview.
pub(crate) fn text(about: &[String]) -> String {
    let Some(topic) = about.first() else { return overview() };
    if let Some(group) = topic.strip_prefix('@') {
        return group_of(group);
    }
    let full = about.join("|");
    match table::find_full(full.as_bytes()).or_else(|| table::find(topic.as_bytes())) {
        Some(spec) => command(spec),
        None => format!("there is no command `{}`; `help` shows what there is", about.join(" ")),
    }
}

fn overview() -> String {
    let mut groups: Vec<&str> = TABLE.iter().map(|spec| spec.group.name()).collect();
    groups.sort_unstable();
    groups.dedup();
    let groups: Vec<String> = groups.into_iter().map(|group| format!("@{group}")).collect();
    format!(
        "help COMMAND    what a command does and takes\n\
         help @GROUP     the commands of a group: {}\n\
         clear           empties the screen\n\
         exit            leaves (so does Ctrl-D)\n\
         Words are separated by blanks; \"…\" holds blanks and escapes (\\n, \\x41), '…' only blanks.",
        groups.join(" ")
    )
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
    let _ = write!(text, "\n  {}\n  group: @{}, cost: {}", spec.summary, spec.group.name(), spec.complexity);
    for sub in spec.subcommands {
        let _ = write!(text, "\n  {:24} {}", format!("{} {}", title(sub), sub.syntax).trim_end(), sub.summary);
    }
    text
}

/// A command's name as it is typed.
pub(crate) fn title(spec: &Spec) -> String {
    spec.name.replace('|', " ").to_ascii_uppercase()
}

/// The arguments a line still lacks, if all of it so far is a command's name and a blank.
pub(crate) fn missing_arguments(line: &str) -> Option<&'static str> {
    let name = line.strip_suffix(' ')?;
    let words: Vec<&str> = name.split_whitespace().collect();
    let spec = match words.as_slice() {
        [command] => table::find(command.as_bytes())?,
        [command, sub] => table::find_full(format!("{command}|{sub}").as_bytes())?,
        _ => return None,
    };
    (!spec.syntax.is_empty()).then_some(spec.syntax)
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
    fn a_name_followed_by_a_blank_is_told_its_arguments() {
        assert_eq!(missing_arguments("get "), Some("key"));
        assert_eq!(missing_arguments("get"), None);
        assert_eq!(missing_arguments("get k "), None);
        assert!(missing_arguments("client setname ").is_some());
    }
}
