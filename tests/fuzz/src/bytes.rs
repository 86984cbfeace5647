//! Requests as bytes: written down as clients do, and then damaged.

use crate::rng::Rng;
use crate::words::{Grammar, Words};

/// What means something between the words of a request.
const MARKS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"*",
    b"$",
    b"*0\r\n",
    b"*-1\r\n",
    b"$-1\r\n",
    b"*1\r\n",
    b"*1048577\r\n",
    b"*99999999999999999999\r\n",
    b"$536870912\r\n",
    b"$99999999999999999999\r\n",
    b"*1\r\n*1\r\n*1\r\n",
    b"$0\r\n\r\n",
    b"*2147483647\r\n",
    b"\"",
    b"'",
    b"\\x",
    b"\0",
    b" ",
    b"POST / HTTP/1.1\r\n",
    b"+OK\r\n",
    b"%1\r\n",
    b"_\r\n",
    b":1\r\n",
];

/// The bytes of a connection: a few requests.
pub(crate) fn connection(grammar: &Grammar, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    for _ in 0..1 + rng.below(3) {
        match rng.below(24) {
            0 => bytes.extend((0..rng.below(200)).map(|_| rng.next() as u8)),
            1 => bytes.extend(*rng.pick(MARKS)),
            2..6 => line(&grammar.request(rng), rng, &mut bytes),
            _ => array(&grammar.request(rng), &mut bytes),
        }
    }
    if rng.one_in(2) {
        damage(rng, &mut bytes);
    }
    bytes
}

/// Where the bytes are cut into what arrives together: the ends of the pieces, in order, the last being the end of all.
pub(crate) fn pieces(length: usize, rng: &mut Rng) -> Vec<usize> {
    let cuts = match rng.below(8) {
        0 if length < 200 => return (1..=length).collect(),
        1..4 => rng.below(6),
        _ => 0,
    };
    let mut ends: Vec<usize> = (0..cuts).map(|_| rng.below(length + 1)).collect();
    ends.sort_unstable();
    ends.push(length);
    ends
}

fn array(words: &Words, out: &mut Vec<u8>) {
    let number = |mark: u8, number: usize, out: &mut Vec<u8>| {
        out.push(mark);
        out.extend_from_slice(number.to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    number(b'*', words.len(), out);
    for word in words {
        number(b'$', word.len(), out);
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// One line, with quotes of either kind around what needs them, and now and then around what does not.
fn line(words: &Words, rng: &mut Rng, out: &mut Vec<u8>) {
    for word in words {
        let is_plain = !word.is_empty() && word.iter().all(u8::is_ascii_alphanumeric);
        match rng.below(4) {
            _ if is_plain => out.extend_from_slice(word),
            0 => {
                out.push(b'\'');
                out.extend_from_slice(word);
                out.push(b'\'');
            }
            1 => out.extend_from_slice(word),
            _ => {
                out.push(b'"');
                word.iter().for_each(|byte| out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()));
                out.push(b'"');
            }
        }
        out.push(if rng.one_in(9) { b'\t' } else { b' ' });
    }
    out.extend_from_slice(if rng.one_in(3) { b"\n" } else { b"\r\n" });
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        let end = (at + rng.below(12)).min(bytes.len());
        match rng.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, rng.pick(MARKS).iter().copied())),
            3 => drop(bytes.splice(at..end, rng.pick(MARKS).iter().copied())),
            4 => {
                let repeated: Vec<u8> = bytes.get(at..end).unwrap_or_default().to_vec();
                drop(bytes.splice(at..at, repeated));
            }
            5 => bytes.insert(at, rng.next() as u8),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
}
