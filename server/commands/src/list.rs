//! Commands on lists.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use simplekv_collections::{Collection, Element, Label};
use simplekv_resp::command::{ListCommand, ListEnd};
use simplekv_resp::number::parse_i64;
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::elements::{Named, numbers, take_out, visible_elements, visible_outline};
use crate::{Keyspace, View, check_value, int};

const NOT_AN_INTEGER: Failure = Failure::command("ERR value is not an integer or out of range");

/// What is asked about a list, and what it is asked of.
struct List<'a> {
    key: &'a Bytes,
    /// Empty if there is no such key, and only then.
    collection: Collection,
    view: &'a dyn View,
}

pub(crate) fn read(key: &Bytes, ask: &ListCommand, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let list = List::of(key, view, now)?;
    match ask {
        ListCommand::Len => Ok(int(list.len())),
        ListCommand::Range { start, end } => {
            let range = numbers(*start, *end, list.len());
            let found = list.elements(ListEnd::Left, range.start, range.len())?;
            Ok(bulks(found.into_iter().map(|(_, value)| value)))
        }
        ListCommand::Index { .. } if list.is_missing() => Ok(Reply::Null),
        ListCommand::Index { index } => list.index(parse_i64(index).ok_or(NOT_AN_INTEGER)?),
        ListCommand::Pos { element, rank, count, len_max } => {
            let mut found = list.positions(element, *rank, count.unwrap_or(1), *len_max)?;
            Ok(match count {
                Some(_) => Reply::Array(found),
                None => found.pop().unwrap_or(Reply::Null),
            })
        }
        _ => Err(Failure::command("ERR a write was sent where only reads are answered")),
    }
}

pub(crate) fn write(
    key: &Bytes,
    ask: &ListCommand,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    match ask {
        ListCommand::Push { end, elements, if_present } => {
            for element in elements {
                check_value(element, keyspace)?;
            }
            let known = Known::of(key, *end, keyspace, now)?;
            if *if_present && known.is_none() {
                return Ok(Reply::Int(0));
            }
            Ok(int(push_all(key, *end, elements, known, keyspace)))
        }
        ListCommand::Pop { end, count } => {
            let popped = pop(key, *end, count.unwrap_or(1), keyspace, now)?;
            Ok(match (count, popped) {
                (None, popped) => Reply::bulk_or_null(popped.and_then(|mut values| values.pop())),
                (Some(_), None) => Reply::NullArray,
                (Some(_), Some(values)) => bulks(values),
            })
        }
        ListCommand::MPop { more, end, count } => {
            for key in std::iter::once(key).chain(more) {
                if let Some(values) = pop(key, *end, *count, keyspace, now)? {
                    return Ok(Reply::Array(vec![Reply::Bulk(key.clone()), bulks(values)]));
                }
            }
            Ok(Reply::NullArray)
        }
        ListCommand::Set { index, element } => set(key, index, element, keyspace, now),
        ListCommand::Insert { before, pivot, element } => insert(key, *before, pivot, element, keyspace, now),
        ListCommand::Rem { count, element } => remove(key, *count, element, keyspace, now),
        ListCommand::Trim { start, end } => trim(key, *start, *end, keyspace, now),
        ListCommand::Move { to, from_end, to_end } => move_one(key, to, *from_end, *to_end, keyspace, now),
        _ => read(key, ask, keyspace, now),
    }
}

fn bulks(values: impl IntoIterator<Item = Bytes>) -> Reply {
    Reply::Array(values.into_iter().map(Reply::Bulk).collect())
}

/// The label for an element to be put beyond the outermost one at an end.
fn beyond(outermost: Option<Label>, end: ListEnd) -> Label {
    match (outermost, end) {
        (None, _) => Label::FIRST,
        (Some(first), ListEnd::Left) => first.before(),
        (Some(last), ListEnd::Right) => last.after(),
    }
}

/// The label of the outermost element at an end, if there is any.
fn outermost(collection: &Collection, end: ListEnd) -> Option<Label> {
    let last = collection.len().checked_sub(1)?;
    Some(collection.label(if end == ListEnd::Left { 0 } else { last }))
}

/// What must be known of a list to go on at one of its ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    len: usize,
    outermost: Option<Label>,
}

impl Known {
    /// `None` if the list is not there.
    fn of(key: &[u8], end: ListEnd, view: &dyn View, now: GroupTime) -> Result<Option<Self>, Failure> {
        let Some(outline) = visible_outline(key, ValueType::List, view, now)? else { return Ok(None) };
        let outermost = view.ends(key)?.map(|(first, last)| if end == ListEnd::Left { first } else { last });
        Ok(Some(Self { len: outline.len, outermost }))
    }
}

/// Puts elements in at an end, one after the other, into a list that is begun if it is not there; returns how many it has then.
pub(crate) fn push_all(
    key: &Bytes,
    end: ListEnd,
    elements: &[Bytes],
    known: Option<Known>,
    keyspace: &mut dyn Keyspace,
) -> usize {
    if known.is_none() {
        keyspace.begin(key, ValueType::List, None);
    }
    let (len, mut last) = known.map_or((0, None), |known| (known.len, known.outermost));
    for element in elements {
        let label = beyond(last, end);
        keyspace.put_element(key, &label.to_bytes(), element);
        last = Some(label);
    }
    len + elements.len()
}

/// Takes elements out of a list that has `len`, and the list with the last of them.
fn take_all(key: &Bytes, len: usize, names: &[Arc<[u8]>], keyspace: &mut dyn Keyspace) {
    if !names.is_empty() {
        take_out(key, len, names.iter().map(|name| &**name), keyspace);
    }
}

/// Takes elements out at an end; `None` if the list is not there.
fn pop(
    key: &Bytes,
    end: ListEnd,
    count: u64,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Option<Vec<Bytes>>, Failure> {
    let list = List::of(key, keyspace, now)?;
    if list.is_missing() {
        return Ok(None);
    }
    let popped = list.elements(end, 0, usize::try_from(count).unwrap_or(usize::MAX))?;
    let (names, values): (Vec<_>, _) = popped.into_iter().unzip();
    let len = list.len();
    drop(list);
    take_all(key, len, &names, keyspace);
    Ok(Some(values))
}

fn set(
    key: &Bytes,
    index: &[u8],
    element: &Bytes,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    check_value(element, keyspace)?;
    let list = List::of(key, keyspace, now)?;
    if list.is_missing() {
        return Err(Failure::command("ERR no such key"));
    }
    let number = number(parse_i64(index).ok_or(NOT_AN_INTEGER)?, list.len());
    let number = number.ok_or(Failure::command("ERR index out of range"))?;
    let label = list.collection.label(number);
    drop(list);
    keyspace.put_element(key, &label.to_bytes(), element);
    Ok(Reply::Ok)
}

fn insert(
    key: &Bytes,
    before: bool,
    pivot: &Bytes,
    element: &Bytes,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    check_value(element, keyspace)?;
    let list = List::of(key, keyspace, now)?;
    if list.is_missing() {
        return Ok(Reply::Int(0));
    }
    let mut number = None;
    list.walk(ListEnd::Left, 0, |at, _, value| {
        number = (value == *pivot).then_some(at);
        if number.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let Some(number) = number else { return Ok(Reply::Int(-1)) };
    let room = list.room_before(if before { number } else { number + 1 })?;
    let len = list.len();
    drop(list);
    // An element may get the label another one has to give up: what is not put over is taken out last.
    for (label, value) in &room.moved {
        keyspace.put_element(key, &label.to_bytes(), value);
    }
    for label in &room.left {
        keyspace.delete_element(key, &label.to_bytes());
    }
    keyspace.put_element(key, &room.label.to_bytes(), element);
    Ok(int(len + 1))
}

fn remove(
    key: &Bytes,
    count: i64,
    element: &Bytes,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let list = List::of(key, keyspace, now)?;
    let mut names = Vec::new();
    list.walk(if count < 0 { ListEnd::Right } else { ListEnd::Left }, 0, |_, name, value| {
        if value == *element {
            names.push(Arc::clone(name));
        }
        let is_last = count != 0 && names.len() as u64 == count.unsigned_abs();
        if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let len = list.len();
    drop(list);
    take_all(key, len, &names, keyspace);
    Ok(int(names.len()))
}

fn trim(key: &Bytes, start: i64, end: i64, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let list = List::of(key, keyspace, now)?;
    let kept = numbers(start, end, list.len());
    if !list.is_missing() && kept.is_empty() {
        keyspace.delete(key);
        return Ok(Reply::Ok);
    }
    // What is kept is not walked: of a list that is trimmed after each push that is nearly all.
    let names = [list.names(0..kept.start), list.names(kept.end..list.len())].concat();
    let len = list.len();
    drop(list);
    take_all(key, len, &names, keyspace);
    Ok(Reply::Ok)
}

/// Moves an element into another list, or to the other end of its own.
fn move_one(
    key: &Bytes,
    to: &Bytes,
    from_end: ListEnd,
    to_end: ListEnd,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let list = List::of(key, keyspace, now)?;
    let Some((name, value)) = list.elements(from_end, 0, 1)?.pop() else { return Ok(Reply::Null) };
    let len = list.len();
    if key == to {
        let label = beyond(outermost(&list.collection, to_end), to_end);
        drop(list);
        if from_end != to_end && len > 1 {
            keyspace.delete_element(key, &name);
            keyspace.put_element(key, &label.to_bytes(), &value);
        }
        return Ok(Reply::Bulk(value));
    }
    let known = Known::of(to, to_end, keyspace, now)?;
    drop(list);
    take_all(key, len, &[name], keyspace);
    push_all(to, to_end, std::slice::from_ref(&value), known, keyspace);
    Ok(Reply::Bulk(value))
}

/// The number of the element an index means, if there is one.
fn number(index: i64, len: usize) -> Option<usize> {
    let number = usize::try_from(index.unsigned_abs()).ok()?;
    let number = if index < 0 { len.checked_sub(number)? } else { number };
    Some(number).filter(|number| *number < len)
}

/// Where an element is to be put, and what must be done first so that there is a place.
struct Room {
    label: Label,
    /// Elements that get other labels.
    moved: Vec<(Label, Bytes)>,
    /// Labels that no element has any more.
    left: Vec<Label>,
}

impl<'a> List<'a> {
    fn of(key: &'a Bytes, view: &'a dyn View, now: GroupTime) -> Result<Self, Failure> {
        let known = visible_elements(key, ValueType::List, view, now)?;
        let collection = known.map_or_else(|| Collection::new(ValueType::List, 0), |elements| elements.collection);
        Ok(Self { key, collection, view })
    }
}

impl List<'_> {
    fn len(&self) -> usize {
        self.collection.len()
    }

    fn is_missing(&self) -> bool {
        self.collection.is_empty()
    }

    /// Shows elements from an end on, without the first `skip` there: their numbers, names and values.
    fn walk(
        &self,
        end: ListEnd,
        skip: usize,
        mut show: impl FnMut(usize, &Arc<[u8]>, Bytes) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let (len, mut walked, mut outcome) = (self.len(), skip, Ok(()));
        let step = |element: &Element| {
            let number = if end == ListEnd::Left { walked } else { len - 1 - walked };
            walked += 1;
            match self.view.element_value(self.key, element) {
                Ok(value) => show(number, &element.name, value),
                Err(failure) => {
                    outcome = Err(failure);
                    ControlFlow::Break(())
                }
            }
        };
        match end {
            ListEnd::Left => self.collection.walk(skip, step),
            ListEnd::Right => self.collection.walk_back(len.saturating_sub(skip), step),
        }
        outcome
    }

    /// Elements from an end on, without the first `skip` there.
    fn elements(&self, end: ListEnd, skip: usize, count: usize) -> Result<Vec<Named>, Failure> {
        let count = count.min(self.len().saturating_sub(skip));
        let mut elements = Vec::with_capacity(count);
        if count > 0 {
            self.walk(end, skip, |_, name, value| {
                elements.push((Arc::clone(name), value));
                if elements.len() == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        Ok(elements)
    }

    fn names(&self, numbers: Range<usize>) -> Vec<Arc<[u8]>> {
        let mut names = Vec::with_capacity(numbers.len());
        self.collection.walk(numbers.start, |element| {
            if names.len() == numbers.len() {
                return ControlFlow::Break(());
            }
            names.push(Arc::clone(&element.name));
            ControlFlow::Continue(())
        });
        names
    }

    fn index(&self, index: i64) -> Result<Reply, Failure> {
        let element = number(index, self.len()).and_then(|number| self.collection.get(number));
        let value = element.map(|element| self.view.element_value(self.key, element)).transpose()?;
        Ok(Reply::bulk_or_null(value))
    }

    /// Where an element stands, in the order of the matches.
    fn positions(&self, element: &Bytes, rank: i64, count: u64, len_max: u64) -> Result<Vec<Reply>, Failure> {
        let end = if rank < 0 { ListEnd::Right } else { ListEnd::Left };
        let (mut compared, mut matches, mut found) = (0, 0, Vec::new());
        self.walk(end, 0, |number, _, value| {
            compared += 1;
            if value == *element {
                matches += 1;
                if matches >= rank.unsigned_abs() {
                    found.push(int(number));
                }
            }
            let is_last = found.len() as u64 == count && count > 0 || compared == len_max;
            if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// Finds a place before the element with this number, or at the end.
    fn room_before(&self, number: usize) -> Result<Room, Failure> {
        if let Some(label) = self.collection.label_before(number) {
            return Ok(Room { label, moved: Vec::new(), left: Vec::new() });
        }
        let (from, labels) = self.collection.spread(number);
        let label = match labels.get(number - from - 1..=number - from) {
            Some([before, behind]) => before.between(*behind),
            _ => None,
        };
        let label = label.expect("there is room between labels that were spread");
        let known: Vec<Label> = (from..from + labels.len()).map(|number| self.collection.label(number)).collect();
        let left = known.iter().filter(|label| labels.binary_search(label).is_err()).copied().collect();
        let values = self.elements(ListEnd::Left, from, labels.len())?;
        let moved = labels.into_iter().zip(values).map(|(label, (_, value))| (label, value)).collect();
        Ok(Room { label, moved, left })
    }
}
