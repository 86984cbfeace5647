//! What commands on hashes, lists, sets and sorted sets have in common.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use simplekv_collections::{Collection, Element};
use simplekv_resp::command::ElementScan;
use simplekv_resp::glob;
use simplekv_types::{Failure, GroupTime, Reply, ValueType};
use smallvec::SmallVec;

use crate::{Elements, Keyspace, Outline, View, visible_meta};

/// Most elements one step of a scan looks at, whatever its COUNT.
const SCAN_ELEMENTS_MAX: u64 = 10_000;
/// Most steps one step of a scan spends on its pattern.
const SCAN_STEPS_MAX: usize = 4_000_000;

/// The elements of a key that, if it is there, holds some of this type.
pub(crate) fn visible_elements(
    key: &[u8],
    kind: ValueType,
    view: &dyn View,
    now: GroupTime,
) -> Result<Option<Elements>, Failure> {
    visible_of(key, &[kind], view, now)
}

/// The elements of a key that, if it is there, holds some of one of these types.
pub(crate) fn visible_of(
    key: &[u8],
    kinds: &[ValueType],
    view: &dyn View,
    now: GroupTime,
) -> Result<Option<Elements>, Failure> {
    match view.elements(key)? {
        Some(elements) if elements.expire_at.is_some_and(|at| at <= now) => Ok(None),
        Some(elements) if kinds.contains(&elements.collection.kind()) => Ok(Some(elements)),
        Some(_) => Err(Failure::WrongType),
        None => match visible_meta(key, view, now)? {
            Some(_) => Err(Failure::WrongType),
            None => Ok(None),
        },
    }
}

/// What is known of a key that, if it is there, holds elements of this type.
pub(crate) fn visible_outline(
    key: &[u8],
    kind: ValueType,
    view: &dyn View,
    now: GroupTime,
) -> Result<Option<Outline>, Failure> {
    match view.outline(key)? {
        Some(outline) if outline.expire_at.is_some_and(|at| at <= now) => Ok(None),
        Some(outline) if outline.kind == kind => Ok(Some(outline)),
        Some(_) => Err(Failure::WrongType),
        None => match visible_meta(key, view, now)? {
            Some(_) => Err(Failure::WrongType),
            None => Ok(None),
        },
    }
}

/// The element of this name, if the key holds elements at all.
pub(crate) fn element_of(
    key: &[u8],
    known: Option<Outline>,
    name: &[u8],
    view: &dyn View,
) -> Result<Option<Element>, Failure> {
    if known.is_some() { view.element(key, name) } else { Ok(None) }
}

/// Those of the names that are not there, each once.
pub(crate) fn absent<'a>(
    key: &[u8],
    known: Option<Outline>,
    names: impl Iterator<Item = &'a Bytes>,
    view: &dyn View,
) -> Result<SmallVec<[&'a Bytes; 1]>, Failure> {
    let mut absent = SmallVec::new();
    for name in names {
        if element_of(key, known, name, view)?.is_none() {
            absent.push(name);
        }
    }
    absent.sort_unstable();
    absent.dedup();
    Ok(absent)
}

/// Makes sure that a key holds elements of this type.
///
/// Called when nothing can go wrong any more: a command that fails must have changed nothing.
pub(crate) fn begin(key: &Bytes, kind: ValueType, known: Option<Outline>, keyspace: &mut dyn Keyspace) {
    if known.is_none() {
        keyspace.begin(key, kind, None);
    }
}

/// Takes elements out of a key that holds `len`, and the key with the last of them.
pub(crate) fn take_out<'a>(
    key: &Bytes,
    len: usize,
    names: impl ExactSizeIterator<Item = &'a [u8]>,
    keyspace: &mut dyn Keyspace,
) {
    if names.len() >= len {
        keyspace.delete(key);
    } else {
        names.for_each(|name| keyspace.delete_element(key, name));
    }
}

/// Takes those out of a key of this type that are there; returns how many.
pub(crate) fn delete_all(
    key: &Bytes,
    names: &[Bytes],
    kind: ValueType,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<usize, Failure> {
    let Some(outline) = visible_outline(key, kind, keyspace, now)? else { return Ok(0) };
    let mut found: SmallVec<[&[u8]; 1]> = SmallVec::new();
    for name in names {
        if keyspace.element(key, name)?.is_some() {
            found.push(name);
        }
    }
    found.sort_unstable();
    found.dedup();
    take_out(key, outline.len, found.iter().copied(), keyspace);
    Ok(found.len())
}

/// The numbers of the elements from one index to another; empty if there are none.
pub(crate) fn numbers(start: i64, end: i64, len: usize) -> Range<usize> {
    let count = i64::try_from(len).unwrap_or(i64::MAX);
    let from_start = |index: i64| if index < 0 { index.saturating_add(count) } else { index };
    let start = from_start(start).clamp(0, count);
    let end = from_start(end).saturating_add(1).clamp(start, count);
    usize::try_from(start).unwrap_or(len)..usize::try_from(end).unwrap_or(len)
}

/// An element's name and value.
pub(crate) type Named = (Arc<[u8]>, Bytes);

/// All elements of a key with their values, in order.
pub(crate) fn values(key: &[u8], collection: &Collection, view: &dyn View) -> Result<Vec<Named>, Failure> {
    let mut values = Vec::with_capacity(collection.len());
    walk(collection, 0, |element| {
        values.push((Arc::clone(&element.name), view.element_value(key, element)?));
        Ok(())
    })?;
    Ok(values)
}

/// Shows the elements from one on, as long as nothing fails.
pub(crate) fn walk(
    collection: &Collection,
    from: usize,
    mut show: impl FnMut(&Element) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut outcome = Ok(());
    collection.walk(from, |element| match show(element) {
        Ok(()) => ControlFlow::Continue(()),
        Err(failure) => {
            outcome = Err(failure);
            ControlFlow::Break(())
        }
    });
    outcome
}

/// An element's name as an answer.
pub(crate) fn name_of(element: &Element) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(&element.name))
}

/// Answers one step of HSCAN, SSCAN or ZSCAN; `show` says what of an element is told.
pub(crate) fn scan(
    elements: Option<Elements>,
    scan: &ElementScan,
    mut show: impl FnMut(&Element, &mut Vec<Reply>) -> Result<(), Failure>,
) -> Result<Reply, Failure> {
    let (mut found, mut next, mut outcome) = (Vec::new(), None, Ok(()));
    if let Some(Elements { collection, .. }) = elements {
        let limit = usize::try_from(scan.count.min(SCAN_ELEMENTS_MAX)).unwrap_or(usize::MAX);
        let mut steps = SCAN_STEPS_MAX;
        next = collection.scan(scan.cursor, limit, |element| {
            if outcome.is_err() {
                return;
            }
            let is_meant = match &scan.pattern {
                None => Some(true),
                Some(pattern) => glob::matches_within(pattern, &element.name, &mut steps),
            };
            outcome = match is_meant {
                Some(true) => show(element, &mut found),
                Some(false) => Ok(()),
                None => Err(crate::scan::TOO_COMPLEX),
            };
        });
    }
    outcome?;
    Ok(Reply::Array(vec![Reply::text(next.unwrap_or(0).to_string()), Reply::Array(found)]))
}

/// Most elements that are drawn from all, time and again.
const DRAWN_MAX: u64 = 1_000_000;

/// Which of `len` elements are drawn: with a negative count each draw is from all of them, else none comes twice.
pub(crate) fn draw(len: usize, count: i64, view: &dyn View) -> Result<Vec<usize>, Failure> {
    let below = |end: usize| usize::try_from(view.random() % end.max(1) as u64).unwrap_or(0);
    if count < 0 {
        let wanted = Some(count.unsigned_abs()).filter(|wanted| *wanted <= DRAWN_MAX);
        let wanted = wanted.ok_or(Failure::command("ERR value is out of range"))?;
        return Ok((0..wanted).map(|_| below(len)).collect());
    }
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    if wanted >= len {
        return Ok((0..len).collect());
    }
    // Floyd's sampling: as many draws as there are to be, from however many.
    let (mut drawn, mut known) = (Vec::with_capacity(wanted), HashSet::with_capacity(wanted));
    for last in len - wanted..len {
        let number = below(last + 1);
        let number = if known.insert(number) { number } else { last };
        known.insert(number);
        drawn.push(number);
    }
    Ok(drawn)
}
