//! Commands on sets.
//!
//! An element is a member; its value is empty.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use simplekv_collections::{Collection, Element};
use simplekv_resp::command::{SetOfCommand, SetOperation};
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::elements::{
    self, absent, begin, delete_all, element_of, name_of, take_out, visible_elements, visible_outline,
};
use crate::{Elements, Keyspace, Outline, View, check_value, int, visible_meta};

pub(crate) fn read(key: &Bytes, ask: &SetOfCommand, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    if let SetOfCommand::IsMember { .. } | SetOfCommand::MIsMember { .. } | SetOfCommand::Len = ask {
        let known = visible_outline(key, ValueType::Set, view, now)?;
        let holds = |member: &Bytes| Ok(int(usize::from(element_of(key, known, member, view)?.is_some())));
        return match ask {
            SetOfCommand::IsMember { member } => holds(member),
            SetOfCommand::MIsMember { members } => {
                Ok(Reply::Array(members.iter().map(holds).collect::<Result<_, Failure>>()?))
            }
            _ => Ok(int(known.map_or(0, |known| known.len))),
        };
    }
    let elements = visible_elements(key, ValueType::Set, view, now)?;
    match ask {
        SetOfCommand::Members => Ok(members(&of(elements))),
        SetOfCommand::RandMember { count } => random_members(elements, *count, view),
        SetOfCommand::Scan(scan) => elements::scan(elements, scan, |element, found| {
            found.push(name_of(element));
            Ok(())
        }),
        SetOfCommand::Combine { operation, more } => {
            let mut names = Vec::new();
            let sets = sets(std::iter::once(key).chain(more), view, now)?;
            combine(*operation, sets, |element| names.push(name_of(element)));
            Ok(Reply::Set(names))
        }
        SetOfCommand::InterCard { more, limit } => {
            let sets = sets(std::iter::once(key).chain(more), view, now)?;
            Ok(int(count_common(sets, *limit)))
        }
        _ => Err(Failure::command("ERR a write was sent where only reads are answered")),
    }
}

pub(crate) fn write(
    key: &Bytes,
    ask: &SetOfCommand,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    match ask {
        SetOfCommand::Add { members } => add(key, members, keyspace, now),
        SetOfCommand::Rem { members } => Ok(int(delete_all(key, members, ValueType::Set, keyspace, now)?)),
        SetOfCommand::Pop { count } => pop(key, *count, keyspace, now),
        SetOfCommand::Move { to, member } => move_member(key, to, member, keyspace, now),
        SetOfCommand::Store { operation, from } => store(key, *operation, from, keyspace, now),
        _ => read(key, ask, keyspace, now),
    }
}

fn add(key: &Bytes, members: &[Bytes], keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    for member in members {
        check_value(member, keyspace)?;
    }
    let known = visible_outline(key, ValueType::Set, keyspace, now)?;
    let added = absent(key, known, members.iter(), keyspace)?;
    if added.is_empty() {
        return Ok(Reply::Int(0));
    }
    put_all(key, known, added.iter().map(|member| &***member), keyspace);
    Ok(int(added.len()))
}

/// Puts members that are not there yet, at least one. `known`: what the key holds; none if it is to begin anew.
fn put_all<'a>(
    key: &Bytes,
    known: Option<Outline>,
    members: impl Iterator<Item = &'a [u8]>,
    keyspace: &mut dyn Keyspace,
) {
    begin(key, ValueType::Set, known, keyspace);
    for member in members {
        keyspace.put_element(key, member, b"");
    }
}

fn pop(key: &Bytes, count: Option<u64>, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let collection = of(visible_elements(key, ValueType::Set, keyspace, now)?);
    let wanted = count.map_or(1, |count| i64::try_from(count).unwrap_or(i64::MAX));
    let drawn = elements::draw(collection.len(), wanted, keyspace)?;
    let drawn = drawn.into_iter().filter_map(|number| collection.get(number));
    let names: Vec<Arc<[u8]>> = drawn.map(|element| Arc::clone(&element.name)).collect();
    if !names.is_empty() {
        let len = collection.len();
        // Whoever keeps a clone makes the original copy what it changes.
        drop(collection);
        take_out(key, len, names.iter().map(|name| &**name), keyspace);
    }
    let mut taken = names.iter().map(|name| Reply::Bulk(Bytes::copy_from_slice(name)));
    Ok(if count.is_some() { Reply::Set(taken.collect()) } else { taken.next().unwrap_or(Reply::Null) })
}

fn move_member(
    from: &Bytes,
    to: &Bytes,
    member: &Bytes,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    // Redis does not look at the other key either if there is none to take from.
    let Some(source) = visible_outline(from, ValueType::Set, keyspace, now)? else { return Ok(Reply::Int(0)) };
    let target = visible_outline(to, ValueType::Set, keyspace, now)?;
    let is_there = keyspace.element(from, member)?.is_some();
    if !is_there || from == to {
        return Ok(int(usize::from(is_there)));
    }
    let is_known = element_of(to, target, member, keyspace)?.is_some();
    take_out(from, source.len, std::iter::once(&**member), keyspace);
    if !is_known {
        put_all(to, target, std::iter::once(&**member), keyspace);
    }
    Ok(Reply::Int(1))
}

fn store(
    to: &Bytes,
    operation: SetOperation,
    from: &[Bytes],
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let mut names: Vec<Arc<[u8]>> = Vec::new();
    combine(operation, sets(from, keyspace, now)?, |element| names.push(Arc::clone(&element.name)));
    if !names.is_empty() {
        put_all(to, None, names.iter().map(|name| &**name), keyspace);
    } else if visible_meta(to, keyspace, now)?.is_some() {
        keyspace.delete(to);
    }
    Ok(int(names.len()))
}

/// Those of a key that may not be there.
fn of(elements: Option<Elements>) -> Collection {
    elements.map_or_else(|| Collection::new(ValueType::Set, 0), |elements| elements.collection)
}

/// What each key holds. Like Redis, this refuses a key of another type even if another key settles the answer by not being there.
fn sets<'a>(
    keys: impl IntoIterator<Item = &'a Bytes>,
    view: &dyn View,
    now: GroupTime,
) -> Result<Vec<Collection>, Failure> {
    keys.into_iter().map(|key| Ok(of(visible_elements(key, ValueType::Set, view, now)?))).collect()
}

fn members(set: &Collection) -> Reply {
    let mut names = Vec::with_capacity(set.len());
    set.walk(0, |element| {
        names.push(name_of(element));
        ControlFlow::Continue(())
    });
    Reply::Set(names)
}

fn random_members(elements: Option<Elements>, count: Option<i64>, view: &dyn View) -> Result<Reply, Failure> {
    let Some(Elements { collection, .. }) = elements else {
        return Ok(if count.is_some() { Reply::Array(Vec::new()) } else { Reply::Null });
    };
    let drawn = elements::draw(collection.len(), count.unwrap_or(1), view)?;
    let mut drawn = drawn.into_iter().filter_map(|number| collection.get(number)).map(name_of);
    Ok(if count.is_some() { Reply::Array(drawn.collect()) } else { drawn.next().unwrap_or(Reply::Null) })
}

/// Shows each member of what is made of these sets once.
fn combine(operation: SetOperation, sets: Vec<Collection>, mut show: impl FnMut(&Element)) {
    match operation {
        SetOperation::Inter => intersect(sets, |element| {
            show(element);
            ControlFlow::Continue(())
        }),
        SetOperation::Union => unite(&sets, show),
        SetOperation::Diff => subtract(&sets, show),
    }
}

fn intersect(mut sets: Vec<Collection>, mut show: impl FnMut(&Element) -> ControlFlow<()>) {
    sets.sort_by_key(Collection::len);
    let Some((smallest, others)) = sets.split_first() else { return };
    smallest.walk(0, |element| {
        if others.iter().all(|other| other.find(&element.name).is_some()) {
            show(element)
        } else {
            ControlFlow::Continue(())
        }
    });
}

fn unite(sets: &[Collection], mut show: impl FnMut(&Element)) {
    let mut known: HashSet<&[u8]> = HashSet::new();
    each(sets, |element| {
        if known.insert(&element.name) {
            show(element);
        }
    });
}

fn subtract(sets: &[Collection], mut show: impl FnMut(&Element)) {
    let Some((first, others)) = sets.split_first() else { return };
    let mut taken: HashSet<&[u8]> = HashSet::new();
    // Many small sets are put together first, so that not each of them is asked about each member.
    let are_small = others.iter().map(Collection::len).sum::<usize>() < first.len().saturating_mul(others.len());
    if are_small {
        each(others, |element| {
            taken.insert(&element.name);
        });
    }
    each(std::slice::from_ref(first), |element| {
        let is_taken = match are_small {
            true => taken.contains(&*element.name),
            false => others.iter().any(|other| other.find(&element.name).is_some()),
        };
        if !is_taken {
            show(element);
        }
    });
}

/// Shows all elements of all sets.
fn each<'a>(sets: &'a [Collection], mut show: impl FnMut(&'a Element)) {
    for set in sets {
        set.walk(0, |element| {
            show(element);
            ControlFlow::Continue(())
        });
    }
}

/// How many members the sets have in common, counted up to the limit, which is none if it is 0.
fn count_common(sets: Vec<Collection>, limit: u64) -> usize {
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    let mut count = 0;
    intersect(sets, |_| {
        count += 1;
        if Some(count) == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    count
}
