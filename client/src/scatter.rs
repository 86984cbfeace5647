//! Commands whose keys lie in several slots: cut into one part per slot, run at once, put together in the order of the keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use simplekv_types::{Reply, Slot};

use crate::error::{Error, Result};
use crate::{Client, Kind, Options};

/// The part of a command that concerns one slot.
#[derive(Debug)]
pub(crate) struct Part {
    /// Which of the command's items these are, in the order of their replies.
    items: Vec<usize>,
    /// What the part answered.
    result: Result<Reply>,
}

/// Runs `command` with the items of each slot, all slots at once. An item is a key and what follows it.
pub(crate) async fn scatter(
    client: &Client,
    command: &'static str,
    items: Vec<Vec<Bytes>>,
    kind: Kind,
    options: Options,
) -> Vec<Part> {
    let mut by_slot: BTreeMap<Slot, Vec<usize>> = BTreeMap::new();
    for (i, item) in items.iter().enumerate() {
        let slot = Slot::of_key(item.first().map_or(&[], |key| key));
        by_slot.entry(slot).or_default().push(i);
    }
    let parts: FuturesUnordered<_> = by_slot
        .into_iter()
        .map(|(slot, indices)| {
            let of_slot = indices.iter().filter_map(|&i| items.get(i)).flatten().cloned();
            let args: Arc<[Bytes]> = std::iter::once(Bytes::from_static(command.as_bytes())).chain(of_slot).collect();
            async move { Part { items: indices, result: client.execute(slot, args, kind, options).await } }
        })
        .collect();
    parts.collect().await
}

/// The replies of all parts, each with its items.
///
/// # Errors
/// The failure, if there was only one part or `kind` is a read; [`Error::Partial`] if a write was done on some slots only.
pub(crate) fn gather(parts: Vec<Part>, kind: Kind) -> Result<Vec<(Vec<usize>, Reply)>> {
    let count = parts.len();
    let mut replies = Vec::with_capacity(count);
    let mut worst: Option<Error> = None;
    for Part { items, result } in parts {
        match result.and_then(refused) {
            Ok(reply) => replies.push((items, reply)),
            // Of several errors the one that leaves a doubt speaks for all: it is the one the caller must not overlook.
            Err(error) if error.may_have_applied() => worst = Some(error),
            Err(error) => worst = worst.or(Some(error)),
        }
    }
    match worst {
        None => Ok(replies),
        Some(source) if kind == Kind::Write && !replies.is_empty() => {
            Err(Error::Partial { parts: count, failed: count - replies.len(), source: Box::new(source) })
        }
        Some(source) => Err(source),
    }
}

/// A reply, with a refusal as an error.
pub(crate) fn refused(reply: Reply) -> Result<Reply> {
    match reply {
        Reply::Error(failure) => Err(failure.into()),
        reply => Ok(reply),
    }
}
