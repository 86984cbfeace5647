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
            Reply::Bool(truth) => Kind::Bool(truth),
            Reply::Array(replies) => Kind::Array(values(replies)),
            Reply::Map(pairs) => Kind::Map(values(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect())),
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
        Kind::Bool(truth) => Reply::Bool(truth),
        Kind::Array(values) => Reply::Array(replies(values)?),
        Kind::Set(values) => Reply::Set(replies(values)?),
        Kind::Map(values) => {
            let mut pairs = Vec::with_capacity(values.values.len() / 2);
            let mut flat = replies(values)?.into_iter();
            while let Some(key) = flat.next() {
                pairs.push((key, flat.next().ok_or(Malformed::Missing("a map's last value"))?));
            }
            Reply::Map(pairs)
        }
        Kind::Failure(failure) => Reply::Error(Failure::from(failure)),
    })
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
            Reply::Bool(true),
            Reply::Map(vec![(Reply::fixed("a"), Reply::Int(1))]),
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
        assert_eq!(Reply::try_from(half), Err(Malformed::Missing("a map's last value")));
        assert_eq!(Reply::try_from(v1::Value { kind: None }), Err(Malformed::Missing("value.kind")));
    }
}
