//! What may come next on a line: names for the Tab key, and the arguments that are still missing.

use simplekv_resp::table::{self, Spec, TABLE};

use crate::directive::{self, About};
use crate::notation::Rest;
use crate::{help, line};

/// Words of our own that stand for themselves.
const OWN: [(&str, &str, &str); 3] = [
    ("help", "[command | @group]", "Tells what there is to type, or about a command, or which commands a group has."),
    ("clear", "", "Empties the screen."),
    ("exit", "", "Leaves."),
];

/// A word that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suggestion {
    pub(crate) word: String,
    pub(crate) about: Option<String>,
    /// Where on the line it begins.
    pub(crate) start: usize,
}

/// The words that what has been typed may go on with, in the case it is typed in.
pub(crate) fn suggestions(typed: &str) -> Vec<Suggestion> {
    let (words, begun) = line::cut(typed);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let is_lower = is_lower(begun).or_else(|| is_lower(words.first()?)).unwrap_or(false);
    let start = typed.len() - begun.len();
    candidates(&words, begun)
        .into_iter()
        .filter(|(word, _)| word.get(..begun.len()).is_some_and(|name| name.eq_ignore_ascii_case(begun)))
        .map(|(word, about)| {
            let word = if is_lower { word.to_ascii_lowercase() } else { word.to_ascii_uppercase() };
            Suggestion { word, about, start }
        })
        .collect()
}

/// Whether a word is typed in lower case; `None` if it has no letters.
fn is_lower(word: &str) -> Option<bool> {
    word.chars().any(|c| c.is_ascii_alphabetic()).then(|| word.chars().any(|c| c.is_ascii_lowercase()))
}

type Candidate = (&'static str, Option<String>);

fn candidates(words: &[&str], begun: &str) -> Vec<Candidate> {
    let Some((&first, rest)) = words.split_first() else {
        let directives = directive::ALL.iter().map(|about| (about.name, Some(about.summary.to_owned())));
        if begun.starts_with(':') {
            return directives.collect();
        }
        let own = OWN.iter().map(|(name, _, summary)| (*name, Some((*summary).to_owned())));
        return TABLE.iter().map(named).chain(own).chain(directives).collect();
    };
    if is_help(first) {
        return topics(rest);
    }
    if let Some(spec) = table::find(first.as_bytes()).filter(|spec| rest.is_empty() && !spec.subcommands.is_empty()) {
        return spec.subcommands.iter().map(named).collect();
    }
    missing(words).map_or_else(Vec::new, |rest| rest.next_words().into_iter().map(|word| (word, None)).collect())
}

fn named(spec: &Spec) -> Candidate {
    (spec.own_name(), Some(spec.summary.to_owned()))
}

fn is_help(word: &str) -> bool {
    ["help", "?", ":help"].iter().any(|name| name.eq_ignore_ascii_case(word))
}

/// What help there is.
fn topics(words: &[&str]) -> Vec<Candidate> {
    match words {
        [] => {
            let directives = directive::ALL.iter().map(|about| (about.name, Some(about.summary.to_owned())));
            let groups = help::groups().into_iter().map(|group| (group, None));
            TABLE.iter().map(named).chain(groups).chain(directives).collect()
        }
        [command] => {
            let spec = table::find(command.as_bytes());
            spec.map_or_else(Vec::new, |spec| spec.subcommands.iter().map(named).collect())
        }
        _ => Vec::new(),
    }
}

/// What is to come after these words; `None` if they begin nothing known.
fn missing(words: &[&str]) -> Option<Rest> {
    let (&first, rest) = words.split_first()?;
    if let Some(about) = directive::find(first) {
        return Some(Rest::of(about.syntax).after(rest.iter().copied()));
    }
    if let Some((_, syntax, _)) = OWN.iter().find(|(name, ..)| name.eq_ignore_ascii_case(first)) {
        return Some(Rest::of(syntax).after(rest.iter().copied()));
    }
    let spec = table::find(first.as_bytes())?;
    let (spec, rest) = match rest.split_first() {
        Some((sub, rest)) if !spec.subcommands.is_empty() => {
            (table::find_full(format!("{first}|{sub}").as_bytes())?, rest)
        }
        _ => (spec, rest),
    };
    Some(Rest::of(spec.syntax).after(rest.iter().copied()))
}

/// The arguments a line still lacks, to be shown behind it.
pub(crate) fn hint(typed: &str) -> Option<String> {
    let (words, begun) = line::cut(typed);
    let words: Vec<&str> = words.iter().map(String::as_str).chain((!begun.is_empty()).then_some(begun)).collect();
    let rest = missing(&words).filter(|rest| !rest.is_empty())?.to_string();
    let is_directive = words.first().is_some_and(|word| word.starts_with(':'));
    let rest = if is_directive { About::shown(&rest) } else { rest };
    Some(if begun.is_empty() { rest } else { format!(" {rest}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(typed: &str) -> Vec<String> {
        suggestions(typed).into_iter().map(|suggestion| suggestion.word).collect()
    }

    #[test]
    fn names_are_completed_in_the_case_they_are_typed() {
        assert_eq!(completed("ren"), ["rename", "renamenx"]);
        assert_eq!(completed("REN"), ["RENAME", "RENAMENX"]);
        assert!(completed("client set").contains(&"setname".to_owned()));
        assert!(completed("client ").contains(&"setname".to_owned()));
        assert!(completed("CLIENT ").contains(&"SETNAME".to_owned()));
        assert_eq!(suggestions("client setn")[0].start, 7);
        assert_eq!(completed("exi"), ["exists", "exit"]);
        assert!(completed("get k").is_empty());
        assert!(completed("nosuch x").is_empty());
    }

    #[test]
    fn options_are_completed_where_they_may_stand() {
        assert_eq!(completed("set k v kee"), ["keepttl"]);
        assert_eq!(completed("SET k v KEE"), ["KEEPTTL"]);
        assert!(completed("set k kee").is_empty(), "it is the value");
        assert_eq!(completed("set 'a b' v n"), ["nx"]);
        assert_eq!(completed("client read b"), ["bounded"]);
    }

    #[test]
    fn what_begins_with_a_colon_is_completed_with_its_arguments() {
        assert_eq!(completed(":r"), [":read", ":route"]);
        assert_eq!(completed(":read "), ["linearizable", "leader", "quorum", "session", "bounded", "any"]);
        assert_eq!(completed(":read l"), ["linearizable", "leader"]);
        assert_eq!(completed(":session s"), ["show"]);
        assert!(completed(":route k").is_empty());
    }

    #[test]
    fn help_is_completed_with_all_it_knows() {
        assert_eq!(completed("help ren"), ["rename", "renamenx"]);
        assert_eq!(completed("help @str"), ["@string"]);
        assert_eq!(completed("help :se"), [":session"]);
        assert!(completed("help client set").contains(&"setname".to_owned()));
    }

    #[test]
    fn arguments_are_hinted_as_the_line_grows() {
        for (typed, expected) in [
            ("get ", Some("key")),
            ("get", Some(" key")),
            ("ge", None),
            ("get k", None),
            ("get k ", None),
            ("incrby k", Some(" increment")),
            ("incrby k ", Some("increment")),
            ("client setname ", Some("connection-name")),
            ("client", None),
            ("help ", Some("[command | @group]")),
            (":route ", Some("KEY")),
            (":read bounded ", Some("MS")),
            (":session ", Some("<on [TOKEN] | off | show>")),
            ("nosuch ", None),
        ] {
            assert_eq!(hint(typed).as_deref(), expected, "{typed}");
        }
        let set = hint("set k v ex 5 ").unwrap();
        assert!(set.contains("NX") && !set.contains("EX seconds"), "{set}");
    }
}
