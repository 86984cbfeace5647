//! Writes that may depend on what is there.
//!
//! A demand that only the value can meet is judged here, on what was read, and then told to the cluster as what it was judged on: the
//! write is done only if the key still holds that very value. So it is atomic, though the cluster knows nothing of entity tags.

use axum::http::StatusCode;
use bytes::Bytes;
use simplekv_client::{Error, ReadPolicy, Reply, Session};

use super::etag::{self, Demand, Preconditions, Tag};
use super::query::Lifetime;
use crate::error::Problem;

/// How often a write is begun again because somebody else was faster, and the demand met all the same.
const TRIES: usize = 16;

/// What a write found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// There was no such key.
    Created,
    /// The key was there.
    Replaced,
    /// Nobody asked.
    Unknown,
}

/// Sets a key to a value if the demands are met.
///
/// # Errors
/// 412 if they are not.
pub(super) async fn set(
    session: &Session,
    key: Vec<u8>,
    value: Bytes,
    ttl: Option<Lifetime>,
    conditions: &Preconditions,
) -> Result<Done, Problem> {
    let key = Bytes::from(key);
    let set = || {
        let set = session.set(key.clone(), value.clone());
        match ttl {
            None => set,
            Some(Lifetime::Keep) => set.keep_ttl(),
            Some(Lifetime::For(ttl)) => set.ttl(ttl),
        }
    };
    match conditions.demand() {
        Demand::Nothing => {
            set().await?;
            return Ok(Done::Unknown);
        }
        Demand::Absent => return if set().if_absent().await? { Ok(Done::Created) } else { Err(etag::unmet()) },
        Demand::Present => return if set().if_present().await? { Ok(Done::Replaced) } else { Err(etag::unmet()) },
        Demand::Value => (),
    }
    for _ in 0..TRIES {
        let done = match look(session, &key, conditions).await? {
            None => set().if_absent().await?.then_some(Done::Created),
            Some(old) => set_if_equal(session, &key, &value, ttl, old).await?.then_some(Done::Replaced),
        };
        if let Some(done) = done {
            return Ok(done);
        }
    }
    Err(contended())
}

/// Deletes a key if the demands are met. Whether there was one: if not, no demand matters.
///
/// # Errors
/// 412 if they are not.
pub(super) async fn delete(session: &Session, key: Vec<u8>, conditions: &Preconditions) -> Result<bool, Problem> {
    let key = Bytes::from(key);
    match conditions.demand() {
        Demand::Nothing | Demand::Present => return Ok(session.del(key).await?),
        Demand::Absent => {
            return if session.exists(key).read(ReadPolicy::Linearizable).await? {
                Err(etag::unmet())
            } else {
                Ok(false)
            };
        }
        Demand::Value => (),
    }
    for _ in 0..TRIES {
        let Some(old) = session.get(key.clone()).read(ReadPolicy::Linearizable).await? else { return Ok(false) };
        conditions.judge(Some(&Tag::of(&old)))?;
        let delete = session.cmd("DELEX").key(key.clone()).arg("IFEQ").arg(old);
        match delete.await? {
            Reply::Int(0) => (),
            Reply::Int(_) => return Ok(true),
            other => return Err(unexpected("DELEX", &other)),
        }
    }
    Err(contended())
}

/// The value on which the demands were found to be met.
async fn look(session: &Session, key: &Bytes, conditions: &Preconditions) -> Result<Option<Bytes>, Problem> {
    let found = session.get(key.clone()).read(ReadPolicy::Linearizable).await?;
    conditions.judge(found.as_deref().map(Tag::of).as_ref())?;
    Ok(found)
}

async fn set_if_equal(
    session: &Session,
    key: &Bytes,
    value: &Bytes,
    ttl: Option<Lifetime>,
    old: Bytes,
) -> Result<bool, Problem> {
    let set = session.cmd("SET").key(key.clone()).arg(value.clone()).arg("IFEQ").arg(old);
    let set = match ttl {
        None => set,
        Some(Lifetime::Keep) => set.arg("KEEPTTL"),
        Some(Lifetime::For(ttl)) => set.arg("PX").arg(ttl.as_millis().to_string()),
    };
    match set.await? {
        Reply::Ok => Ok(true),
        Reply::Null => Ok(false),
        other => Err(unexpected("SET", &other)),
    }
}

pub(super) fn unexpected(command: &'static str, reply: &Reply) -> Problem {
    Error::Unexpected { command, got: format!("{reply:?}") }.into()
}

fn contended() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "others keep changing this key; nothing was done")
}
