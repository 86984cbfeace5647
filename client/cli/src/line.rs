//! From a typed line to words.

use bytes::{Bytes, BytesMut};
use simplekv_resp::{Parser, RequestLimits};

/// The words of a line: separated by blanks, with quotes and `\x` escapes as in redis-cli.
///
/// # Errors
/// For people, if a quote is not closed or is followed by something other than a blank.
pub(crate) fn words(line: &[u8]) -> Result<Vec<Bytes>, String> {
    let mut input = BytesMut::with_capacity(line.len() + 2);
    // The blank in front keeps a line that begins with `*` from being taken for the protocol's other form.
    input.extend_from_slice(b" ");
    input.extend_from_slice(line);
    input.extend_from_slice(b"\n");
    let limits = RequestLimits { inline_bytes: usize::MAX, ..RequestLimits::default() };
    match Parser::new(limits).next(&mut input) {
        Ok(words) => Ok(words.into_iter().flatten().collect()),
        Err(_) => Err("invalid argument(s): a quote is not closed, or its word goes on behind it".to_owned()),
    }
}

/// Whether the line ends inside a quote, so that it goes on with the next one.
pub(crate) fn is_open(line: &str) -> bool {
    let (mut quote, mut escaped) = (None, false);
    for c in line.chars() {
        match quote {
            _ if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => (),
            None if c == '"' || c == '\'' => quote = Some(c),
            None => (),
        }
    }
    quote.is_some()
}

/// A line that is being typed, as far as its words go: those that are complete, and the one that has been begun, which may be empty.
/// Quotes are left off the former and stay at the latter.
pub(crate) fn cut(typed: &str) -> (Vec<String>, &str) {
    let (mut words, mut word, mut start) = (Vec::new(), None::<String>, typed.len());
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in typed.char_indices() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        if word.is_none() {
            start = at;
        }
        let word = word.get_or_insert_default();
        match quote {
            _ if escaped => {
                word.push(c);
                escaped = false;
            }
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            _ => word.push(c),
        }
    }
    let begun = if word.is_some() { typed.get(start..).unwrap_or_default() } else { "" };
    (words, begun)
}

/// Whether a line names a password.
pub(crate) fn is_secret(line: &str) -> bool {
    let (mut words, begun) = cut(line);
    words.push(begun.to_owned());
    words.iter_mut().for_each(|word| word.make_ascii_lowercase());
    let mut others = words.iter().skip(1);
    match words.first().map(String::as_str) {
        Some("auth") => true,
        Some("hello" | "migrate") => others.any(|word| word.starts_with("auth")),
        // Of settings, those that name one; of users, every change.
        Some("config") => others.any(|word| word.contains("pass") || word.contains("auth")),
        Some("acl") => others.any(|word| word == "setuser"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_make_any_bytes() {
        let words = |line: &str| super::words(line.as_bytes()).unwrap();
        assert_eq!(words(r#" set  k "a b" "#), ["set", "k", "a b"]);
        assert_eq!(words(r#"set k "\x00\xff\n\"""#)[2][..], *b"\x00\xff\n\"");
        assert_eq!(words(r"set k 'it\'s \x41'"), ["set", "k", r"it's \x41"]);
        assert_eq!(words("*1"), ["*1"]);
        assert!(words("   ").is_empty());
        assert!(super::words(br#"get "k"#).is_err());
        assert!(super::words(br#"get "k"x"#).is_err());
    }

    #[test]
    fn an_open_quote_goes_on_with_the_next_line() {
        assert!(is_open(r#"set k "a"#));
        assert!(is_open(r#"set k "a\""#));
        assert!(!is_open(r#"set k "a\"b" 'c"d'"#));
    }

    #[test]
    fn a_line_that_is_being_typed_has_words_and_a_beginning() {
        for (typed, words, begun) in [
            ("", vec![], ""),
            ("ge", vec![], "ge"),
            ("get ", vec!["get"], ""),
            ("  set  k v", vec!["set", "k"], "v"),
            (r#"set "a b" 'c"#, vec!["set", "a b"], "'c"),
            (r#"set "a\" b"#, vec!["set"], r#""a\" b"#),
            ("set \u{e4}  ", vec!["set", "\u{e4}"], ""),
        ] {
            let (complete, rest) = cut(typed);
            assert_eq!((complete, rest), (words.into_iter().map(str::to_owned).collect(), begun), "{typed}");
        }
    }

    #[test]
    fn lines_with_passwords_are_recognised() {
        for line in [
            "AUTH secret",
            " auth me secret",
            "\"auth\" secret",
            "auth 'sec",
            "hello 3 AUTH me secret",
            "hello 3 setname x auth me secret",
            "config set requirepass x",
            "CONFIG SET maxmemory 0 timeout 5 masterauth x",
            "acl setuser x",
        ] {
            assert!(is_secret(line), "{line}");
        }
        for line in ["get auth", "hello 3", "set password x", "acl whoami", "config get maxmemory", ""] {
            assert!(!is_secret(line), "{line}");
        }
    }
}
