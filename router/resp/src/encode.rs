//! From replies to bytes, and from words to requests.

use bytes::{BufMut, BytesMut};
use simplekv_types::Reply;

use crate::failure::error_text;
use crate::number::{format_decimal, format_double};

/// Which version of the protocol a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// What every connection begins with.
    #[default]
    Resp2,
    /// After `HELLO 3`: maps, sets, floats, truth values and one null.
    Resp3,
}

impl Protocol {
    /// The number HELLO names it by.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Appends a reply.
pub fn reply(reply: &Reply, protocol: Protocol, out: &mut BytesMut) {
    let resp3 = protocol == Protocol::Resp3;
    match reply {
        Reply::Ok => out.put_slice(b"+OK\r\n"),
        Reply::Status(status) => line(b'+', status.as_bytes(), out),
        Reply::Int(number) => integer(b':', *number, out),
        Reply::Bulk(value) => bulk(value, out),
        Reply::Text(text) if resp3 => verbatim(text, out),
        Reply::Text(text) => bulk(text, out),
        Reply::Null | Reply::NullArray if resp3 => out.put_slice(b"_\r\n"),
        Reply::Null => out.put_slice(b"$-1\r\n"),
        Reply::NullArray => out.put_slice(b"*-1\r\n"),
        Reply::Double(value) if resp3 => line(b',', format_double(*value).as_bytes(), out),
        Reply::Double(value) => bulk(format_double(*value).as_bytes(), out),
        Reply::Decimal(value) if resp3 => line(b',', format_decimal(*value).as_bytes(), out),
        Reply::Decimal(value) => bulk(format_decimal(*value).as_bytes(), out),
        Reply::Bool(value) if resp3 => out.put_slice(if *value { b"#t\r\n" } else { b"#f\r\n" }),
        Reply::Bool(value) => integer(b':', i64::from(*value), out),
        Reply::Array(items) => aggregate(b'*', items, protocol, out),
        Reply::Pushes(pushes) => {
            let kind = if resp3 { b'>' } else { b'*' };
            pushes.iter().for_each(|items| aggregate(kind, items, protocol, out));
        }
        Reply::Set(items) => aggregate(if resp3 { b'~' } else { b'*' }, items, protocol, out),
        Reply::Map(pairs) => map(pairs, protocol, out),
        Reply::Pairs(pairs) => array_of_pairs(pairs, protocol, out),
        Reply::Error(failure) => error(&error_text(failure), out),
    }
}

fn aggregate(kind: u8, items: &[Reply], protocol: Protocol, out: &mut BytesMut) {
    count(kind, items.len(), out);
    for item in items {
        reply(item, protocol, out);
    }
}

fn map(pairs: &[(Reply, Reply)], protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => count(b'*', pairs.len() * 2, out),
        Protocol::Resp3 => count(b'%', pairs.len(), out),
    }
    for (key, value) in pairs {
        reply(key, protocol, out);
        reply(value, protocol, out);
    }
}

fn array_of_pairs(pairs: &[(Reply, Reply)], protocol: Protocol, out: &mut BytesMut) {
    count(b'*', if protocol == Protocol::Resp3 { pairs.len() } else { pairs.len() * 2 }, out);
    for (one, other) in pairs {
        if protocol == Protocol::Resp3 {
            count(b'*', 2, out);
        }
        reply(one, protocol, out);
        reply(other, protocol, out);
    }
}

/// Appends an error. Line ends in its text become spaces: they would end the reply.
pub fn error(text: &str, out: &mut BytesMut) {
    out.put_u8(b'-');
    let start = out.len();
    out.put_slice(text.as_bytes());
    for byte in out.iter_mut().skip(start) {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.put_slice(b"\r\n");
}

/// Appends a request as clients send it: an array of bulk strings.
pub fn request<A: AsRef<[u8]>>(args: &[A], out: &mut BytesMut) {
    count(b'*', args.len(), out);
    for arg in args {
        bulk(arg.as_ref(), out);
    }
}

fn line(kind: u8, text: &[u8], out: &mut BytesMut) {
    out.reserve(text.len() + 3);
    out.put_u8(kind);
    out.put_slice(text);
    out.put_slice(b"\r\n");
}

fn bulk(value: &[u8], out: &mut BytesMut) {
    // One reservation for the whole of it; the length takes at most 20 digits.
    out.reserve(value.len() + 26);
    count(b'$', value.len(), out);
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn verbatim(text: &[u8], out: &mut BytesMut) {
    out.reserve(text.len() + 32);
    count(b'=', text.len() + 4, out);
    out.put_slice(b"txt:");
    out.put_slice(text);
    out.put_slice(b"\r\n");
}

fn count(kind: u8, count: usize, out: &mut BytesMut) {
    line(kind, itoa::Buffer::new().format(count).as_bytes(), out);
}

fn integer(kind: u8, number: i64, out: &mut BytesMut) {
    line(kind, itoa::Buffer::new().format(number).as_bytes(), out);
}

#[cfg(test)]
mod tests {
    use simplekv_types::Failure;

    use super::*;

    fn encoded(value: &Reply, protocol: Protocol) -> String {
        let mut out = BytesMut::new();
        reply(value, protocol, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn each_shape_has_its_bytes_in_both_protocols() {
        let pair = || vec![(Reply::fixed("k"), Reply::Int(-1))];
        for (value, resp2, resp3) in [
            (Reply::Ok, "+OK\r\n", "+OK\r\n"),
            (Reply::Status("PONG"), "+PONG\r\n", "+PONG\r\n"),
            (Reply::Int(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (Reply::fixed(""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (Reply::Text("a\nb".into()), "$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::NullArray, "*-1\r\n", "_\r\n"),
            (Reply::Double(0.1), "$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n"),
            (Reply::Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (Reply::Bool(true), ":1\r\n", "#t\r\n"),
            (Reply::Bool(false), ":0\r\n", "#f\r\n"),
            (Reply::Array(vec![Reply::Null, Reply::Int(2)]), "*2\r\n$-1\r\n:2\r\n", "*2\r\n_\r\n:2\r\n"),
            (Reply::Map(pair()), "*2\r\n$1\r\nk\r\n:-1\r\n", "%1\r\n$1\r\nk\r\n:-1\r\n"),
            (Reply::Set(vec![Reply::Int(1)]), "*1\r\n:1\r\n", "~1\r\n:1\r\n"),
            (Reply::Error(Failure::command("ERR a\r\nb")), "-ERR a  b\r\n", "-ERR a  b\r\n"),
        ] {
            assert_eq!(encoded(&value, Protocol::Resp2), resp2);
            assert_eq!(encoded(&value, Protocol::Resp3), resp3);
        }
    }
}
