//! Commands that wait for elements: one attempt.

use simplekv_resp::command::Blocking;
use simplekv_types::{Failure, GroupTime, Reply};

use crate::{Keyspace, evaluate};

pub(crate) fn attempt(blocking: &Blocking, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let reply = evaluate(&blocking.attempt, keyspace, now)?;
    Ok(if blocking.is_flat { flat(reply) } else { reply })
}

/// `[key, [element]]` as `[key, element]`, and `[key, [[member, score]]]` as `[key, member, score]`.
fn flat(reply: Reply) -> Reply {
    let Reply::Array(parts) = reply else { return reply };
    let mut flat = Vec::with_capacity(3);
    let mut rest: Vec<Reply> = parts.into_iter().rev().collect();
    while let Some(part) = rest.pop() {
        match part {
            Reply::Array(parts) => rest.extend(parts.into_iter().rev()),
            part => flat.push(part),
        }
    }
    Reply::Array(flat)
}
