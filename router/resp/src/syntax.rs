//! The notation of arguments, understood: `key [EX seconds | PERSIST]` as the structure COMMAND DOCS answers and a command line
//! completes from.
//!
//! Lower case is a value, upper case a word to be typed as it is. `[…]` may be left out, `<…>` may not, `|` separates choices, and
//! `[key value ...]` says that what stands before it may be repeated.

/// What is to be given for an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A key.
    Key,
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A decimal number.
    Double,
    /// A glob pattern.
    Pattern,
    /// A Unix time.
    UnixTime,
    /// Nothing but its token.
    PureToken,
    /// One of the arguments inside.
    OneOf,
    /// All of the arguments inside.
    Block,
}

impl ArgumentKind {
    /// The kind's name, as COMMAND DOCS answers it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }

    fn of_value(name: &str) -> Self {
        match name {
            "key" | "newkey" | "source" | "destination" => Self::Key,
            "pattern" => Self::Pattern,
            name if name.starts_with("unix-time") => Self::UnixTime,
            "seconds" | "milliseconds" | "decrement" | "offset" | "start" | "end" | "count" | "cursor"
            | "numreplicas" | "timeout" | "index" | "slot" | "start-slot" | "end-slot" | "limit" | "client-id"
            | "protover" | "destination-db" | "stop" | "numkeys" | "rank" | "num-matches" | "len" => Self::Integer,
            "increment" | "longitude" | "latitude" | "radius" | "width" | "height" => Self::Double,
            _ => Self::String,
        }
    }
}

/// One argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What it is called.
    pub name: String,
    /// What is to be given for it.
    pub kind: ArgumentKind,
    /// The word in front of it, if there is one.
    pub token: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be given several times.
    pub multiple: bool,
    /// What a choice or a block is made of.
    pub arguments: Vec<Argument>,
}

impl Argument {
    fn new(name: &str, kind: ArgumentKind) -> Self {
        Self { name: name.to_owned(), kind, token: None, optional: false, multiple: false, arguments: Vec::new() }
    }

    fn of(kind: ArgumentKind, arguments: Vec<Self>) -> Self {
        let name = arguments.first().map_or("", |first| first.name.as_str()).to_owned();
        Self { arguments, ..Self::new(&name, kind) }
    }
}

/// The arguments a row of the command table describes. What is written wrongly there (a bracket not closed) is read as far as it goes.
#[must_use]
pub fn arguments(syntax: &'static str) -> Vec<Argument> {
    let mut tokens = Tokens { rest: syntax };
    let mut choices = choices(&mut tokens);
    choices.drain(..).next().unwrap_or_default()
}

struct Tokens {
    rest: &'static str,
}

impl Iterator for Tokens {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        self.rest = self.rest.trim_start();
        let is_mark = |c: char| matches!(c, '[' | ']' | '<' | '>' | '|');
        let end = match self.rest.chars().next()? {
            mark if is_mark(mark) => 1,
            _ => self.rest.find(|c: char| c == ' ' || is_mark(c)).unwrap_or(self.rest.len()),
        };
        let (token, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(token)
    }
}

/// Sequences separated by `|`, up to a closing bracket or the end. Nesting is as deep as the table's own text.
fn choices(tokens: &mut Tokens) -> Vec<Vec<Argument>> {
    let mut choices = vec![Sequence::default()];
    while let Some(token) = tokens.next() {
        let Some(sequence) = choices.last_mut() else { break };
        match token {
            "]" | ">" => break,
            "|" => choices.push(Sequence::default()),
            "[" => sequence.bracket(self::choices(tokens), true),
            "<" => sequence.bracket(self::choices(tokens), false),
            word => sequence.word(word),
        }
    }
    choices.into_iter().map(Sequence::finish).collect()
}

/// Arguments read so far, and the token that waits for its value.
#[derive(Default)]
struct Sequence {
    arguments: Vec<Argument>,
    token: Option<&'static str>,
}

impl Sequence {
    fn word(&mut self, word: &'static str) {
        if word.chars().any(|c| c.is_ascii_uppercase()) {
            self.flush_token();
            self.token = Some(word);
        } else {
            let kind = if word == "..." { ArgumentKind::PureToken } else { ArgumentKind::of_value(word) };
            self.push(Argument::new(word, kind));
        }
    }

    fn push(&mut self, mut argument: Argument) {
        argument.token = self.token.take();
        self.arguments.push(argument);
    }

    /// A token without a value stands for itself.
    fn flush_token(&mut self) {
        if let Some(token) = self.token.take() {
            let mut argument = Argument::new(&token.to_ascii_lowercase(), ArgumentKind::PureToken);
            argument.token = Some(token);
            self.arguments.push(argument);
        }
    }

    fn bracket(&mut self, choices: Vec<Vec<Argument>>, optional: bool) {
        if let [only] = choices.as_slice()
            && only.last().is_some_and(|last| last.name == "...")
        {
            return self.repeat(only.len() - 1);
        }
        if optional {
            self.flush_token();
        }
        let mut alternatives: Vec<Argument> = choices.into_iter().filter_map(single).collect();
        let argument = match alternatives.len() {
            0 => return,
            1 => alternatives.remove(0),
            _ => Argument::of(ArgumentKind::OneOf, alternatives),
        };
        let token = self.token.take().or(argument.token);
        self.arguments.push(Argument { optional, token, ..argument });
    }

    /// The last `count` arguments may be repeated.
    fn repeat(&mut self, count: usize) {
        let block = self.arguments.split_off(self.arguments.len().saturating_sub(count));
        if let Some(mut argument) = single(block) {
            argument.multiple = true;
            self.arguments.push(argument);
        }
    }

    fn finish(mut self) -> Vec<Argument> {
        self.flush_token();
        self.arguments
    }
}

/// A sequence as one argument.
fn single(mut sequence: Vec<Argument>) -> Option<Argument> {
    match sequence.len() {
        0 => None,
        1 => sequence.pop(),
        _ => Some(Argument::of(ArgumentKind::Block, sequence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An argument in a notation of its own: `name:kind/token?+(inner)`.
    fn show(argument: &Argument) -> String {
        let token = argument.token.map(|token| format!("/{token}")).unwrap_or_default();
        let inner = match argument.arguments.as_slice() {
            [] => String::new(),
            inner => format!("({})", inner.iter().map(show).collect::<Vec<_>>().join(" ")),
        };
        let optional = if argument.optional { "?" } else { "" };
        let multiple = if argument.multiple { "+" } else { "" };
        format!("{}:{}{token}{optional}{multiple}{inner}", argument.name, argument.kind.name())
    }

    #[test]
    fn the_notation_is_understood() {
        for (syntax, expected) in [
            ("", vec![]),
            ("key", vec!["key:key"]),
            ("key [key ...]", vec!["key:key+"]),
            ("key value [key value ...]", vec!["key:block+(key:key value:string)"]),
            ("[section [section ...]]", vec!["section:string?+"]),
            ("<ON | OFF>", vec!["on:oneof(on:pure-token/ON off:pure-token/OFF)"]),
            (
                "key [EX seconds | PERSIST]",
                vec!["key:key", "seconds:oneof?(seconds:integer/EX persist:pure-token/PERSIST)"],
            ),
            ("key [GET]", vec!["key:key", "get:pure-token/GET?"]),
            ("cursor [MATCH pattern]", vec!["cursor:integer", "pattern:pattern/MATCH?"]),
            (
                "[v [AUTH username password] [SETNAME name]]",
                vec!["v:block?(v:string username:block?(username:string/AUTH password:string) name:string/SETNAME?)"],
            ),
            (
                "[TYPE <A | B>] [ID client-id [client-id ...]]",
                vec!["a:oneof/TYPE?(a:pure-token/A b:pure-token/B)", "client-id:integer/ID?+"],
            ),
        ] {
            assert_eq!(arguments(syntax).iter().map(show).collect::<Vec<_>>(), expected, "{syntax}");
        }
    }
}
