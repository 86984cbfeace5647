//! The grid: how places become numbers.
//!
//! The map is halved time and again, in both directions. Each halving adds one bit to both coordinates, and the bits of the two take
//! turns in the number of a cell: those of the longitude come first.

use std::ops::Range;

use simplekv_resp::command::Place;

use super::earth::Point;

/// One of the squares that a number of halvings has left of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// How many stand west of it. As many as there are if the place is on the eastern edge: it belongs to no cell.
    column: u32,
    /// How many lie south of it. The same on the northern edge.
    row: u32,
    /// How often the map was halved in each direction.
    steps: u32,
}

/// What a cell covers, in degrees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) west: f64,
    pub(super) east: f64,
    pub(super) south: f64,
    pub(super) north: f64,
}

/// Which part of its range a coordinate lies behind, of 2^`steps`.
fn part(coordinate: f64, max: f64, steps: u32) -> u32 {
    let share = (coordinate + max) / (max + max);
    (share * (1_u64 << steps) as f64) as u32
}

/// Where a part of a range begins.
fn begin(part: u32, max: f64, steps: u32) -> f64 {
    -max + f64::from(part) / (1_u64 << steps) as f64 * (max + max)
}

/// The bits of a number with room between them.
fn spread(number: u32) -> u64 {
    let halves = [(16, 0x0000_ffff_0000_ffff), (8, 0x00ff_00ff_00ff_00ff), (4, 0x0f0f_0f0f_0f0f_0f0f)];
    let rest = [(2, 0x3333_3333_3333_3333), (1, 0x5555_5555_5555_5555)];
    halves.into_iter().chain(rest).fold(u64::from(number), |bits, (shift, mask)| (bits | bits << shift) & mask)
}

/// Every other bit of a number, from the lowest on.
fn gathered(bits: u64) -> u32 {
    let rest = [(1, 0x3333_3333_3333_3333), (2, 0x0f0f_0f0f_0f0f_0f0f), (4, 0x00ff_00ff_00ff_00ff)];
    let halves = [(8, 0x0000_ffff_0000_ffff), (16, 0x0000_0000_ffff_ffff)];
    let start = bits & 0x5555_5555_5555_5555;
    rest.into_iter().chain(halves).fold(start, |bits, (shift, mask)| (bits | bits >> shift) & mask) as u32
}

impl Cell {
    /// As many bits as a score tells exactly.
    pub(super) const STEPS_MAX: u32 = 26;

    pub(super) fn of(point: Point, steps: u32) -> Self {
        let column = part(point.longitude, Place::LONGITUDE_MAX, steps);
        Self { column, row: part(point.latitude, Place::LATITUDE_MAX, steps), steps }
    }

    fn number(self) -> u64 {
        spread(self.row) | spread(self.column) << 1
    }

    /// The score of a place in the cell, of the smallest ones there are.
    pub(super) fn score(self) -> f64 {
        self.scores().start
    }

    /// The scores of all places in the cell.
    pub(super) fn scores(self) -> Range<f64> {
        let number = self.number();
        let shift = 2 * (Self::STEPS_MAX - self.steps);
        (number << shift) as f64..((number + 1) << shift) as f64
    }

    pub(super) fn bounds(self) -> Bounds {
        let Self { column, row, steps } = self;
        Bounds {
            west: begin(column, Place::LONGITUDE_MAX, steps),
            east: begin(column.wrapping_add(1), Place::LONGITUDE_MAX, steps),
            south: begin(row, Place::LATITUDE_MAX, steps),
            north: begin(row.wrapping_add(1), Place::LATITUDE_MAX, steps),
        }
    }

    /// The cell next to it, so far east and so far north. Behind each edge the map begins anew.
    pub(super) fn neighbor(self, east: i32, north: i32) -> Self {
        let mask = (1 << self.steps) - 1;
        let moved = |part: u32, by: i32| if by == 0 { part } else { part.wrapping_add_signed(by) & mask };
        Self { column: moved(self.column, east), row: moved(self.row, north), steps: self.steps }
    }
}

/// The number a score tells, whatever it was meant for: what does not fit is taken as the processor of a Redis takes it.
fn number_of(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    // What is no 64-bit integer becomes the least one there is.
    let signed = |score: f64| if score < HALF { score as i64 } else { i64::MIN };
    if score < HALF { signed(score) as u64 } else { signed(score - HALF) as u64 ^ 1 << 63 }
}

/// The place a score means: the middle of its cell.
pub(super) fn point_of(score: f64) -> Point {
    let number = number_of(score);
    let cell = Cell { column: gathered(number >> 1), row: gathered(number), steps: Cell::STEPS_MAX };
    let Bounds { west, east, south, north } = cell.bounds();
    Point {
        longitude: ((west + east) / 2.0).clamp(-Place::LONGITUDE_MAX, Place::LONGITUDE_MAX),
        latitude: ((south + north) / 2.0).clamp(-Place::LATITUDE_MAX, Place::LATITUDE_MAX),
    }
}

/// A place in the notation that other maps share, whose grid reaches up to the poles. Five bits to a letter; the last is always 0.
pub(super) fn geohash(point: Point) -> String {
    const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    const POLE: f64 = 90.0;
    let steps = Cell::STEPS_MAX;
    let column = part(point.longitude, Place::LONGITUDE_MAX, steps);
    let number = Cell { column, row: part(point.latitude, POLE, steps), steps }.number();
    let letter =
        |at: u32| LETTERS.get((number >> (52 - 5 * at) & 31) as usize).map_or('0', |letter| char::from(*letter));
    (1..=10).map(letter).chain(['0']).collect()
}
