//! The notation of arguments, followed while somebody types: `key value [NX | XX] [EX seconds | PERSIST]`.
//!
//! Upper case is a word to be typed as it is, lower case stands for a value; `[…]` may be left out, `<…>` may not, `|` separates choices,
//! and `[key value ...]` says that what stands before it may be repeated. Options may be given in any order.

use std::fmt::{self, Write as _};

/// What is still to come on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rest(Vec<Item>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Value(&'static str),
    Word(&'static str),
    Group { optional: bool, choices: Vec<Vec<Item>> },
}

impl Rest {
    /// All of a command's arguments.
    pub(crate) fn of(syntax: &'static str) -> Self {
        Self(choices(&mut Tokens { rest: syntax }).into_iter().next().unwrap_or_default())
    }

    /// What is to come after these words.
    pub(crate) fn after<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        Self(words.into_iter().fold(self.0, after))
    }

    /// Whether nothing is.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words of which one may come next, in upper case.
    pub(crate) fn next_words(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        first_words(&self.0, &mut words);
        words
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_sequence(&self.0, f)
    }
}

fn write_sequence(items: &[Item], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_char(' ')?;
        }
        match item {
            Item::Value(word) | Item::Word(word) => f.write_str(word)?,
            Item::Group { optional, choices } => {
                f.write_char(if *optional { '[' } else { '<' })?;
                for (at, choice) in choices.iter().enumerate() {
                    f.write_str(if at > 0 { " | " } else { "" })?;
                    write_sequence(choice, f)?;
                }
                f.write_char(if *optional { ']' } else { '>' })?;
            }
        }
    }
    Ok(())
}

const ELLIPSIS: &str = "...";

/// `[key value ...]`
fn is_repeat(item: &Item) -> bool {
    matches!(item, Item::Group { choices, .. } if matches!(choices.as_slice(), [only] if only.last() == Some(&Item::Value(ELLIPSIS))))
}

fn is_optional(item: &Item) -> bool {
    matches!(item, Item::Group { optional: true, .. })
}

fn after(mut items: Vec<Item>, word: &str) -> Vec<Item> {
    let leading = items.iter().take_while(|item| is_optional(item)).count();
    let candidates = (leading + 1).min(items.len());
    let is_this = |known: &str| known.eq_ignore_ascii_case(word);
    // A word that is one of an option's is that option, wherever it stands; anything else is the first value that may come.
    let begun = (0..candidates)
        .find_map(|at| {
            Some((at, begin(items.get(at)?, &|first| matches!(first, Item::Word(known) if is_this(known)))?))
        })
        .or_else(|| {
            (0..candidates).find_map(|at| Some((at, begin(items.get(at)?, &|first| matches!(first, Item::Value(_)))?)))
        });
    let Some((at, mut rest)) = begun else { return Vec::new() };
    // Options are over once a value behind them has come.
    let behind = items.split_off(at);
    let keeps_options = behind.first().is_some_and(is_optional);
    let skip = usize::from(!behind.first().is_some_and(is_repeat));
    if keeps_options {
        rest.extend(items);
    }
    rest.extend(behind.into_iter().skip(skip));
    rest
}

/// What an item leaves to be typed once its first part, if that is such a one, has been.
fn begin(item: &Item, is_first: &dyn Fn(&Item) -> bool) -> Option<Vec<Item>> {
    match item {
        Item::Group { choices, .. } => choices.iter().find_map(|choice| {
            let (first, others) = choice.split_first()?;
            let mut rest = begin(first, is_first)?;
            rest.extend(others.iter().filter(|other| **other != Item::Value(ELLIPSIS)).cloned());
            Some(rest)
        }),
        other => is_first(other).then(Vec::new),
    }
}

fn first_words(items: &[Item], words: &mut Vec<&'static str>) {
    for item in items {
        match item {
            Item::Word(word) => words.push(word),
            Item::Value(_) => (),
            Item::Group { choices, .. } => {
                choices.iter().for_each(|choice| first_words(choice.get(..1).unwrap_or_default(), words))
            }
        }
        if !is_optional(item) {
            return;
        }
    }
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
fn choices(tokens: &mut Tokens) -> Vec<Vec<Item>> {
    let mut choices = vec![Vec::new()];
    while let Some(token) = tokens.next() {
        let Some(sequence) = choices.last_mut() else { break };
        match token {
            "]" | ">" => break,
            "|" => choices.push(Vec::new()),
            "[" | "<" => sequence.push(Item::Group { optional: token == "[", choices: self::choices(tokens) }),
            word if word.chars().any(|c| c.is_ascii_uppercase()) => sequence.push(Item::Word(word)),
            word => sequence.push(Item::Value(word)),
        }
    }
    choices
}

#[cfg(test)]
mod tests {
    use simplekv_resp::table::TABLE;

    use super::*;

    const SET: &str = "key value [NX | XX] [GET] [EX seconds | KEEPTTL]";

    fn rest(syntax: &'static str, typed: &str) -> String {
        Rest::of(syntax).after(typed.split_whitespace()).to_string()
    }

    #[test]
    fn what_has_been_typed_is_left_out() {
        for (syntax, typed, left) in [
            (SET, "", SET),
            (SET, "k", "value [NX | XX] [GET] [EX seconds | KEEPTTL]"),
            (SET, "k v", "[NX | XX] [GET] [EX seconds | KEEPTTL]"),
            (SET, "k v ex", "seconds [NX | XX] [GET]"),
            (SET, "k v ex 5", "[NX | XX] [GET]"),
            (SET, "k v get keepttl nx", ""),
            (SET, "k v what", ""),
            ("key [key ...]", "a", "[key ...]"),
            ("key [key ...]", "a b c", "[key ...]"),
            ("key value [key value ...]", "a 1 b", "value [key value ...]"),
            ("key value [key value ...]", "a 1 b 2", "[key value ...]"),
            ("[username] password", "me", "password"),
            ("[username] password", "me secret", ""),
            ("key [NX | XX] [CH] score member [score member ...]", "k ch", "[NX | XX] score member [score member ...]"),
            ("key [NX | XX] [CH] score member [score member ...]", "k 1", "member [score member ...]"),
            ("key [NX | XX] [CH] score member [score member ...]", "k ch 1 m", "[score member ...]"),
            ("<LIB-NAME libname | LIB-VER libver>", "lib-ver", "libver"),
            ("numkeys key [key ...] <LEFT | RIGHT> [COUNT count]", "1 k", "[key ...] <LEFT | RIGHT> [COUNT count]"),
            ("numkeys key [key ...] <LEFT | RIGHT> [COUNT count]", "1 k left", "[COUNT count]"),
            ("", "what", ""),
        ] {
            assert_eq!(rest(syntax, typed), left, "{syntax} after {typed}");
        }
    }

    #[test]
    fn words_that_may_come_next_are_known() {
        let next = |typed: &str| Rest::of(SET).after(typed.split_whitespace()).next_words();
        assert_eq!(next("k v"), ["NX", "XX", "GET", "EX", "KEEPTTL"]);
        assert_eq!(next("k v ex"), [""; 0]);
        assert_eq!(next("k v ex 5"), ["NX", "XX", "GET"]);
        assert_eq!(next("k"), [""; 0]);
        let client = Rest::of("<ON | OFF> [OPTIN] pattern [LATER]");
        assert_eq!(client.next_words(), ["ON", "OFF"]);
    }

    #[test]
    fn the_notation_of_every_command_is_understood() {
        for spec in TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)) {
            assert_eq!(Rest::of(spec.syntax).to_string(), spec.syntax, "{}", spec.name);
        }
    }
}
