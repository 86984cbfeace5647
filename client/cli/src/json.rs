//! Replies for programs: each one JSON document on a line.
//!
//! Nothing is lost and nothing is ambiguous: what JSON has no form for is an object with one member whose name says what it is, and a
//! map that could be taken for such an object is written as a list of pairs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use simplekv_resp::decode::Frame;

/// A reply as JSON, without an end of line.
pub(crate) fn text(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, frame);
    out
}

/// An error that is not a server's. Its code is in lower case; theirs are not.
pub(crate) fn complaint(code: &str, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    error(&mut out, code, message);
    out
}

fn write(out: &mut Vec<u8>, frame: &Frame) {
    match frame {
        Frame::Status(bytes) | Frame::Bulk(bytes) | Frame::Text(bytes) => string(out, bytes),
        Frame::Error(line) => {
            let line = String::from_utf8_lossy(line);
            let (code, message) = line.split_once(' ').unwrap_or((&line, ""));
            error(out, code, message);
        }
        Frame::Int(number) => value(out, number),
        Frame::Null => out.extend_from_slice(b"null"),
        Frame::Double(number) if number.is_finite() => value(out, number),
        Frame::Double(number) if number.is_nan() => marked(out, "double", |out| value(out, "nan")),
        Frame::Double(number) => marked(out, "double", |out| value(out, if *number > 0.0 { "inf" } else { "-inf" })),
        Frame::Bool(truth) => value(out, truth),
        // Most readers would round it.
        Frame::BigNumber(digits) => marked(out, "big_number", |out| value(out, &*String::from_utf8_lossy(digits))),
        Frame::Array(items) | Frame::Set(items) => list(out, items, write),
        Frame::Push(items) => marked(out, "push", |out| list(out, items, write)),
        Frame::Map(pairs) => map(out, pairs),
    }
}

fn map(out: &mut Vec<u8>, pairs: &[(Frame, Frame)]) {
    let Some(names) = names(pairs) else {
        return marked(out, "map", |out| {
            list(out, pairs, |out, (key, item)| {
                out.push(b'[');
                write(out, key);
                out.push(b',');
                write(out, item);
                out.push(b']');
            });
        });
    };
    out.push(b'{');
    for (at, (name, (_, item))) in names.into_iter().zip(pairs).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        value(out, name);
        out.push(b':');
        write(out, item);
    }
    out.push(b'}');
}

/// Names of members that say what their value is.
const MARKS: [&str; 6] = ["base64", "big_number", "double", "error", "map", "push"];

/// The keys, if they can be the names of an object's members: text, all different, and no mark alone.
fn names(pairs: &[(Frame, Frame)]) -> Option<Vec<&str>> {
    let keys = pairs.iter().map(|(key, _)| match key {
        Frame::Status(bytes) | Frame::Bulk(bytes) | Frame::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    });
    let names: Vec<&str> = keys.collect::<Option<_>>()?;
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let is_mark = matches!(names.as_slice(), [only] if MARKS.contains(only));
    (sorted.len() == names.len() && !is_mark).then_some(names)
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => value(out, text),
        Err(_) => marked(out, "base64", |out| value(out, &STANDARD.encode(bytes))),
    }
}

fn error(out: &mut Vec<u8>, code: &str, message: &str) {
    marked(out, "error", |out| {
        out.extend_from_slice(b"{\"code\":");
        value(out, code);
        out.extend_from_slice(b",\"message\":");
        value(out, message);
        out.push(b'}');
    });
}

fn marked(out: &mut Vec<u8>, mark: &str, inner: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'{');
    value(out, mark);
    out.push(b':');
    inner(out);
    out.push(b'}');
}

fn list<T>(out: &mut Vec<u8>, items: &[T], item: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, one) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        item(out, one);
    }
    out.push(b']');
}

fn value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a scalar is written to memory");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn told(frame: &Frame) -> String {
        let text = String::from_utf8(text(frame)).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(!text.contains('\n'), "one line: {read}");
        text
    }

    fn bulk(bytes: &'static [u8]) -> Frame {
        Frame::Bulk(Bytes::from_static(bytes))
    }

    #[test]
    fn every_kind_of_reply_has_a_form() {
        for (frame, json) in [
            (Frame::Status("OK".into()), r#""OK""#),
            (bulk(b"a\"\n\xc3\xa4"), "\"a\\\"\\n\u{e4}\""),
            (bulk(b"\xff\x00"), r#"{"base64":"/wA="}"#),
            (Frame::Text("said".into()), r#""said""#),
            (Frame::Error("WRONGTYPE not that".into()), r#"{"error":{"code":"WRONGTYPE","message":"not that"}}"#),
            (Frame::Error("OOPS".into()), r#"{"error":{"code":"OOPS","message":""}}"#),
            (Frame::Int(i64::MIN), "-9223372036854775808"),
            (Frame::Null, "null"),
            (Frame::Double(1.5), "1.5"),
            (Frame::Double(3.0), "3.0"),
            (Frame::Double(f64::NEG_INFINITY), r#"{"double":"-inf"}"#),
            (Frame::Double(f64::INFINITY), r#"{"double":"inf"}"#),
            (Frame::Double(f64::NAN), r#"{"double":"nan"}"#),
            (Frame::Bool(true), "true"),
            (
                Frame::BigNumber("123456789012345678901234567890".into()),
                r#"{"big_number":"123456789012345678901234567890"}"#,
            ),
            (Frame::Array(vec![Frame::Int(1), Frame::Array(Vec::new()), Frame::Null]), "[1,[],null]"),
            (Frame::Set(vec![bulk(b"a")]), r#"["a"]"#),
            (Frame::Push(vec![bulk(b"message"), bulk(b"x")]), r#"{"push":["message","x"]}"#),
        ] {
            assert_eq!(told(&frame), json);
        }
        assert_eq!(complaint("input", "no"), br#"{"error":{"code":"input","message":"no"}}"#);
    }

    #[test]
    fn a_map_is_an_object_unless_that_could_be_misread() {
        let map = |keys: &[&'static [u8]]| Frame::Map(keys.iter().map(|key| (bulk(key), Frame::Int(1))).collect());
        for (map, json) in [
            (map(&[b"z", b"a"]), r#"{"z":1,"a":1}"#),
            (map(&[]), "{}"),
            (map(&[b"error"]), r#"{"map":[["error",1]]}"#),
            (map(&[b"error", b"x"]), r#"{"error":1,"x":1}"#),
            (map(&[b"\xff", b"x"]), r#"{"map":[[{"base64":"/w=="},1],["x",1]]}"#),
            (map(&[b"x", b"x"]), r#"{"map":[["x",1],["x",1]]}"#),
            (Frame::Map(vec![(Frame::Int(5), Frame::Null)]), r#"{"map":[[5,null]]}"#),
        ] {
            assert_eq!(told(&map), json);
        }
    }
}
