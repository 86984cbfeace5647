//! SORT.

use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use simplekv_collections::Collection;
use simplekv_resp::command::{KeyPattern, ListEnd, Sort, SortGet, SortOrder};
use simplekv_resp::number::parse_score;
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::elements::{self, visible_of};
use crate::{Elements, Keyspace, View, check_value, int, list, visible, visible_meta};

const NOT_A_NUMBER: Failure = Failure::command("ERR One or more scores can't be converted into double");

pub(crate) fn read(sort: &Sort, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let told = told(sort, sorted(sort, view, now)?, view, now)?;
    Ok(Reply::Array(told.into_iter().map(Reply::bulk_or_null).collect()))
}

pub(crate) fn write(sort: &Sort, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let Some(to) = &sort.store else { return read(sort, keyspace, now) };
    let told = told(sort, sorted(sort, keyspace, now)?, keyspace, now)?;
    let told: Vec<Bytes> = told.into_iter().map(Option::unwrap_or_default).collect();
    for element in &told {
        check_value(element, keyspace)?;
    }
    let exists = visible_meta(to, keyspace, now)?.is_some();
    match told.as_slice() {
        [] if exists => keyspace.delete(to),
        [] => (),
        told => {
            list::push_all(to, ListEnd::Right, told, None, keyspace);
        }
    }
    Ok(int(told.len()))
}

/// What is told of the elements: of each as much as is asked for.
fn told(sort: &Sort, elements: Vec<Bytes>, view: &dyn View, now: GroupTime) -> Result<Vec<Option<Bytes>>, Failure> {
    if sort.gets.is_empty() {
        return Ok(elements.into_iter().map(Some).collect());
    }
    let mut told = Vec::with_capacity(elements.len().saturating_mul(sort.gets.len()));
    for element in elements {
        for get in &sort.gets {
            told.push(match get {
                SortGet::Element => Some(element.clone()),
                SortGet::Value(pattern) => value_of(pattern, &element, view, now)?,
                SortGet::Nothing => None,
            });
        }
    }
    Ok(told)
}

/// The value an element stands for, if there is one of the right type.
fn value_of(pattern: &KeyPattern, element: &[u8], view: &dyn View, now: GroupTime) -> Result<Option<Bytes>, Failure> {
    let key = pattern.key_of(element);
    let Some(field) = &pattern.field else {
        return Ok(visible(&key, view, now)?.filter(|entry| entry.kind == ValueType::String).map(|entry| entry.value));
    };
    match visible_of(&key, &[ValueType::Hash], view, now) {
        Ok(Some(Elements { collection, .. })) => {
            collection.find(field).map(|element| view.element_value(&key, element)).transpose()
        }
        Ok(None) | Err(Failure::WrongType) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The elements that are meant, in order.
fn sorted(sort: &Sort, view: &dyn View, now: GroupTime) -> Result<Vec<Bytes>, Failure> {
    let kinds = [ValueType::List, ValueType::Set, ValueType::Zset];
    let Some(Elements { collection, .. }) = visible_of(&sort.key, &kinds, view, now)? else { return Ok(Vec::new()) };
    let span = span(sort, collection.len());
    // The members of a set have no order that could be stored.
    let is_forced = sort.store.is_some() && collection.kind() == ValueType::Set;
    let elements = match &sort.order {
        SortOrder::AsTheyAre if !is_forced => return as_they_are(sort, &collection, span, view),
        SortOrder::AsTheyAre => in_order(all(sort, &collection, view)?, sort.descending, Ord::cmp),
        SortOrder::Own if sort.alphabetical => in_order(all(sort, &collection, view)?, sort.descending, Ord::cmp),
        SortOrder::Own => by_numbers(all(sort, &collection, view)?, sort.descending, number)?,
        SortOrder::By(pattern) if sort.alphabetical => {
            let weighed = |element: Bytes| Ok((value_of(pattern, &element, view, now)?, element));
            let weighed = all(sort, &collection, view)?.into_iter().map(weighed).collect::<Result<_, Failure>>()?;
            let weighed = in_order(weighed, sort.descending, |(one, _), (other, _)| one.cmp(other));
            weighed.into_iter().map(|(_, element)| element).collect()
        }
        SortOrder::By(pattern) => by_numbers(all(sort, &collection, view)?, sort.descending, |element| {
            // Who stands for nothing counts nothing.
            value_of(pattern, element, view, now)?.map_or(Ok(0.0), |value| number(&value))
        })?,
    };
    Ok(elements.get(span).unwrap_or_default().to_vec())
}

/// The numbers of the elements that are meant.
fn span(sort: &Sort, len: usize) -> Range<usize> {
    let start = usize::try_from(sort.offset).unwrap_or(0).min(len);
    let count = usize::try_from(sort.count).unwrap_or(len);
    start..start.saturating_add(count).min(len)
}

fn all(sort: &Sort, collection: &Collection, view: &dyn View) -> Result<Vec<Bytes>, Failure> {
    let mut all = Vec::with_capacity(collection.len());
    elements::walk(collection, 0, |element| {
        all.push(match collection.kind() {
            ValueType::List => view.element_value(&sort.key, element)?,
            _ => Bytes::copy_from_slice(&element.name),
        });
        Ok(())
    })?;
    Ok(all)
}

/// Only those that are meant are read.
fn as_they_are(
    sort: &Sort,
    collection: &Collection,
    span: Range<usize>,
    view: &dyn View,
) -> Result<Vec<Bytes>, Failure> {
    let len = collection.len();
    let forward = if sort.descending { len - span.end..len - span.start } else { span };
    let mut found = Vec::with_capacity(forward.len());
    if collection.kind() == ValueType::Zset {
        collection.walk_scores(forward.start, |scored| {
            if found.len() == forward.len() {
                return ControlFlow::Break(());
            }
            found.push(Bytes::copy_from_slice(&scored.member));
            ControlFlow::Continue(())
        });
    } else {
        for element in forward.filter_map(|number| collection.get(number)) {
            found.push(match collection.kind() {
                ValueType::List => view.element_value(&sort.key, element)?,
                _ => Bytes::copy_from_slice(&element.name),
            });
        }
    }
    if sort.descending {
        found.reverse();
    }
    Ok(found)
}

/// What is equal stays as it is, whichever way the others go.
fn in_order<T>(mut all: Vec<T>, descending: bool, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    all.sort_by(|one, other| if descending { compare(other, one) } else { compare(one, other) });
    all
}

fn by_numbers(
    elements: Vec<Bytes>,
    descending: bool,
    weight: impl Fn(&[u8]) -> Result<f64, Failure>,
) -> Result<Vec<Bytes>, Failure> {
    let weighed = elements.into_iter().map(|element| Ok((weight(&element)?, element)));
    let weighed = weighed.collect::<Result<Vec<(f64, Bytes)>, Failure>>()?;
    let weighed = in_order(weighed, descending, |(one, element), (other, another)| {
        one.partial_cmp(other).unwrap_or(Ordering::Equal).then_with(|| element.cmp(another))
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

/// A number as C reads it at the beginning of a string that ends with a zero byte: nothing is zero, spaces may stand before it, and
/// what is too small to be told exactly is none.
fn number(text: &[u8]) -> Result<f64, Failure> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(0);
    let number = parse_score(text.get(start..).unwrap_or_default());
    number.filter(|number| !number.is_subnormal()).ok_or(NOT_A_NUMBER)
}
