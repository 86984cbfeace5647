//! Several commands done as one.

use simplekv_resp::command::{Atomic, Watched};
use simplekv_types::{Failure, GroupTime, Reply};

use crate::keys::version_of;
use crate::{Keyspace, evaluate};

pub(crate) fn execute(commands: &Atomic, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let Atomic { watched, commands } = commands;
    for Watched { key, version } in watched {
        if version_of(key, keyspace, now)? != *version {
            return Ok(Reply::NullArray);
        }
    }
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        match evaluate(command, keyspace, now) {
            // Not the command's fault, so it says nothing about those before it: whoever keeps the keys takes back what they did.
            Err(failure @ Failure::Corrupt { .. }) => return Err(failure),
            outcome => replies.push(outcome.unwrap_or_else(Reply::Error)),
        }
    }
    Ok(Reply::Array(replies))
}
