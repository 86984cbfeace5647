use proptest::prelude::*;
use simplekv_types::Reply;

use super::*;
use crate::encode::{self, Protocol};

fn decode_all(input: &[u8], cuts: &[usize]) -> (Vec<Frame>, Option<ReplyError>) {
    let mut decoder = Decoder::new();
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([input.len()]) {
        buf.extend_from_slice(&input[from..to]);
        from = to;
        loop {
            match decoder.next(&mut buf) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// What a client sees of a reply.
fn frame(reply: &Reply, protocol: Protocol) -> Frame {
    let resp3 = protocol == Protocol::Resp3;
    let all = |items: &[Reply]| items.iter().map(|item| frame(item, protocol)).collect::<Vec<_>>();
    match reply {
        Reply::Ok => Frame::Status("OK".into()),
        Reply::Status(status) => Frame::Status((*status).into()),
        Reply::Int(number) => Frame::Int(*number),
        Reply::Bulk(bytes) => Frame::Bulk(bytes.clone()),
        Reply::Text(bytes) if resp3 => Frame::Text(bytes.clone()),
        Reply::Text(bytes) => Frame::Bulk(bytes.clone()),
        Reply::Null | Reply::NullArray => Frame::Null,
        Reply::Double(value) if resp3 => Frame::Double(*value),
        Reply::Double(value) => Frame::Bulk(crate::number::format_double(*value).into()),
        Reply::Decimal(value) if resp3 => Frame::Double(*value),
        Reply::Decimal(value) => Frame::Bulk(crate::number::format_decimal(*value).into()),
        Reply::Bool(value) if resp3 => Frame::Bool(*value),
        Reply::Bool(value) => Frame::Int(i64::from(*value)),
        Reply::Array(items) => Frame::Array(all(items)),
        Reply::Set(items) if resp3 => Frame::Set(all(items)),
        Reply::Set(items) => Frame::Array(all(items)),
        Reply::Map(pairs) if resp3 => {
            Frame::Map(pairs.iter().map(|(key, value)| (frame(key, protocol), frame(value, protocol))).collect())
        }
        Reply::Map(pairs) => {
            Frame::Array(pairs.iter().flat_map(|(key, value)| [frame(key, protocol), frame(value, protocol)]).collect())
        }
        Reply::Pairs(pairs) => {
            let pairs = pairs.iter().map(|(one, other)| vec![frame(one, protocol), frame(other, protocol)]);
            Frame::Array(if resp3 { pairs.map(Frame::Array).collect() } else { pairs.flatten().collect() })
        }
        Reply::Pushes(_) => unreachable!("it is several frames, or none"),
        Reply::Error(failure) => Frame::Error(crate::failure::error_text(failure).into_owned().into()),
    }
}

fn replies() -> impl Strategy<Value = Reply> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..30).prop_map(Bytes::from);
    let leaf = prop_oneof![
        Just(Reply::Ok),
        Just(Reply::Status("PONG")),
        any::<i64>().prop_map(Reply::Int),
        bytes().prop_map(Reply::Bulk),
        bytes().prop_map(Reply::Text),
        Just(Reply::Null),
        Just(Reply::NullArray),
        any::<f64>().prop_filter("NaN equals nothing", |value| !value.is_nan()).prop_map(Reply::Double),
        // As many as 17 decimals tell exactly.
        any::<i16>().prop_map(|eighths| Reply::Decimal(f64::from(eighths) / 8.0)),
        any::<bool>().prop_map(Reply::Bool),
        Just(Reply::Error(simplekv_types::Failure::CrossSlot)),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Array),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Set),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Reply::Pairs),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_what_is_decoded(
        reply in replies(),
        resp3 in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let protocol = if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let mut bytes = BytesMut::new();
        encode::reply(&reply, protocol, &mut bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let expected = (vec![frame(&reply, protocol)], None);
        prop_assert_eq!(decode_all(&bytes, &cuts), expected);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(input in prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(&b"*$%~>|:,#_(!=+-0123456789\r\n"[..])], 0..200,
    )) {
        let _judged = decode_all(&input, &[]);
    }
}

#[test]
fn what_is_not_a_reply_is_refused() {
    for (input, expected) in [
        ("?\r\n", ReplyError::UnknownType(b'?')),
        ("$x\r\n", ReplyError::Number("x".into())),
        ("$-2\r\n", ReplyError::Number("-2".into())),
        ("#x\r\n", ReplyError::Number("x".into())),
        ("$1\r\nab\r\n", ReplyError::StringEnd),
        ("$2000000000\r\n", ReplyError::TooLarge { limit: 1 << 30 }),
        (&"*1\r\n".repeat(200), ReplyError::TooDeep { limit: 128 }),
    ] {
        assert_eq!(decode_all(input.as_bytes(), &[]).1, Some(expected), "{input:?}");
    }
}

#[test]
fn attributes_are_dropped_and_pushes_are_told_apart() {
    let (frames, error) = decode_all(b"|1\r\n+ttl\r\n:3\r\n:7\r\n>1\r\n+invalidate\r\n(123\r\n!3\r\nERR\r\n", &[]);
    assert_eq!(error, None);
    assert_eq!(
        frames,
        [
            Frame::Int(7),
            Frame::Push(vec![Frame::Status("invalidate".into())]),
            Frame::BigNumber("123".into()),
            Frame::Error("ERR".into()),
        ]
    );
}
