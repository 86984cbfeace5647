//! `hot-keys` and `hot-slots`.

use std::time::Instant;

use simplekv_proto::v1;

use crate::args::{HotKeys as KeysAsked, HotSlots as SlotsAsked};
use crate::command::look;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Output;
use crate::report::load::{HotKeys, HotSlots};

pub(super) async fn hot_keys(node: &mut Connection, asked: &KeysAsked, output: &mut Output) -> Result<(), Failure> {
    let reply = node.load(v1::LoadRequest { own: false, keys: asked.limit, slots: false }).await?;
    output.data(&HotKeys::of(reply))
}

/// Counts twice: what was asked in between is what happens now.
pub(super) async fn hot_slots(node: &mut Connection, asked: &SlotsAsked, output: &mut Output) -> Result<(), Failure> {
    let request = v1::LoadRequest { own: false, keys: 0, slots: true };
    let picture = look(node).await?;
    let (begun, before) = (Instant::now(), node.load(request).await?);
    let _ = tokio::time::timeout(asked.over, std::future::pending::<()>()).await;
    let (lasted, after) = (begun.elapsed(), node.load(request).await?);
    let slots = HotSlots::between(&before, &after, lasted, |slot| picture.group_of(slot));
    output.data(&slots.greatest(asked.by, usize::try_from(asked.limit).unwrap_or(usize::MAX)))
}
