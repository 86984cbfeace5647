//! Several commands done as one.

use simplekv_resp::command::{Atomic, Watched};
use simplekv_types::{Failure, GroupTime, Reply};

use crate::keys::version_of;
use crate::{Keyspace, evaluate};

/// Most bytes that the replies of commands done as one may come to.
const REPLY_BYTES_MAX: usize = 64 << 20;

pub(crate) fn execute(commands: &Atomic, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let Atomic { watched, commands } = commands;
    for Watched { key, version } in watched {
        if version_of(key, keyspace, now)? != *version {
            return Ok(Reply::NullArray);
        }
    }
    let (mut replies, mut bytes) = (Vec::with_capacity(commands.len()), 0_usize);
    for command in commands {
        match evaluate(command, keyspace, now) {
            // Not the command's fault, so it says nothing about those before it: whoever keeps the keys takes back what they did.
            Err(failure @ Failure::Corrupt { .. }) => return Err(failure),
            outcome => replies.push(outcome.unwrap_or_else(Reply::Error)),
        }
        // All of it is in memory at once, and is logged with the effect so that a retry is answered the same.
        bytes = bytes.saturating_add(replies.last().map_or(0, Reply::memory_bytes));
        if bytes > REPLY_BYTES_MAX {
            return Err(Failure::TooLarge { what: "reply", size: bytes as u64, limit: REPLY_BYTES_MAX as u64 });
        }
    }
    Ok(Reply::Array(replies))
}
