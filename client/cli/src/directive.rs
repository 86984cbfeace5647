//! What the command line itself is told, with a colon in front: no command of a server begins so.

use bytes::Bytes;
use simplekv_types::{ReadPolicy, SessionToken};

/// What one is called, what it takes and what it does. The notation is that of the command table, in which letters change their case
/// when it is shown.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) syntax: &'static str,
    pub(crate) summary: &'static str,
}

/// All there are.
pub(crate) const ALL: [About; 7] = [
    About {
        name: ":read",
        syntax: "[LINEARIZABLE | LEADER | QUORUM | SESSION [token] | BOUNDED ms | ANY]",
        summary: "Chooses which replicas may answer the reads that follow; alone, says which may.",
    },
    About {
        name: ":session",
        syntax: "<ON [token] | OFF | SHOW>",
        summary: "Begins a session, or goes on with the token's; ends it; or shows its token.",
    },
    About {
        name: ":route",
        syntax: "key",
        summary: "Tells a key's slot, group, leader and in-sync replicas, and which of them would answer a read now.",
    },
    About { name: ":json", syntax: "<ON | OFF>", summary: "Shows replies as JSON, one document a line." },
    About { name: ":time", syntax: "<ON | OFF>", summary: "Shows how long each command took." },
    About { name: ":help", syntax: "[command]", summary: "Tells what there is to type, or about one command." },
    About { name: ":quit", syntax: "", summary: "Leaves." },
];

impl About {
    /// What it takes, as people are shown it.
    pub(crate) fn shown(syntax: &str) -> String {
        let swap = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        syntax.chars().map(swap).collect()
    }
}

/// The one of this name, with its colon, in any case.
pub(crate) fn find(name: &str) -> Option<&'static About> {
    ALL.iter().find(|about| about.name.eq_ignore_ascii_case(name))
}

/// One as it was typed, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directive {
    /// Says how reads are done.
    ShowRead,
    Read {
        policy: ReadPolicy,
        token: Option<SessionToken>,
    },
    ShowToken,
    Route {
        key: Bytes,
    },
    Json(bool),
    Time(bool),
    Help(Vec<String>),
    Quit,
}

impl Directive {
    /// Understands words of which the first begins with a colon.
    ///
    /// # Errors
    /// For people: what is wrong, and what is possible.
    pub(crate) fn parse(words: &[Bytes]) -> Result<Self, String> {
        let text: Vec<String> = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let name = text.first().map_or("", String::as_str);
        let Some(about) = find(name) else {
            let names: Vec<&str> = ALL.iter().map(|about| about.name).collect();
            return Err(format!("there is no `{name}`; there are {}", names.join(", ")));
        };
        let arguments: Vec<&str> = text.iter().skip(1).map(String::as_str).collect();
        let understood = match (about.name, arguments.as_slice()) {
            (":read", []) => Some(Self::ShowRead),
            (":read", arguments) => return Self::read(arguments).map_err(|reason| wrong(about, Some(&reason))),
            (":session", arguments) => match session(arguments) {
                Ok(understood) => understood,
                Err(reason) => return Err(wrong(about, Some(&reason))),
            },
            (":route", [_]) => words.get(1).map(|key| Self::Route { key: key.clone() }),
            (":json", [word]) => on_or_off(word).map(Self::Json),
            (":time", [word]) => on_or_off(word).map(Self::Time),
            (":help", topic) => Some(Self::Help(topic.iter().map(|&word| word.to_owned()).collect())),
            (":quit", []) => Some(Self::Quit),
            _ => None,
        };
        understood.ok_or_else(|| wrong(about, None))
    }

    /// Understands what follows `:read`, or `CLIENT READ`.
    ///
    /// # Errors
    /// For people: what is wrong.
    pub(crate) fn read(arguments: &[&str]) -> Result<Self, String> {
        let (&name, mut rest) = arguments.split_first().ok_or("a read policy is missing")?;
        let mut policy = name.to_owned();
        if let Some((&bound, others)) = rest.split_first().filter(|_| name.eq_ignore_ascii_case("bounded")) {
            policy = format!("{name}={bound}");
            rest = others;
        }
        let policy: ReadPolicy = policy.parse().map_err(|error| format!("{error}"))?;
        let token = match (policy, rest) {
            (_, []) => None,
            (ReadPolicy::Session { .. }, [token]) => Some(self::token(token)?),
            (_, [first, ..]) => return Err(format!("`{first}` is too much")),
        };
        Ok(Self::Read { policy, token })
    }
}

fn wrong(about: &About, reason: Option<&str>) -> String {
    let usage = format!("usage: {} {}", about.name, About::shown(about.syntax));
    match reason {
        Some(reason) => format!("{reason}\n{}", usage.trim_end()),
        None => usage.trim_end().to_owned(),
    }
}

fn on_or_off(word: &str) -> Option<bool> {
    [("on", true), ("off", false)].into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, is_on)| is_on)
}

fn session(arguments: &[&str]) -> Result<Option<Directive>, String> {
    let Some((&word, rest)) = arguments.split_first() else { return Ok(None) };
    let policy = |policy, token| Some(Directive::Read { policy, token });
    Ok(match (word.to_ascii_lowercase().as_str(), rest) {
        ("on", []) => policy(ReadPolicy::SESSION, None),
        ("on", [token]) => policy(ReadPolicy::SESSION, Some(self::token(token)?)),
        ("off", []) => policy(ReadPolicy::Linearizable, None),
        ("show", []) => Some(Directive::ShowToken),
        _ => None,
    })
}

fn token(text: &str) -> Result<SessionToken, String> {
    text.parse().map_err(|error| format!("{error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parsed(line: &str) -> Result<Directive, String> {
        Directive::parse(&crate::line::words(line.as_bytes()).unwrap())
    }

    fn reads(policy: ReadPolicy, token: Option<&str>) -> Directive {
        Directive::Read { policy, token: token.map(|token| token.parse().unwrap()) }
    }

    #[test]
    fn what_is_typed_is_understood_in_any_case() {
        for (line, directive) in [
            (":read", Directive::ShowRead),
            (":read any", reads(ReadPolicy::Any, None)),
            (":READ Linearizable", reads(ReadPolicy::Linearizable, None)),
            (":read bounded 100", reads(ReadPolicy::Bounded { max_lag: Duration::from_millis(100) }, None)),
            (":read bounded=2s", reads(ReadPolicy::Bounded { max_lag: Duration::from_secs(2) }, None)),
            (":read session s1-g1.5.0.3.1042", reads(ReadPolicy::SESSION, Some("s1-g1.5.0.3.1042"))),
            (":session on", reads(ReadPolicy::SESSION, None)),
            (":session ON s1", reads(ReadPolicy::SESSION, Some("s1"))),
            (":session off", reads(ReadPolicy::Linearizable, None)),
            (":session show", Directive::ShowToken),
            (r#":route "\xff""#, Directive::Route { key: Bytes::from_static(b"\xff") }),
            (":json on", Directive::Json(true)),
            (":time OFF", Directive::Time(false)),
            (":help set", Directive::Help(vec!["set".into()])),
            (":quit", Directive::Quit),
        ] {
            assert_eq!(parsed(line), Ok(directive), "{line}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_what_is_possible() {
        let read = "usage: :read [linearizable | leader | quorum | session [TOKEN] | bounded MS | any]";
        for (line, reason, usage) in [
            (":read soon", "a read policy is linearizable, leader, quorum, session, bounded or any\n", read),
            (":read bounded", "`bounded` needs a time of at least a millisecond, like `bounded=100ms`\n", read),
            (":read any 5", "`5` is too much\n", read),
            (":session", "", "usage: :session <on [TOKEN] | off | show>"),
            (":session maybe", "", "usage: :session <on [TOKEN] | off | show>"),
            (":route", "", "usage: :route KEY"),
            (":route a b", "", "usage: :route KEY"),
            (":json", "", "usage: :json <on | off>"),
            (":quit now", "", "usage: :quit"),
        ] {
            assert_eq!(parsed(line), Err(format!("{reason}{usage}")), "{line}");
        }
        assert!(parsed(":session on nonsense").unwrap_err().ends_with("\nusage: :session <on [TOKEN] | off | show>"));
        let unknown = "there is no `:foo`; there are :read, :session, :route, :json, :time, :help, :quit";
        assert_eq!(parsed(":foo"), Err(unknown.to_owned()));
    }

    #[test]
    fn every_one_that_is_told_is_understood() {
        for about in &ALL {
            assert!(about.summary.ends_with('.'), "{}", about.name);
            assert!(!parsed(about.name).is_err_and(|error| error.starts_with("there is no")), "{}", about.name);
        }
    }
}
