//! A request typed on one line, as over telnet: words, with quotes where a word holds spaces.

use bytes::{Bytes, BytesMut};

use crate::error::ProtocolError;
use crate::parser::Args;

/// Cuts a line into its words. `"…"` understands `\n \r \t \b \a \xHH` and takes any other escaped byte as it is; `'…'` understands
/// only `\'`. A closing quote must end its word.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`], or [`ProtocolError::ForeignProtocol`] for the first line of an HTTP request: a browser
/// that was tricked into posting commands here must not get them executed.
pub(crate) fn split(line: &Bytes) -> Result<Args, ProtocolError> {
    let mut args = Args::new();
    let mut at = 0;
    loop {
        at += line.get(at..).unwrap_or_default().iter().take_while(|byte| is_space(**byte)).count();
        if at >= line.len() {
            break;
        }
        let (word, end) = word(line, at)?;
        args.push(word);
        at = end;
    }
    match args.first() {
        Some(name) if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") => {
            Err(ProtocolError::ForeignProtocol)
        }
        _ => Ok(args),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The word that begins at `start`, and where it ends.
fn word(line: &Bytes, start: usize) -> Result<(Bytes, usize), ProtocolError> {
    let rest = line.get(start..).unwrap_or_default();
    let plain = rest.iter().take_while(|byte| !ends_word(**byte) && !matches!(byte, b'"' | b'\'')).count();
    if rest.get(plain).is_none_or(|byte| ends_word(*byte)) {
        return Ok((line.slice(start..start + plain), start + plain));
    }
    let mut word = BytesMut::from(rest.get(..plain).unwrap_or_default());
    let mut at = start + plain;
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' => {
                at = double_quoted(line, at + 1, &mut word)?;
                break;
            }
            b'\'' => {
                at = single_quoted(line, at + 1, &mut word)?;
                break;
            }
            _ if ends_word(byte) => break,
            _ => {
                word.extend_from_slice(&[byte]);
                at += 1;
            }
        }
    }
    if line.get(at).is_some_and(|byte| !is_space(*byte)) {
        return Err(ProtocolError::UnbalancedQuotes);
    }
    Ok((word.freeze(), at))
}

/// Appends what stands before the closing quote and returns what comes after it.
fn double_quoted(line: &[u8], mut at: usize, word: &mut BytesMut) -> Result<usize, ProtocolError> {
    loop {
        let rest = line.get(at..).unwrap_or_default();
        let (byte, len) = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', ..] => return Ok(at + 1),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (nibble(*high) << 4 | nibble(*low), 4)
            }
            [b'\\', b'n', ..] => (b'\n', 2),
            [b'\\', b'r', ..] => (b'\r', 2),
            [b'\\', b't', ..] => (b'\t', 2),
            [b'\\', b'b', ..] => (0x08, 2),
            [b'\\', b'a', ..] => (0x07, 2),
            [b'\\', other, ..] => (*other, 2),
            [other, ..] => (*other, 1),
        };
        word.extend_from_slice(&[byte]);
        at += len;
    }
}

fn single_quoted(line: &[u8], mut at: usize, word: &mut BytesMut) -> Result<usize, ProtocolError> {
    loop {
        let (byte, len) = match line.get(at..).unwrap_or_default() {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', ..] => return Ok(at + 1),
            [b'\\', b'\'', ..] => (b'\'', 2),
            [other, ..] => (*other, 1),
        };
        word.extend_from_slice(&[byte]);
        at += len;
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, ProtocolError> {
        let args = split(&Bytes::copy_from_slice(line.as_bytes()))?;
        Ok(args.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    #[test]
    fn words_are_cut_at_spaces_and_joined_by_quotes() {
        for (line, expected) in [
            ("", vec![]),
            ("   ", vec![]),
            ("PING", vec!["PING"]),
            ("  set  k\tv  ", vec!["set", "k", "v"]),
            (r#"set k "a b""#, vec!["set", "k", "a b"]),
            (r#"set k "\x41\n\"\q\\""#, vec!["set", "k", "A\n\"q\\"]),
            (r#"set k "\x4""#, vec!["set", "k", "x4"]),
            (r"set k 'a\'b\n'", vec!["set", "k", r"a'b\n"]),
            (r#"set k """#, vec!["set", "k", ""]),
            (r#"set pre"fix""#, vec!["set", "prefix"]),
        ] {
            assert_eq!(words(line), Ok(expected.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }

    #[test]
    fn a_quote_that_does_not_end_its_word_is_refused() {
        for line in [r#"get "k"#, r#"get "k"x"#, "get 'k", "get 'k'x", r#"get "k\"#, r#"get k""x"#] {
            assert_eq!(words(line), Err(ProtocolError::UnbalancedQuotes), "{line}");
        }
    }

    #[test]
    fn http_requests_are_not_executed() {
        assert_eq!(words("POST / HTTP/1.1"), Err(ProtocolError::ForeignProtocol));
        assert_eq!(words("Host: localhost"), Err(ProtocolError::ForeignProtocol));
    }
}
