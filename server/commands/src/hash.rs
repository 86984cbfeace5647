//! Commands on hashes.

use bytes::Bytes;
use simplekv_collections::Element;
use simplekv_resp::command::HashCommand;
use simplekv_resp::number::parse_i64;
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::elements::{self, begin, delete_all, element_of, name_of, visible_elements, visible_outline};
use crate::extended::{Extended, FloatError};
use crate::{Elements, Keyspace, Outline, View, check_value, int};

/// What is asked about some fields of a hash.
struct One<'a> {
    key: &'a Bytes,
    known: Option<Outline>,
    view: &'a dyn View,
}

impl<'a> One<'a> {
    fn of(key: &'a Bytes, view: &'a dyn View, now: GroupTime) -> Result<Self, Failure> {
        Ok(Self { key, known: visible_outline(key, ValueType::Hash, view, now)?, view })
    }

    fn find(&self, field: &[u8]) -> Result<Option<Element>, Failure> {
        element_of(self.key, self.known, field, self.view)
    }

    fn get(&self, field: &[u8]) -> Result<Option<Bytes>, Failure> {
        self.find(field)?.map(|element| self.view.element_value(self.key, &element)).transpose()
    }
}

/// What is asked about all of a hash, and what it is asked of.
struct Hash<'a> {
    key: &'a Bytes,
    elements: Option<Elements>,
    view: &'a dyn View,
}

pub(crate) fn read(key: &Bytes, ask: &HashCommand, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    match ask {
        HashCommand::Get { field } => Ok(Reply::bulk_or_null(One::of(key, view, now)?.get(field)?)),
        HashCommand::MGet { fields } => {
            let hash = One::of(key, view, now)?;
            let value = |field: &Bytes| Ok(Reply::bulk_or_null(hash.get(field)?));
            Ok(Reply::Array(fields.iter().map(value).collect::<Result<_, Failure>>()?))
        }
        HashCommand::Len => Ok(int(One::of(key, view, now)?.known.map_or(0, |known| known.len))),
        HashCommand::Exists { field } => Ok(int(usize::from(One::of(key, view, now)?.find(field)?.is_some()))),
        HashCommand::StrLen { field } => Ok(int(One::of(key, view, now)?.get(field)?.map_or(0, |value| value.len()))),
        _ => read_all(key, ask, view, now),
    }
}

fn read_all(key: &Bytes, ask: &HashCommand, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let elements = visible_elements(key, ValueType::Hash, view, now)?;
    let hash = Hash { key, elements, view };
    match ask {
        HashCommand::GetAll => {
            let mut pairs = Vec::with_capacity(hash.len());
            hash.each(|name, value| pairs.push((name, Reply::Bulk(value))))?;
            Ok(Reply::Map(pairs))
        }
        HashCommand::Keys => {
            let mut names = Vec::with_capacity(hash.len());
            hash.walk(|element| {
                names.push(name_of(element));
                Ok(())
            })?;
            Ok(Reply::Array(names))
        }
        HashCommand::Vals => {
            let mut values = Vec::with_capacity(hash.len());
            hash.each(|_, value| values.push(Reply::Bulk(value)))?;
            Ok(Reply::Array(values))
        }
        HashCommand::RandField { count: None, .. } => hash.random_field(),
        HashCommand::RandField { count: Some(count), with_values } => hash.random_fields(*count, *with_values),
        HashCommand::Scan(scan) => elements::scan(hash.elements.clone(), scan, |element, found| {
            found.push(name_of(element));
            found.push(Reply::Bulk(view.element_value(key, element)?));
            Ok(())
        }),
        _ => Err(Failure::command("ERR a write was sent where only reads are answered")),
    }
}

pub(crate) fn write(
    key: &Bytes,
    ask: &HashCommand,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    match ask {
        HashCommand::Set { pairs, counts } => {
            for (field, value) in pairs {
                check_value(field, keyspace)?;
                check_value(value, keyspace)?;
            }
            let known = visible_outline(key, ValueType::Hash, keyspace, now)?;
            begin(key, ValueType::Hash, known, keyspace);
            let added = pairs.iter().filter(|(field, value)| keyspace.put_element(key, field, value)).count();
            Ok(if *counts { int(added) } else { Reply::Ok })
        }
        HashCommand::SetNx { field, value } => {
            check_value(field, keyspace)?;
            check_value(value, keyspace)?;
            let known = visible_outline(key, ValueType::Hash, keyspace, now)?;
            if element_of(key, known, field, keyspace)?.is_some() {
                return Ok(Reply::Int(0));
            }
            begin(key, ValueType::Hash, known, keyspace);
            keyspace.put_element(key, field, value);
            Ok(Reply::Int(1))
        }
        HashCommand::Del { fields } => Ok(int(delete_all(key, fields, ValueType::Hash, keyspace, now)?)),
        HashCommand::IncrBy { field, delta } => incr_by(key, field, *delta, keyspace, now),
        HashCommand::IncrByFloat { field, increment } => incr_by_float(key, field, increment, keyspace, now),
        _ => read(key, ask, keyspace, now),
    }
}

fn incr_by(
    key: &Bytes,
    field: &Bytes,
    delta: i64,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    check_value(field, keyspace)?;
    let hash = One::of(key, keyspace, now)?;
    let known = hash.known;
    let number = match hash.get(field)? {
        None => 0,
        Some(value) => parse_i64(&value).ok_or(Failure::command("ERR hash value is not an integer"))?,
    };
    let sum = number.checked_add(delta).ok_or(Failure::command("ERR increment or decrement would overflow"))?;
    begin(key, ValueType::Hash, known, keyspace);
    keyspace.put_element(key, field, sum.to_string().as_bytes());
    Ok(Reply::Int(sum))
}

fn incr_by_float(
    key: &Bytes,
    field: &Bytes,
    increment: &Bytes,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    check_value(field, keyspace)?;
    // Redis looks at the increment first, whatever the key holds.
    Extended::sum(b"0", increment).map_err(|error| match error {
        FloatError::NotANumber => Failure::command("ERR value is not a valid float"),
        FloatError::Infinite => Failure::command("ERR value is NaN or Infinity"),
    })?;
    let hash = One::of(key, keyspace, now)?;
    let known = hash.known;
    let number = hash.get(field)?;
    let sum = Extended::sum(number.as_deref().unwrap_or(b"0"), increment).map_err(|error| match error {
        FloatError::NotANumber => Failure::command("ERR hash value is not a float"),
        FloatError::Infinite => Failure::command("ERR increment would produce NaN or Infinity"),
    })?;
    let text = Bytes::from(sum.to_string());
    begin(key, ValueType::Hash, known, keyspace);
    keyspace.put_element(key, field, &text);
    Ok(Reply::Bulk(text))
}

impl Hash<'_> {
    fn len(&self) -> usize {
        self.elements.as_ref().map_or(0, |elements| elements.collection.len())
    }

    fn walk(&self, show: impl FnMut(&Element) -> Result<(), Failure>) -> Result<(), Failure> {
        self.elements.as_ref().map_or(Ok(()), |elements| elements::walk(&elements.collection, 0, show))
    }

    fn each(&self, mut show: impl FnMut(Reply, Bytes)) -> Result<(), Failure> {
        self.walk(|element| {
            show(name_of(element), self.view.element_value(self.key, element)?);
            Ok(())
        })
    }

    fn random_field(&self) -> Result<Reply, Failure> {
        let Some(elements) = &self.elements else { return Ok(Reply::Null) };
        let drawn = elements::draw(elements.collection.len(), -1, self.view)?;
        let element = drawn.first().and_then(|&number| elements.collection.get(number));
        Ok(element.map_or(Reply::Null, name_of))
    }

    fn random_fields(&self, count: i64, with_values: bool) -> Result<Reply, Failure> {
        let Some(elements) = &self.elements else { return Ok(Reply::Array(Vec::new())) };
        let drawn = elements::draw(elements.collection.len(), count, self.view)?;
        let drawn = drawn.into_iter().filter_map(|number| elements.collection.get(number));
        if !with_values {
            return Ok(Reply::Array(drawn.map(name_of).collect()));
        }
        let pair = |element: &Element| {
            let value = self.view.element_value(self.key, element)?;
            Ok((name_of(element), Reply::Bulk(value)))
        };
        Ok(Reply::Pairs(drawn.map(pair).collect::<Result<_, Failure>>()?))
    }
}
