//! Replies for people.

use std::fmt::Write as _;
use std::io::Write as _;

use bytes::Bytes;
use simplekv_resp::decode::Frame;

use crate::json;

/// How replies look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In words: `OK`, `record not found`, values as text.
    Words,
    /// In words, values byte for byte: for files and other programs.
    Exact,
    /// As redis-cli prints them to a terminal: `(integer) 1`, `"value"`, `(nil)`.
    Redis,
    /// As redis-cli prints them to a file: plain values, byte for byte, lists one value a line.
    Raw,
    /// One JSON document.
    Json,
}

/// The reply to a command, without an end of line.
pub(crate) fn render(words: &[Bytes], frame: &Frame, style: Style) -> Vec<u8> {
    let mut text = Vec::new();
    match style {
        Style::Json => return json::text(frame),
        Style::Raw => plain(&mut text, frame),
        Style::Redis => write(&mut text, frame, style, 0),
        Style::Words | Style::Exact => match in_words(words, frame) {
            Some(words) => return words.into(),
            None => write(&mut text, frame, style, 0),
        },
    }
    text
}

/// What we have to say about an error of our own.
pub(crate) fn complaint(code: &str, message: &str, style: Style) -> Vec<u8> {
    match style {
        Style::Json => json::complaint(code, message),
        Style::Raw => message.as_bytes().to_vec(),
        _ => format!("(error) {message}").into_bytes(),
    }
}

fn plain(text: &mut Vec<u8>, frame: &Frame) {
    // Writing to memory does not fail.
    let _ = match frame {
        Frame::Status(bytes)
        | Frame::Error(bytes)
        | Frame::Bulk(bytes)
        | Frame::Text(bytes)
        | Frame::BigNumber(bytes) => text.write_all(bytes),
        Frame::Int(number) => write!(text, "{number}"),
        Frame::Null => Ok(()),
        Frame::Double(number) => write!(text, "{number}"),
        Frame::Bool(truth) => write!(text, "{truth}"),
        Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => return lines(text, items.iter()),
        Frame::Map(pairs) => return lines(text, pairs.iter().flat_map(|(key, value)| [key, value])),
    };
}

fn lines<'a>(text: &mut Vec<u8>, items: impl Iterator<Item = &'a Frame>) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            text.push(b'\n');
        }
        plain(text, item);
    }
}

const NOT_FOUND: &str = "record not found";

/// What a number or a null means for the command it answers. `None`: what it says.
fn in_words(words: &[Bytes], frame: &Frame) -> Option<&'static str> {
    let name = String::from_utf8_lossy(words.first()?).to_ascii_lowercase();
    let is_plain = match name.as_str() {
        // With several keys, or conditions, a number says more than a word.
        "del" | "unlink" | "delex" => words.len() == 2,
        "expire" | "pexpire" | "expireat" | "pexpireat" => words.len() == 3,
        _ => true,
    };
    match (name.as_str(), frame) {
        ("del" | "unlink" | "delex" | "expire" | "pexpire" | "expireat" | "pexpireat", Frame::Int(1)) if is_plain => {
            Some("OK")
        }
        ("del" | "unlink" | "delex" | "expire" | "pexpire" | "expireat" | "pexpireat", Frame::Int(0)) if is_plain => {
            Some(NOT_FOUND)
        }
        ("ttl" | "pttl" | "expiretime" | "pexpiretime", Frame::Int(-2)) => Some(NOT_FOUND),
        ("ttl" | "pttl" | "expiretime" | "pexpiretime", Frame::Int(-1)) => Some("never expires"),
        ("get" | "getdel" | "getex" | "memory" | "object", Frame::Null) => Some(NOT_FOUND),
        ("type", Frame::Status(status)) if &status[..] == b"none" => Some(NOT_FOUND),
        // A condition of SET did not hold; with GET, a null is the old value that was not there.
        ("set", Frame::Null) if !words.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"get")) => Some("not set"),
        ("randomkey", Frame::Null) => Some("there are no keys"),
        _ => None,
    }
}

fn write(text: &mut Vec<u8>, frame: &Frame, style: Style, indent: usize) {
    // Writing to memory does not fail.
    let _ = match frame {
        Frame::Status(line) => write!(text, "{}", String::from_utf8_lossy(line)),
        Frame::Error(line) => write!(text, "(error) {}", String::from_utf8_lossy(line)),
        Frame::Int(number) if style == Style::Redis => write!(text, "(integer) {number}"),
        Frame::Int(number) => write!(text, "{number}"),
        Frame::Bulk(bytes) if style == Style::Redis => write!(text, "{}", Quoted(bytes)),
        Frame::Bulk(bytes) | Frame::Text(bytes) if style == Style::Exact => text.write_all(bytes),
        Frame::Bulk(bytes) | Frame::Text(bytes) => {
            write!(text, "{}", String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']))
        }
        Frame::Null => write!(text, "(nil)"),
        Frame::Double(number) if style == Style::Redis => write!(text, "(double) {number}"),
        Frame::Double(number) => write!(text, "{number}"),
        Frame::Bool(truth) => write!(text, "({truth})"),
        Frame::BigNumber(digits) => write!(text, "{}", String::from_utf8_lossy(digits)),
        Frame::Array(items) | Frame::Push(items) => return list(text, items, ')', "array", style, indent),
        Frame::Set(items) => return list(text, items, '~', "set", style, indent),
        Frame::Map(pairs) => return map(text, pairs, style, indent),
    };
}

/// Numbered from 1, the numbers flush right, what is inside an item indented behind its number.
fn list(text: &mut Vec<u8>, items: &[Frame], mark: char, what: &str, style: Style, indent: usize) {
    if items.is_empty() {
        let _ = write!(text, "(empty {what})");
        return;
    }
    let width = items.len().to_string().len();
    for (i, item) in items.iter().enumerate() {
        begin(text, i, indent);
        let _ = write!(text, "{:>width$}{mark} ", i + 1);
        write(text, item, style, indent + width + 2);
    }
}

fn map(text: &mut Vec<u8>, pairs: &[(Frame, Frame)], style: Style, indent: usize) {
    if pairs.is_empty() {
        text.extend_from_slice(b"(empty hash)");
        return;
    }
    let width = pairs.len().to_string().len();
    for (i, (key, value)) in pairs.iter().enumerate() {
        begin(text, i, indent);
        let _ = write!(text, "{:>width$}# ", i + 1);
        write(text, key, style, indent + width + 2);
        text.extend_from_slice(b" => ");
        if matches!(value, Frame::Array(items) | Frame::Set(items) if !items.is_empty())
            || matches!(value, Frame::Map(p) if !p.is_empty())
        {
            let inner = indent + width + 2;
            let _ = write!(text, "\n{:inner$}", "");
            write(text, value, style, inner);
        } else {
            write(text, value, style, indent + width + 2);
        }
    }
}

fn begin(text: &mut Vec<u8>, i: usize, indent: usize) {
    if i > 0 {
        let _ = write!(text, "\n{:indent$}", "");
    }
}

/// Bytes in quotes, with what is not printable escaped.
struct Quoted<'a>(&'a [u8]);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_char('"')?;
        for &byte in self.0 {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                b'"' => f.write_str("\\\"")?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                0x07 => f.write_str("\\a")?,
                0x08 => f.write_str("\\b")?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                other => write!(f, "\\x{other:02x}")?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        crate::line::words(line.as_bytes()).unwrap()
    }

    fn said(line: &str, frame: Frame) -> String {
        String::from_utf8(render(&words(line), &frame, Style::Words)).unwrap()
    }

    fn bulk(text: &'static str) -> Frame {
        Frame::Bulk(Bytes::from(text))
    }

    #[test]
    fn what_happened_is_said_in_words() {
        for (line, frame, text) in [
            ("set hello 1", Frame::Status("OK".into()), "OK"),
            ("get hello", bulk("1"), "1"),
            ("expire hello 200", Frame::Int(1), "OK"),
            ("ttl hello", Frame::Int(198), "198"),
            ("del hello", Frame::Int(1), "OK"),
            ("get hello", Frame::Null, "record not found"),
            ("DEL hello", Frame::Int(0), "record not found"),
            ("expire hello 1", Frame::Int(0), "record not found"),
            ("ttl hello", Frame::Int(-2), "record not found"),
            ("ttl hello", Frame::Int(-1), "never expires"),
            ("type hello", Frame::Status("none".into()), "record not found"),
            ("del a b", Frame::Int(1), "1"),
            ("expire a 1 NX", Frame::Int(0), "0"),
            ("set a 1 NX", Frame::Null, "not set"),
            ("set a 1 GET", Frame::Null, "(nil)"),
            ("incr n", Frame::Int(1), "1"),
            ("exists a", Frame::Int(0), "0"),
            ("get a", Frame::Error("WRONGTYPE no".into()), "(error) WRONGTYPE no"),
        ] {
            assert_eq!(said(line, frame), text, "{line}");
        }
    }

    #[test]
    fn a_value_for_a_file_is_what_was_stored() {
        let exact = |frame| render(&words("get k"), &frame, Style::Exact);
        assert_eq!(exact(Frame::Bulk(Bytes::from_static(b"\xff\x00\r\n"))), b"\xff\x00\r\n");
        assert_eq!(exact(Frame::Null), b"record not found");
    }

    #[test]
    fn arrays_are_numbered_and_nested_ones_indented() {
        let nested = Frame::Array(vec![bulk("0"), Frame::Array(vec![bulk("a"), bulk("b")]), Frame::Null]);
        assert_eq!(said("scan 0", nested), "1) 0\n2) 1) a\n   2) b\n3) (nil)");
        let ten = Frame::Array((1..=10).map(Frame::Int).collect());
        assert!(said("x", ten).starts_with(" 1) 1\n 2) 2\n"));
        assert_eq!(said("keys *", Frame::Array(Vec::new())), "(empty array)");
        let map = Frame::Map(vec![(bulk("a"), Frame::Int(1)), (bulk("b"), Frame::Array(vec![bulk("c")]))]);
        assert_eq!(said("hello", map), "1# a => 1\n2# b => \n   1) c");
    }

    #[test]
    fn raw_replies_are_plain_values() {
        let raw = |frame: Frame| render(&words("get k"), &frame, Style::Raw);
        assert_eq!(raw(Frame::Bulk(Bytes::from_static(b"\xff\r\n"))), b"\xff\r\n");
        assert_eq!(raw(Frame::Null), b"");
        assert_eq!(raw(Frame::Array(vec![bulk("a"), Frame::Int(2), Frame::Null, bulk("b")])), b"a\n2\n\nb");
        assert_eq!(raw(Frame::Map(vec![(bulk("a"), Frame::Double(1.5))])), b"a\n1.5");
        assert_eq!(raw(Frame::Error("ERR no".into())), b"ERR no");
    }

    #[test]
    fn replies_with_their_types_look_as_in_redis_cli() {
        let raw = |frame: Frame| String::from_utf8(render(&words("get k"), &frame, Style::Redis)).unwrap();
        assert_eq!(raw(Frame::Int(1)), "(integer) 1");
        assert_eq!(raw(Frame::Null), "(nil)");
        assert_eq!(raw(Frame::Bulk(Bytes::from_static(b"a\"\\\n\x00\xff"))), r#""a\"\\\n\x00\xff""#);
        assert_eq!(raw(Frame::Array(vec![bulk("a"), Frame::Int(2)])), "1) \"a\"\n2) (integer) 2");
        assert_eq!(raw(Frame::Error("ERR no".into())), "(error) ERR no");
    }
}
