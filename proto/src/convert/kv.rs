//! The calls of service `Kv`: each is a command, said in a message of its own.

use bytes::Bytes;
use simplekv_types::{ClientId, Dedupe, ReadPolicy, Reply, SessionToken};

use super::{Malformed, client_id};
use crate::v1;

/// What a call asks. Its words are slices of the message it arrived in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The command, as Redis spells it.
    pub words: Vec<Bytes>,
    /// Which replicas may answer; the strongest promise if the call does not say.
    pub policy: ReadPolicy,
    /// What the caller has seen before.
    pub session: SessionToken,
    /// The write's own identity, if the caller gave it one.
    pub identity: Option<(ClientId, Dedupe)>,
}

impl Call {
    fn new(words: Vec<Bytes>, read: Option<v1::ReadPolicy>, session: &str) -> Result<Self, Malformed> {
        let session = if session.is_empty() { SessionToken::new() } else { session.parse()? };
        Ok(Self { words, policy: read.map(ReadPolicy::from).unwrap_or_default(), session, identity: None })
    }
}

impl TryFrom<v1::GetRequest> for Call {
    type Error = Malformed;

    fn try_from(wire: v1::GetRequest) -> Result<Self, Malformed> {
        Self::new(vec![Bytes::from_static(b"GET"), wire.key], wire.read, &wire.session)
    }
}

impl TryFrom<v1::SetRequest> for Call {
    type Error = Malformed;

    fn try_from(wire: v1::SetRequest) -> Result<Self, Malformed> {
        let mut words = vec![Bytes::from_static(b"SET"), wire.key, wire.value];
        if wire.ttl_ms > 0 {
            words.extend([Bytes::from_static(b"PX"), Bytes::from(wire.ttl_ms.to_string())]);
        }
        Self::new(words, None, &wire.session)
    }
}

impl TryFrom<v1::DeleteRequest> for Call {
    type Error = Malformed;

    fn try_from(wire: v1::DeleteRequest) -> Result<Self, Malformed> {
        Self::new(vec![Bytes::from_static(b"DEL"), wire.key], None, &wire.session)
    }
}

impl TryFrom<v1::ExecuteRequest> for Call {
    type Error = Malformed;

    fn try_from(wire: v1::ExecuteRequest) -> Result<Self, Malformed> {
        let dedupe = wire.dedupe.map(Dedupe::try_from).transpose()?;
        let identity = match (client_id(&wire.client_id)?, dedupe) {
            // A number says nothing without the client that counts: the write would silently be one that may be done twice.
            (None, Some(_)) => return Err(Malformed::Missing("client_id")),
            (client, dedupe) => client.zip(dedupe),
        };
        Ok(Self { identity, ..Self::new(wire.args, wire.read, &wire.session)? })
    }
}

/// What came of a call that did not fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What the command answered.
    pub reply: Reply,
    /// What the caller has seen by now.
    pub session: SessionToken,
}

impl From<Answer> for v1::GetReply {
    fn from(Answer { reply, session }: Answer) -> Self {
        let session = session.to_string();
        match reply {
            Reply::Bulk(value) => Self { found: true, value, session },
            _ => Self { session, ..Self::default() },
        }
    }
}

impl From<Answer> for v1::SetReply {
    fn from(answer: Answer) -> Self {
        Self { session: answer.session.to_string() }
    }
}

impl From<Answer> for v1::DeleteReply {
    fn from(Answer { reply, session }: Answer) -> Self {
        Self { deleted: reply == Reply::Int(1), session: session.to_string() }
    }
}

impl From<Answer> for v1::ExecuteReply {
    fn from(Answer { reply, session }: Answer) -> Self {
        Self { value: Some(reply.into()), session: session.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use simplekv_types::{GroupTime, Seq};

    use super::*;

    fn is_within(part: &Bytes, whole: &Bytes) -> bool {
        whole.as_ptr_range().contains(&part.as_ptr())
    }

    /// A value is neither copied nor looked at on its way from a message to a command, nor from an answer to a message.
    #[test]
    fn values_stay_where_they_arrived() {
        let (key, value) = (Bytes::from_static(b"key"), Bytes::from(vec![7; 100_000]));
        let set = v1::SetRequest { key: key.clone(), value: value.clone(), ttl_ms: 5, session: String::new() };
        let message = Bytes::from(set.encode_to_vec());
        let call = Call::try_from(v1::SetRequest::decode(message.clone()).unwrap()).unwrap();
        assert_eq!(call.words, [&b"SET"[..], b"key", &value, b"PX", b"5"]);
        assert!(call.words[1..3].iter().all(|word| is_within(word, &message)));

        let execute = v1::ExecuteRequest { args: vec!["APPEND".into(), key, value.clone()], ..Default::default() };
        let message = Bytes::from(execute.encode_to_vec());
        let call = Call::try_from(v1::ExecuteRequest::decode(message.clone()).unwrap()).unwrap();
        assert!(call.words.iter().all(|word| is_within(word, &message)));

        let answer = Answer { reply: Reply::Bulk(value.clone()), session: SessionToken::new() };
        let reply = v1::GetReply::from(answer.clone());
        assert!(reply.found && reply.value.as_ptr() == value.as_ptr());
        let Some(v1::value::Kind::Bulk(bulk)) = v1::ExecuteReply::from(answer).value.unwrap().kind else {
            panic!("a bulk is a bulk")
        };
        assert_eq!(bulk.as_ptr(), value.as_ptr());
    }

    #[test]
    fn a_call_says_who_may_answer_and_what_was_seen() {
        let get =
            |read, session: &str| Call::try_from(v1::GetRequest { key: "k".into(), read, session: session.to_owned() });
        assert_eq!(get(None, "").unwrap().policy, ReadPolicy::Linearizable);
        let call = get(Some(ReadPolicy::Any.into()), "s1-g1.1.0.1.7").unwrap();
        assert_eq!((call.policy, call.session.to_string().as_str()), (ReadPolicy::Any, "s1-g1.1.0.1.7"));
        assert!(matches!(get(None, "s9"), Err(Malformed::Token(_))));
    }

    #[test]
    fn an_identity_is_whole_or_not_there() {
        let dedupe = v1::Dedupe { seq: 3, ack_below: 2, deadline: 9, attempt: 1 };
        let call = |client_id: &'static [u8], dedupe| {
            let (args, client_id) = (vec!["INCR".into(), "k".into()], client_id.into());
            Call::try_from(v1::ExecuteRequest { args, client_id, dedupe, ..Default::default() })
                .map(|call| call.identity)
        };
        let expected = Dedupe { seq: Seq(3), ack_below: Seq(2), deadline: GroupTime(9), attempt: 1 };
        assert_eq!(call(&[0; 16], Some(dedupe)), Ok(Some((ClientId(0), expected))));
        assert_eq!(call(&[0; 16], None), Ok(None));
        assert_eq!(call(&[], Some(dedupe)), Err(Malformed::Missing("client_id")));
        assert!(call(&[1, 2], None).is_err());
        assert!(call(&[0; 16], Some(v1::Dedupe { seq: 0, ..dedupe })).is_err());
    }
}
