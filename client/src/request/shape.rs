//! How replies are read. Each function knows one shape of answers and returns `None` for any other.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use simplekv_types::Reply;

use crate::{Expiry, Key, Version};

/// How a command's answer is read.
pub(crate) type Shape<T> = fn(&Reply) -> Option<T>;

pub(crate) fn as_it_is(reply: &Reply) -> Option<Reply> {
    Some(reply.clone())
}

pub(crate) fn done(reply: &Reply) -> Option<()> {
    (*reply == Reply::Ok).then_some(())
}

/// Whether it was done, or a condition did not hold.
pub(crate) fn done_or_not(reply: &Reply) -> Option<bool> {
    match reply {
        Reply::Ok => Some(true),
        Reply::Null => Some(false),
        _ => None,
    }
}

pub(crate) fn truth(reply: &Reply) -> Option<bool> {
    match reply {
        Reply::Int(number) => Some(*number != 0),
        Reply::Bool(truth) => Some(*truth),
        _ => None,
    }
}

pub(crate) fn truths(reply: &Reply) -> Option<Vec<bool>> {
    each(reply, truth)
}

pub(crate) fn number(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Int(number) => Some(*number),
        _ => None,
    }
}

pub(crate) fn count(reply: &Reply) -> Option<u64> {
    u64::try_from(number(reply)?).ok()
}

pub(crate) fn counts(reply: &Reply) -> Option<Vec<u64>> {
    each(reply, count)
}

/// A place, if there is one.
pub(crate) fn place(reply: &Reply) -> Option<Option<u64>> {
    match reply {
        Reply::Null => Some(None),
        reply => count(reply).map(Some),
    }
}

/// A length, if something was put in: nothing was if there is no list, or not what it was to stand beside.
pub(crate) fn length_if_done(reply: &Reply) -> Option<Option<u64>> {
    match reply {
        Reply::Int(0 | -1) => Some(None),
        reply => count(reply).map(Some),
    }
}

fn bytes(reply: &Reply) -> Option<Bytes> {
    match reply {
        Reply::Bulk(value) => Some(value.clone()),
        _ => None,
    }
}

pub(crate) fn value(reply: &Reply) -> Option<Option<Bytes>> {
    match reply {
        Reply::Null | Reply::NullArray => Some(None),
        reply => bytes(reply).map(Some),
    }
}

pub(crate) fn values(reply: &Reply) -> Option<Vec<Bytes>> {
    each(reply, bytes)
}

/// Values of which some may be missing.
pub(crate) fn values_in_places(reply: &Reply) -> Option<Vec<Option<Bytes>>> {
    each(reply, value)
}

pub(crate) fn fields(reply: &Reply) -> Option<Vec<(Bytes, Bytes)>> {
    pairs(reply, bytes, bytes)
}

pub(crate) fn map(reply: &Reply) -> Option<HashMap<Bytes, Bytes>> {
    Some(fields(reply)?.into_iter().collect())
}

/// A number with a fraction, which may come as its text.
pub(crate) fn float(reply: &Reply) -> Option<f64> {
    match reply {
        Reply::Double(number) | Reply::Decimal(number) => Some(*number),
        Reply::Bulk(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

pub(crate) fn score(reply: &Reply) -> Option<Option<f64>> {
    match reply {
        Reply::Null => Some(None),
        reply => float(reply).map(Some),
    }
}

pub(crate) fn scores(reply: &Reply) -> Option<Vec<Option<f64>>> {
    each(reply, score)
}

/// Members with their scores.
pub(crate) fn scored(reply: &Reply) -> Option<Vec<(Bytes, f64)>> {
    pairs(reply, bytes, float)
}

pub(crate) fn first_scored(reply: &Reply) -> Option<Option<(Bytes, f64)>> {
    Some(scored(reply)?.into_iter().next())
}

pub(crate) fn rank_and_score(reply: &Reply) -> Option<Option<(u64, f64)>> {
    match reply {
        Reply::NullArray => Some(None),
        Reply::Array(parts) => {
            let [rank, score] = &parts[..] else { return None };
            Some(Some((count(rank)?, float(score)?)))
        }
        _ => None,
    }
}

/// What was taken out of the first of several keys that had anything, and that key.
pub(crate) type Popped<T> = (Key, Vec<T>);

/// Elements of lists.
pub(crate) fn popped(reply: &Reply) -> Option<Option<Popped<Bytes>>> {
    from_one_of(reply, values)
}

/// Members of sorted sets with their scores.
pub(crate) fn popped_scored(reply: &Reply) -> Option<Option<Popped<(Bytes, f64)>>> {
    from_one_of(reply, nested)
}

/// The one member that was taken out.
pub(crate) fn one_popped_scored(reply: &Reply) -> Option<Option<(Bytes, f64)>> {
    Some(popped_scored(reply)?.and_then(|(_, members)| members.into_iter().next()))
}

fn from_one_of<T>(reply: &Reply, read: Shape<T>) -> Option<Option<(Key, T)>> {
    match reply {
        Reply::Null | Reply::NullArray => Some(None),
        Reply::Array(parts) => {
            let [key, elements] = &parts[..] else { return None };
            Some(Some((bytes(key)?.into(), read(elements)?)))
        }
        _ => None,
    }
}

/// Members with their scores, each pair an array of its own.
fn nested(reply: &Reply) -> Option<Vec<(Bytes, f64)>> {
    each(reply, |pair| match pair {
        Reply::Array(parts) => {
            let [member, score] = &parts[..] else { return None };
            Some((bytes(member)?, float(score)?))
        }
        _ => None,
    })
}

/// One step of a walk over elements: where the next one begins, and what this one found.
pub(crate) fn page(reply: &Reply) -> Option<(u64, &Reply)> {
    let Reply::Array(parts) = reply else { return None };
    let [Reply::Bulk(cursor), found] = &parts[..] else { return None };
    Some((std::str::from_utf8(cursor).ok()?.parse().ok()?, found))
}

pub(crate) fn expiry(reply: &Reply) -> Option<Expiry> {
    match reply {
        Reply::Int(-2) => Some(Expiry::Missing),
        Reply::Int(-1) => Some(Expiry::Never),
        reply => count(reply).map(|millis| Expiry::In(Duration::from_millis(millis))),
    }
}

pub(crate) fn version(reply: &Reply) -> Option<Option<Version>> {
    match reply {
        Reply::Null => Some(None),
        Reply::Bulk(text) => Version::parse(text).map(Some),
        _ => None,
    }
}

/// A list that is not there reads as an empty one.
fn each<T>(reply: &Reply, read: impl Fn(&Reply) -> Option<T>) -> Option<Vec<T>> {
    match reply {
        Reply::Array(parts) | Reply::Set(parts) => parts.iter().map(read).collect(),
        Reply::NullArray | Reply::Null => Some(Vec::new()),
        _ => None,
    }
}

/// Pairs, as such or one part after the other.
fn pairs<A, B>(reply: &Reply, first: Shape<A>, second: Shape<B>) -> Option<Vec<(A, B)>> {
    match reply {
        Reply::Map(pairs) | Reply::Pairs(pairs) => pairs.iter().map(|(a, b)| Some((first(a)?, second(b)?))).collect(),
        Reply::Array(parts) => {
            let pair = |pair: &[Reply]| {
                let [a, b] = pair else { return None };
                Some((first(a)?, second(b)?))
            };
            parts.chunks(2).map(pair).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &'static str) -> Reply {
        Reply::fixed(text)
    }

    #[test]
    fn pairs_are_read_however_they_are_told() {
        let expected = Some(vec![("a".into(), 1.5), ("b".into(), f64::INFINITY)]);
        let pairs = vec![(bulk("a"), Reply::Double(1.5)), (bulk("b"), bulk("inf"))];
        let flat = pairs.iter().cloned().flat_map(|(member, score)| [member, score]).collect();
        assert_eq!(scored(&Reply::Array(flat)), expected);
        let arrays = pairs.iter().cloned().map(|(member, score)| Reply::Array(vec![member, score])).collect();
        assert_eq!(nested(&Reply::Array(arrays)), expected);
        assert_eq!(scored(&Reply::Map(pairs.clone())), expected);
        assert_eq!(scored(&Reply::Pairs(pairs)), expected);
    }

    #[test]
    fn another_shape_is_no_answer() {
        let odd = Reply::Array(vec![bulk("a"), Reply::Double(1.0), bulk("b")]);
        assert_eq!(scored(&odd), None);
        assert_eq!(values(&Reply::Array(vec![bulk("a"), Reply::Null])), None);
        assert_eq!(count(&Reply::Int(-1)), None);
        assert_eq!(value(&Reply::Ok), None);
        assert_eq!(version(&bulk("1")), None);
        assert_eq!(rank_and_score(&Reply::Array(vec![Reply::Int(1)])), None);
        assert_eq!(popped(&Reply::Array(vec![bulk("key")])), None);
        assert_eq!(page(&Reply::Array(vec![bulk("x"), Reply::Array(Vec::new())])), None);
    }

    #[test]
    fn nothing_is_told_from_an_answer_that_does_not_fit() {
        assert_eq!(value(&Reply::NullArray), Some(None));
        assert_eq!(values(&Reply::NullArray), Some(Vec::new()));
        assert_eq!(popped(&Reply::NullArray), Some(None));
        assert_eq!(length_if_done(&Reply::Int(-1)), Some(None));
        assert_eq!(length_if_done(&Reply::Int(3)), Some(Some(3)));
        assert_eq!(rank_and_score(&Reply::NullArray), Some(None));
        assert_eq!(first_scored(&Reply::Array(Vec::new())), Some(None));
    }
}
