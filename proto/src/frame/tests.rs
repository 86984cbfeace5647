//! The bytes are those of `data.proto`, and whatever arrives is read as the generated code reads it.

use proptest::collection::vec;
use proptest::prelude::*;
use simplekv_types::{
    Dedupe, Epoch, Failure, GroupId, GroupTime, Lineage, Lsn, Position, ReadPolicy, Reply, Seq, SlotMapVersion,
};

use super::*;
use crate::answer::Draft;
use crate::op::Manner;
use crate::v1;

/// The frames as `data.proto` describes them.
#[derive(Clone, PartialEq, Message)]
struct PlainRequests {
    #[prost(bytes = "bytes", tag = "1")]
    client_id: Bytes,
    #[prost(uint64, tag = "2")]
    map_version: u64,
    #[prost(message, repeated, tag = "3")]
    ops: Vec<v1::Op>,
}

#[derive(Clone, PartialEq, Message)]
struct PlainReplies {
    #[prost(message, repeated, tag = "1")]
    replies: Vec<v1::OpReply>,
    #[prost(uint64, tag = "2")]
    topology_version: u64,
}

/// What a request frame comes to, if it is one.
fn requests(bytes: &[u8]) -> Option<(Bytes, u64, Vec<Op>)> {
    let frame = RequestFrame::decode(bytes).ok()?;
    let ops: Vec<Op> = frame.ops().collect::<Result<_, _>>().ok()?;
    assert_eq!((frame.len(), frame.is_empty()), (ops.len(), ops.is_empty()));
    Some((frame.client_id, frame.map_version, ops))
}

fn plain_requests(bytes: &[u8]) -> Option<(Bytes, u64, Vec<Op>)> {
    let frame = PlainRequests::decode(bytes).ok()?;
    Some((frame.client_id, frame.map_version, frame.ops.into_iter().map(Op::from).collect()))
}

/// What a reply frame comes to, as text: not every number equals itself.
fn replies(bytes: &[u8]) -> Option<String> {
    let frame = ReplyFrame::decode(bytes).ok()?;
    let replies: Vec<OpReply> = frame.replies().collect::<Result<_, _>>().ok()?;
    assert_eq!((frame.len(), frame.is_empty()), (replies.len(), replies.is_empty()));
    Some(format!("{} {replies:?}", frame.topology_version))
}

fn plain_replies(bytes: &[u8]) -> Option<String> {
    let frame = PlainReplies::decode(bytes).ok()?;
    let replies: Vec<OpReply> = frame.replies.into_iter().map(OpReply::from).collect();
    Some(format!("{} {replies:?}", frame.topology_version))
}

prop_compose! {
    fn position()(group in 1..5_u32, numbers: [u64; 4]) -> Position {
        let [slots, lineage, epoch, end] = numbers;
        let (slots, lineage) = (SlotMapVersion(slots), Lineage(lineage));
        Position { group: GroupId(group), slots, lineage, epoch: Epoch(epoch), end: Lsn(end) }
    }
}

fn policy() -> impl Strategy<Value = ReadPolicy> {
    let millis = any::<u32>().prop_map(|millis| std::time::Duration::from_millis(millis.into()));
    prop_oneof![
        Just(ReadPolicy::Linearizable),
        Just(ReadPolicy::Leader),
        millis.clone().prop_map(|wait| ReadPolicy::Session { wait }),
        millis.prop_map(|max_lag| ReadPolicy::Bounded { max_lag }),
    ]
}

prop_compose! {
    fn dedupe()(seq in 1_u64.., below in 0..9_u64, deadline: u64, attempt in 1_u32..) -> Dedupe {
        let (seq, ack_below) = (Seq(seq), Seq(seq.saturating_sub(below)));
        Dedupe { seq, ack_below, deadline: GroupTime(deadline), attempt }
    }
}

prop_compose! {
    fn manner()(
        read in policy(),
        dedupe in proptest::option::of(dedupe()),
        timeout_ms: u32,
        seen in proptest::option::of(position()),
        group in proptest::option::of((1_u32..).prop_map(GroupId)),
        tracker: u64,
    ) -> Manner {
        Manner { read, dedupe, timeout_ms, seen, group, tracker }
    }
}

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..300), 0..6)
}

fn reply() -> impl Strategy<Value = Reply> {
    let bytes = vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        Just(Reply::Ok),
        Just(Reply::Null),
        Just(Reply::NullArray),
        Just(Reply::Status("PONG")),
        any::<i64>().prop_map(Reply::Int),
        any::<f64>().prop_map(Reply::Double),
        bytes.clone().prop_map(Reply::Bulk),
        bytes.prop_map(|bytes| Reply::Array(vec![Reply::Bulk(bytes), Reply::Null])),
        Just(Reply::Error(Failure::WrongType)),
    ]
}

/// Cuts, repeats and changes bytes.
fn damage(bytes: &mut Vec<u8>, damages: &[(u8, proptest::sample::Index, u8)]) {
    for (kind, at, byte) in damages {
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        match kind % 4 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, *byte),
            2 => bytes.extend_from_within(at..),
            _ => bytes[at] = *byte,
        }
    }
}

fn damages() -> impl Strategy<Value = Vec<(u8, proptest::sample::Index, u8)>> {
    vec((any::<u8>(), any::<proptest::sample::Index>(), any::<u8>()), 0..4)
}

fn encoded(id: u64, words: &[Vec<u8>], manner: &Manner) -> Vec<u8> {
    let mut out = Vec::new();
    Op::write(id, words.iter().map(Vec::as_slice), manner, &mut out);
    out
}

proptest! {
    #[test]
    fn requests_are_written_as_the_generated_code_writes_them(
        client in vec(any::<u8>(), 0..20),
        map_version: u64,
        ops in vec((any::<u64>(), words(), manner()), 0..5),
    ) {
        let mut frame = RequestFrame::new(client.clone().into(), map_version);
        for (id, words, manner) in &ops {
            frame.push(encoded(*id, words, manner).into(), 1);
        }
        let plain = |(id, words, manner): (u64, Vec<Vec<u8>>, Manner)| v1::Op {
            id,
            args: words.into_iter().map(Bytes::from).collect(),
            read: manner.dedupe.is_none().then(|| manner.read.into()),
            dedupe: manner.dedupe.map(Into::into),
            timeout_ms: manner.timeout_ms,
            seen: manner.seen.map(Into::into),
            group: manner.group.map_or(0, |group| group.0),
            tracker: manner.tracker,
        };
        let ops = ops.into_iter().map(plain).collect();
        let plain = PlainRequests { client_id: client.into(), map_version, ops }.encode_to_vec();
        prop_assert_eq!(frame.encoded_len(), plain.len());
        prop_assert_eq!(frame.encode_to_vec(), plain.clone());
        prop_assert!(plain_requests(&plain).is_some());
        prop_assert_eq!(requests(&plain), plain_requests(&plain));
    }

    #[test]
    fn damaged_requests_are_read_as_the_generated_code_reads_them(
        ops in vec((any::<u64>(), words(), manner()), 0..4),
        damages in damages(),
    ) {
        let mut frame = RequestFrame::new(Bytes::from_static(&[7; 16]), 3);
        for (id, words, manner) in &ops {
            frame.push(encoded(*id, words, manner).into(), 1);
        }
        let mut bytes = frame.encode_to_vec();
        damage(&mut bytes, &damages);
        prop_assert_eq!(requests(&bytes), plain_requests(&bytes));
    }

    #[test]
    fn replies_are_written_as_the_generated_code_writes_them(
        topology_version: u64,
        answers in vec(
            (any::<u64>(), reply(), any::<u64>(), any::<u32>(), proptest::option::of(position()), any::<bool>()), 0..5
        ),
    ) {
        let mut frame = ReplyFrame::new(topology_version);
        let mut plain = PlainReplies { replies: Vec::new(), topology_version };
        for (id, reply, group_time, attempt, seen, tracked) in answers {
            let draft = Draft::new(id, reply.clone(), GroupTime(group_time), attempt, seen).tracked(tracked);
            let (value, position) = (Some(reply.into()), seen.map(Into::into));
            let wire = v1::OpReply { id, value, group_time, attempt, seen: position, tracked };
            prop_assert_eq!(draft.len(), wire.encoded_len());
            let mut out = Vec::new();
            draft.write(&mut out);
            frame.push(out.into(), 1);
            plain.replies.push(wire);
        }
        let plain = plain.encode_to_vec();
        prop_assert_eq!(frame.encoded_len(), plain.len());
        prop_assert_eq!(frame.encode_to_vec(), plain.clone());
        prop_assert_eq!(replies(&plain), plain_replies(&plain));
    }

    #[test]
    fn damaged_replies_are_read_as_the_generated_code_reads_them(
        answers in vec((any::<u64>(), reply(), proptest::option::of(position()), any::<bool>()), 0..4),
        damages in damages(),
    ) {
        let mut frame = ReplyFrame::new(9);
        for (id, reply, seen, tracked) in answers {
            let mut out = Vec::new();
            Draft::new(id, reply, GroupTime(5), 1, seen).tracked(tracked).write(&mut out);
            frame.push(out.into(), 1);
        }
        let mut bytes = frame.encode_to_vec();
        damage(&mut bytes, &damages);
        prop_assert_eq!(replies(&bytes), plain_replies(&bytes));
    }

    #[test]
    fn garbage_is_read_as_the_generated_code_reads_it(bytes in vec(any::<u8>(), 0..60)) {
        prop_assert_eq!(requests(&bytes), plain_requests(&bytes));
        prop_assert_eq!(replies(&bytes), plain_replies(&bytes));
        for key in [OPS, REPLIES] {
            let framed = [&[key, bytes.len() as u8], bytes.as_slice()].concat();
            prop_assert_eq!(requests(&framed), plain_requests(&framed));
            prop_assert_eq!(replies(&framed), plain_replies(&framed));
        }
    }
}

#[test]
fn fields_of_a_newer_sender_are_passed_over() {
    let op = encoded(5, &[b"GET".to_vec(), b"k".to_vec()], &any_manner());
    let [key, len, body @ ..] = &op[..] else { panic!("a short operation") };
    // Field 15, a number; field 16, bytes; field 17, a group. In the operation, and around it.
    let unknown = [0x78, 1, 0x82, 1, 1, 9, 0x8b, 1, 0x78, 1, 0x8c, 1];
    let longer = [&[*key, *len + unknown.len() as u8], &unknown[..], body].concat();
    let frame = [&op[..], &unknown[..], &longer[..], &op[..]].concat();
    let (_, _, ops) = requests(&frame).unwrap();
    assert_eq!(ops.iter().map(|op| op.id).collect::<Vec<_>>(), [5, 5, 5]);
    assert_eq!(Some(ops), plain_requests(&frame).map(|(_, _, ops)| ops));
}

fn any_manner() -> Manner {
    Manner { read: ReadPolicy::Linearizable, dedupe: None, timeout_ms: 9, seen: None, group: None, tracker: 0 }
}

#[test]
fn a_message_merged_field_by_field_is_the_same() {
    let op = encoded(5, &[b"GET".to_vec(), b"k".to_vec()], &any_manner());
    let mut frame = RequestFrame::new(Bytes::from_static(&[1; 16]), 2);
    frame.push([op.clone(), op].concat().into(), 2);
    let bytes = frame.encode_to_vec();
    let mut merged = RequestFrame::default();
    merged.merge(&bytes[..]).unwrap();
    assert_eq!(merged.encode_to_vec(), bytes);
    assert_eq!(merged.len(), 2);
}

#[test]
fn words_are_slices_of_their_frame() {
    let op = encoded(5, &[b"SET".to_vec(), vec![b'x'; 4000]], &any_manner());
    let mut frame = RequestFrame::new(Bytes::new(), 0);
    frame.push(op.into(), 1);
    let bytes = Bytes::from(frame.encode_to_vec());
    let within = bytes.as_ptr_range();
    let read = RequestFrame::decode(bytes.clone()).unwrap();
    let op = read.ops().next().unwrap().unwrap();
    assert!(op.args.iter().all(|word| within.contains(&word.as_ptr())));
}

#[test]
fn an_unreadable_answer_is_still_an_answer() {
    let frame = PlainReplies { replies: vec![v1::OpReply { id: 4, ..v1::OpReply::default() }], topology_version: 0 };
    let frame = ReplyFrame::decode(frame.encode_to_vec().as_slice()).unwrap();
    let reply = frame.replies().next().unwrap().unwrap();
    assert_eq!(reply.id, 4);
    assert!(reply.reply.unwrap_err().to_string().contains("op_reply.value"));
}
