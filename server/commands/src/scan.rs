//! Commands on the keyspace as a whole.
//!
//! A walk goes from [`ScanCursor`] to [`ScanCursor`]: through the slots in order, and through each slot in the order of positions.

use bytes::Bytes;
use simplekv_collections::POSITION_BITS;
use simplekv_resp::command::Scan;
use simplekv_resp::{SCAN_POSITION_BITS, ScanCursor, glob};
use simplekv_types::{Failure, GroupTime, Reply, Slot, SlotRange};

use crate::{Meta, View, visible_meta};

/// Most keys one SCAN looks at, whatever its COUNT: it must not hold up the requests behind it.
const SCAN_KEYS_MAX: u64 = 10_000;
/// Most steps one SCAN spends on its pattern before it answers what it has.
const SCAN_STEPS_MAX: usize = 4_000_000;
/// Most steps one KEYS spends: its keys' bytes, plus what the pattern costs.
const KEYS_STEPS_MAX: usize = 200_000_000;

pub(crate) const TOO_COMPLEX: Failure = Failure::command("ERR the pattern needs too many steps");

/// The position of a key whose store has no order of its own: the first bits of its position as a name.
#[must_use]
pub fn position_of(key: &[u8]) -> u64 {
    simplekv_collections::position_of(key) >> (POSITION_BITS - SCAN_POSITION_BITS)
}

/// The slots that are served here and lie in `wanted`, in order.
fn served(view: &dyn View, wanted: SlotRange) -> impl Iterator<Item = Slot> + use<> {
    view.slots().into_iter().flat_map(SlotRange::iter).filter(move |slot| wanted.contains(*slot))
}

/// The one slot that keys matching a pattern can be in, if its hash tag is spelled out.
fn only_slot(pattern: &[u8]) -> Option<Slot> {
    if let Some(key) = glob::literal(pattern) {
        return Some(Slot::of_key(key));
    }
    let open = pattern.iter().position(|&byte| byte == b'{')?;
    let tag_len = pattern.get(open + 1..)?.iter().position(|&byte| byte == b'}')?;
    let tagged = pattern.get(..open + tag_len + 2)?;
    // An empty tag does not count, and in front of the tag anything might match another one.
    (tag_len > 0 && glob::literal(tagged).is_some()).then(|| Slot::of_key(tagged))
}

pub(crate) fn scan(scan: &Scan, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let mut found = Vec::new();
    let next = walk(scan, view, now, &mut found)?;
    let cursor = next.map_or(0, ScanCursor::to_number);
    Ok(Reply::Array(vec![Reply::text(cursor.to_string()), Reply::Array(found)]))
}

/// Collects the keys of one step and answers where to go on.
fn walk(scan: &Scan, view: &dyn View, now: GroupTime, found: &mut Vec<Reply>) -> Result<Option<ScanCursor>, Failure> {
    let Some(start) = ScanCursor::from_number(scan.cursor) else { return Ok(None) };
    let wanted = match scan.pattern.as_deref().and_then(only_slot) {
        None => scan.slots,
        Some(slot) if scan.slots.contains(slot) => SlotRange::from(slot),
        Some(_) => return Ok(None),
    };
    let mut left = usize::try_from(scan.count.min(SCAN_KEYS_MAX)).unwrap_or(usize::MAX);
    let mut steps = SCAN_STEPS_MAX;
    for slot in served(view, wanted).filter(|slot| *slot >= start.slot) {
        let from = if slot == start.slot { start.position } else { 0 };
        if left == 0 {
            return Ok(Some(ScanCursor { slot, position: from }));
        }
        if view.key_count(slot) == 0 {
            continue;
        }
        let mut keys = Vec::new();
        let next = view.scan_slot(slot, from, left, &mut |position, key, meta| keys.push((position, key, meta)))?;
        left = left.saturating_sub(keys.len());
        for (position, key, meta) in keys {
            match is_wanted(scan, &key, meta, now, &mut steps) {
                Some(true) => found.push(Reply::Bulk(key)),
                Some(false) => (),
                // Out of steps. Go on at this key; if not even the first one could be judged, no call ever will.
                None if slot == start.slot && position == start.position => return Err(TOO_COMPLEX),
                None => return Ok(Some(ScanCursor { slot, position })),
            }
        }
        if let Some(position) = next {
            return Ok(Some(ScanCursor { slot, position }));
        }
    }
    Ok(None)
}

/// Whether SCAN answers a key; `None` if there were too few steps to tell.
fn is_wanted(scan: &Scan, key: &[u8], meta: Meta, now: GroupTime, steps: &mut usize) -> Option<bool> {
    if !meta.is_visible(now) {
        return Some(false);
    }
    if scan.kind.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case(meta.kind.name().as_bytes())) {
        return Some(false);
    }
    match &scan.pattern {
        None => Some(true),
        Some(pattern) => glob::matches_within(pattern, key, steps),
    }
}

pub(crate) fn keys(pattern: &[u8], view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    if let Some(key) = glob::literal(pattern) {
        let is_here =
            served(view, Slot::of_key(key).into()).next().is_some() && visible_meta(key, view, now)?.is_some();
        return Ok(Reply::Array(is_here.then(|| Reply::Bulk(Bytes::copy_from_slice(key))).into_iter().collect()));
    }
    let wanted = only_slot(pattern).map_or(SlotRange::ALL, SlotRange::from);
    let mut steps = Some(KEYS_STEPS_MAX);
    let mut found = Vec::new();
    for slot in served(view, wanted) {
        view.scan_slot(slot, 0, usize::MAX, &mut |_, key, meta| {
            let Some(left) = &mut steps else { return };
            match glob::matches_within(pattern, &key, left) {
                Some(true) if meta.is_visible(now) => found.push(Reply::Bulk(key)),
                Some(_) => (),
                None => steps = None,
            }
        })?;
        if steps.is_none() {
            return Err(TOO_COMPLEX);
        }
    }
    Ok(Reply::Array(found))
}

/// How often RANDOMKEY tries to find a key that has not lapsed.
const RANDOM_TRIES: u32 = 100;

pub(crate) fn random_key(view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    for _ in 0..RANDOM_TRIES {
        let Some(slot) = random_slot(view) else { return Ok(Reply::Null) };
        // Keys lie at random positions, so the next one from a random place is a random one, nearly.
        let from = view.random() >> (64 - SCAN_POSITION_BITS);
        for from in [from, 0] {
            let mut found = None;
            view.scan_slot(slot, from, 1, &mut |_, key, meta| {
                if meta.is_visible(now) && found.is_none() {
                    found = Some(key);
                }
            })?;
            if let Some(key) = found {
                return Ok(Reply::Bulk(key));
            }
        }
    }
    Ok(Reply::Null)
}

/// A slot, each as likely as it has keys; `None` without keys.
fn random_slot(view: &dyn View) -> Option<Slot> {
    let total: u64 = served(view, SlotRange::ALL).map(|slot| view.key_count(slot)).sum();
    let mut left = view.random().checked_rem(total)?;
    served(view, SlotRange::ALL).find(|slot| {
        let count = view.key_count(*slot);
        let is_here = left < count;
        left = left.saturating_sub(count);
        is_here
    })
}

pub(crate) fn db_size(view: &dyn View) -> Reply {
    let total: u64 = served(view, SlotRange::ALL).map(|slot| view.key_count(slot)).sum();
    Reply::Int(i64::try_from(total).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
