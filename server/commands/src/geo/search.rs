//! Members of an area.

use std::ops::ControlFlow;
use std::sync::Arc;

use simplekv_collections::Collection;
use simplekv_resp::command::{GeoOrder, GeoSearch};

use super::cell::{self, Bounds, Cell};
use super::earth::{Point, Surroundings, steps_for};

/// A member that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) member: Arc<[u8]>,
    pub(super) score: f64,
    pub(super) point: Point,
    /// From the center, in meters.
    pub(super) distance: f64,
}

/// The members that a search means, in its order.
pub(super) fn found(places: &Collection, search: &GeoSearch, center: Point) -> Vec<Found> {
    let around = Surroundings::new(search, center);
    let count = search.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let mut found = Vec::new();
    let mut last = None;
    for cell in cells(around, center) {
        // Where few cells make the whole map, both neighbors are the same one.
        if last == Some(cell) {
            continue;
        }
        collect(places, cell, around, if search.any { count } else { usize::MAX }, &mut found);
        last = Some(cell);
    }
    let order = search.order.or((search.count.is_some() && !search.any).then_some(GeoOrder::NearestFirst));
    match order {
        None => (),
        Some(GeoOrder::NearestFirst) => found.sort_by(|one, other| one.distance.total_cmp(&other.distance)),
        Some(GeoOrder::FarthestFirst) => found.sort_by(|one, other| other.distance.total_cmp(&one.distance)),
    }
    found.truncate(count);
    found
}

/// Finds the members of the area in one cell, until there are enough.
fn collect(places: &Collection, cell: Cell, around: Surroundings, enough: usize, found: &mut Vec<Found>) {
    let scores = cell.scores();
    if found.len() >= enough {
        return;
    }
    places.walk_scores(places.count_below(scores.start, false), |scored| {
        if scored.score >= scores.end {
            return ControlFlow::Break(());
        }
        let (member, score, point) = (&scored.member, scored.score, cell::point_of(scored.score));
        found.extend(around.distance(point).map(|distance| Found {
            member: Arc::clone(member),
            score,
            point,
            distance,
        }));
        if found.len() < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
}

/// The cells that cover an area: the one in the middle, and those next to it that it may reach into. In the order in which members
/// are told that are in none.
fn cells(around: Surroundings, center: Point) -> impl Iterator<Item = Cell> {
    let area = around.bounds();
    let mut steps = steps_for(around.reach(), center.latitude, Cell::STEPS_MAX);
    if steps > 1 && !is_covered(Cell::of(center, steps), area) {
        steps -= 1;
    }
    let middle = Cell::of(center, steps);
    let bounds = middle.bounds();
    // Of the largest cells none is left out.
    let is_needed = move |(east, north): &(i32, i32)| {
        let is_beyond = bounds.south < area.south && *north < 0
            || bounds.north > area.north && *north > 0
            || bounds.west < area.west && *east < 0
            || bounds.east > area.east && *east > 0;
        steps < 2 || !is_beyond
    };
    let around = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
    around.into_iter().filter(is_needed).map(move |(east, north)| middle.neighbor(east, north))
}

/// Whether the cells next to one in each direction reach as far as the area.
fn is_covered(middle: Cell, area: Bounds) -> bool {
    let bounds = |east, north| middle.neighbor(east, north).bounds();
    let too_short = bounds(0, 1).north < area.north
        || bounds(0, -1).south > area.south
        || bounds(1, 0).east < area.east
        || bounds(-1, 0).west > area.west;
    !too_short
}
