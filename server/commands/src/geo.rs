//! Commands on places.
//!
//! A place is a member of a sorted set. Its score is the number of a cell of a grid over the earth, so that what is near on the earth
//! is mostly near in the set.

use bytes::Bytes;
use simplekv_collections::Collection;
use simplekv_resp::command::{AddCondition, Center, GeoCommand, GeoDetails, GeoSearch, Place, Score, Unit};
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::elements::visible_elements;
use crate::{Keyspace, View, zset};

mod cell;
mod earth;
mod search;

use cell::Cell;
use earth::Point;
use search::Found;

pub(crate) fn read(key: &Bytes, ask: &GeoCommand, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let elements = visible_elements(key, ValueType::Zset, view, now)?;
    let places = elements.as_ref().map(|elements| &elements.collection);
    match ask {
        GeoCommand::Distance { one, other, unit } => {
            let between = |one: Point, other: Point| distance_text(one.distance(other), *unit);
            Ok(match (point_of(places, one), point_of(places, other)) {
                (Some(one), Some(other)) => between(one, other),
                _ => Reply::Null,
            })
        }
        GeoCommand::Hash { members } => {
            let hash =
                |member: &Bytes| point_of(places, member).map_or(Reply::Null, |at| Reply::text(cell::geohash(at)));
            Ok(Reply::Array(members.iter().map(hash).collect()))
        }
        GeoCommand::Position { members } => {
            let position = |member: &Bytes| point_of(places, member).map_or(Reply::NullArray, degrees);
            Ok(Reply::Array(members.iter().map(position).collect()))
        }
        GeoCommand::Search { search, details } => {
            let found = found(places, search)?;
            Ok(Reply::Array(found.into_iter().map(|found| told(found, search.unit, *details)).collect()))
        }
        _ => Err(Failure::command("ERR a write was sent where only reads are answered")),
    }
}

pub(crate) fn write(
    key: &Bytes,
    ask: &GeoCommand,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    match ask {
        GeoCommand::Add { places, condition, counts_changed } => {
            add(key, places, *condition, *counts_changed, keyspace, now)
        }
        GeoCommand::SearchStore { from, search, as_distances } => {
            store(key, from, search, *as_distances, keyspace, now)
        }
        GeoCommand::RadiusStore { to, search, as_distances } => store(to, key, search, *as_distances, keyspace, now),
        _ => read(key, ask, keyspace, now),
    }
}

fn add(
    key: &Bytes,
    places: &[(Place, Bytes)],
    condition: AddCondition,
    counts_changed: bool,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let score = |place: Place| {
        Score::new(Cell::of(place.into(), Cell::STEPS_MAX).score()).expect("what a cell begins with is a number")
    };
    let pairs: Vec<(Score, Bytes)> = places.iter().map(|(place, member)| (score(*place), member.clone())).collect();
    zset::add(key, &pairs, condition, counts_changed, keyspace, now)
}

fn store(
    to: &Bytes,
    from: &Bytes,
    search: &GeoSearch,
    as_distances: bool,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    // The elements are let go of here: whoever keeps a clone makes the original copy what it changes.
    let found = {
        let elements = visible_elements(from, ValueType::Zset, keyspace, now)?;
        found(elements.as_ref().map(|elements| &elements.collection), search)?
    };
    let score = |found: &Found| if as_distances { found.distance / search.unit.meters() } else { found.score };
    let members: Vec<zset::Member> = found.into_iter().map(|found| (found.member.clone(), score(&found))).collect();
    zset::store(to, &members, keyspace, now)
}

fn point_of(places: Option<&Collection>, member: &[u8]) -> Option<Point> {
    places?.find(member).map(|element| cell::point_of(element.score))
}

fn found(places: Option<&Collection>, search: &GeoSearch) -> Result<Vec<Found>, Failure> {
    let Some(places) = places else { return Ok(Vec::new()) };
    let center = match &search.center {
        Center::Place(place) => Some(Point::from(*place)),
        Center::Member(member) => point_of(Some(places), member),
    };
    let center = center.ok_or(Failure::command("ERR could not decode requested zset member"))?;
    Ok(search::found(places, search, center))
}

fn distance_text(meters: f64, unit: Unit) -> Reply {
    Reply::text(format!("{:.4}", meters / unit.meters()))
}

fn degrees(point: Point) -> Reply {
    Reply::Array(vec![Reply::Decimal(point.longitude), Reply::Decimal(point.latitude)])
}

/// The answer that tells a member and what else is to be told of it.
fn told(found: Found, unit: Unit, details: GeoDetails) -> Reply {
    let name = Reply::Bulk(Bytes::copy_from_slice(&found.member));
    if details == GeoDetails::default() {
        return name;
    }
    let mut parts = vec![name];
    parts.extend(details.distance.then(|| distance_text(found.distance, unit)));
    parts.extend(details.hash.then_some(Reply::Int(found.score as i64)));
    parts.extend(details.place.then(|| degrees(found.point)));
    Reply::Array(parts)
}
