//! Replies.

use simplekv_types::{Failure, Reply};

use super::Malformed;
use crate::v1;
use crate::v1::value::Kind;

/// No command answers anything nested deeper; a peer that sends more is not one of ours.
const DEPTH_MAX: usize = 16;

impl From<Reply> for v1::Value {
    fn from(reply: Reply) -> Self {
        let values = |replies: Vec<Reply>| v1::Values { values: replies.into_iter().map(Self::from).collect() };
        let kind = match reply {
            Reply::Ok => Kind::Ok(v1::Unit {}),
            Reply::Status(status) => Kind::Status(status.to_owned()),
            Reply::Int(number) => Kind::Int(number),
            Reply::Bulk(bytes) => Kind::Bulk(bytes),
            Reply::Text(bytes) => Kind::Text(bytes),
            Reply::Null => Kind::Null(v1::Unit {}),
            Reply::NullArray => Kind::NullArray(v1::Unit {}),
            Reply::Double(number) => Kind::Double(number),
            Reply::Decimal(number) => Kind::Decimal(number),
            Reply::Bool(truth) => Kind::Bool(truth),
            Reply::Array(replies) => Kind::Array(values(replies)),
            Reply::Map(pairs) => Kind::Map(values(flat(pairs))),
            Reply::Pairs(pairs) => Kind::Pairs(values(flat(pairs))),
            // No command that is sent over this wire is answered by any.
            Reply::Pushes(pushes) => Kind::Array(values(pushes.into_iter().flatten().collect())),
            Reply::Set(replies) => Kind::Set(values(replies)),
            Reply::Error(failure) => Kind::Failure(failure.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Value> for Reply {
    type Error = Malformed;

    fn try_from(wire: v1::Value) -> Result<Self, Malformed> {
        reply(wire, 0)
    }
}

fn reply(wire: v1::Value, depth: usize) -> Result<Reply, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed::TooDeep(DEPTH_MAX));
    }
    let replies = |values: v1::Values| -> Result<Vec<Reply>, Malformed> {
        values.values.into_iter().map(|value| reply(value, depth + 1)).collect()
    };
    Ok(match wire.kind.ok_or(Malformed::Missing("value.kind"))? {
        Kind::Ok(_) => Reply::Ok,
        Kind::Status(status) => status_reply(status),
        Kind::Int(number) => Reply::Int(number),
        Kind::Bulk(bytes) => Reply::Bulk(bytes),
        Kind::Text(bytes) => Reply::Text(bytes),
        Kind::Null(_) => Reply::Null,
        Kind::NullArray(_) => Reply::NullArray,
        Kind::Double(number) => Reply::Double(number),
        Kind::Decimal(number) => Reply::Decimal(number),
        Kind::Bool(truth) => Reply::Bool(truth),
        Kind::Array(values) => Reply::Array(replies(values)?),
        Kind::Set(values) => Reply::Set(replies(values)?),
        Kind::Map(values) => Reply::Map(in_pairs(replies(values)?)?),
        Kind::Pairs(values) => Reply::Pairs(in_pairs(replies(values)?)?),
        Kind::Failure(failure) => Reply::Error(Failure::from(failure)),
    })
}

fn flat(pairs: Vec<(Reply, Reply)>) -> Vec<Reply> {
    pairs.into_iter().flat_map(|(one, other)| [one, other]).collect()
}

fn in_pairs(flat: Vec<Reply>) -> Result<Vec<(Reply, Reply)>, Malformed> {
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let Some(one) = flat.next() {
        pairs.push((one, flat.next().ok_or(Malformed::Missing("the other half of a pair"))?));
    }
    Ok(pairs)
}

/// Status lines are a closed set on our side; one we do not know arrives as a bulk with the same text.
fn status_reply(status: String) -> Reply {
    const KNOWN: [&str; 10] =
        ["PONG", "QUEUED", "none", "string", "list", "hash", "set", "zset", "RESET", "Background saving started"];
    match KNOWN.iter().find(|known| **known == status) {
        Some(known) => Reply::Status(known),
        None => Reply::text(status),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_shape_survives_the_wire() {
        let reply = Reply::Array(vec![
            Reply::Ok,
            Reply::Status("PONG"),
            Reply::Int(-3),
            Reply::Bulk(Bytes::from_static(b"\xff\0")),
            Reply::Null,
            Reply::NullArray,
            Reply::Double(1.5),
            Reply::Decimal(13.25),
            Reply::Bool(true),
            Reply::Map(vec![(Reply::fixed("a"), Reply::Int(1))]),
            Reply::Pairs(vec![(Reply::fixed("a"), Reply::Double(0.5))]),
            Reply::Set(vec![Reply::text("b")]),
            Reply::Error(Failure::WrongType),
        ]);
        assert_eq!(Reply::try_from(v1::Value::from(reply.clone())), Ok(reply));
    }

    #[test]
    fn deep_nesting_and_halves_of_maps_are_refused() {
        let mut deep = v1::Value::from(Reply::Null);
        for _ in 0..40 {
            deep = v1::Value { kind: Some(Kind::Array(v1::Values { values: vec![deep] })) };
        }
        assert_eq!(Reply::try_from(deep), Err(Malformed::TooDeep(DEPTH_MAX)));
        let half = v1::Value { kind: Some(Kind::Map(v1::Values { values: vec![Reply::Null.into()] })) };
        assert_eq!(Reply::try_from(half), Err(Malformed::Missing("the other half of a pair")));
        assert_eq!(Reply::try_from(v1::Value { kind: None }), Err(Malformed::Missing("value.kind")));
    }
}
