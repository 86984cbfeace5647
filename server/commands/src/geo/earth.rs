//! The earth as a sphere: how far places are from each other, and what is around one.

use simplekv_resp::command::{Area, GeoSearch, Place};

use super::cell::Bounds;

/// Of the sphere that distances are told on.
const RADIUS_METERS: f64 = 6_372_797.560_856;
/// Half of the way around the map at the equator.
const MAP_HALF_METERS: f64 = 20_037_726.37;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

impl From<Place> for Point {
    fn from(place: Place) -> Self {
        Self { longitude: place.longitude.get(), latitude: place.latitude.get() }
    }
}

const DEGREE: f64 = std::f64::consts::PI / 180.0;

fn radians(degrees: f64) -> f64 {
    degrees * DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / DEGREE
}

impl Point {
    /// The distance over the sphere in meters, by the haversine formula. In this order of operations: floats are told in full.
    pub(super) fn distance(self, other: Self) -> f64 {
        let half = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if half == 0.0 {
            return self.distance_north(other);
        }
        let (one, another) = (radians(self.latitude), radians(other.latitude));
        let rise = ((another - one) / 2.0).sin();
        2.0 * RADIUS_METERS * (rise * rise + one.cos() * another.cos() * half * half).sqrt().asin()
    }

    /// How far north or south the other is.
    fn distance_north(self, other: Self) -> f64 {
        RADIUS_METERS * (radians(other.latitude) - radians(self.latitude)).abs()
    }
}

/// An area around a place, in meters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    center: Point,
    /// How far they reach north and south, and east and west.
    half_height: f64,
    half_width: f64,
    is_circle: bool,
}

impl Surroundings {
    pub(super) fn new(search: &GeoSearch, center: Point) -> Self {
        let meters = search.unit.meters();
        match search.area {
            Area::Radius(radius) => {
                let radius = radius.get() * meters;
                Self { center, half_height: radius, half_width: radius, is_circle: true }
            }
            Area::Box { width, height } => {
                let (half_width, half_height) = (meters * (width.get() / 2.0), meters * (height.get() / 2.0));
                Self { center, half_height, half_width, is_circle: false }
            }
        }
    }

    /// How far it is from the center to what is farthest in it.
    pub(super) fn reach(self) -> f64 {
        if self.is_circle {
            return self.half_width;
        }
        (self.half_width * self.half_width + self.half_height * self.half_height).sqrt()
    }

    /// What lies between its edges. Meridians meet at the poles, so the edge that is nearer to one is the wider one in degrees.
    pub(super) fn bounds(self) -> Bounds {
        let Point { longitude, latitude } = self.center;
        let north = degrees(self.half_height / RADIUS_METERS);
        let edge = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = degrees(self.half_width / RADIUS_METERS / radians(edge).cos());
        Bounds { west: longitude - east, east: longitude + east, south: latitude - north, north: latitude + north }
    }

    /// How far away a place is, if it is in the area.
    pub(super) fn distance(self, point: Point) -> Option<f64> {
        if self.is_circle {
            return Some(self.center.distance(point)).filter(|distance| *distance <= self.half_width);
        }
        let beside = Point { longitude: self.center.longitude, latitude: point.latitude };
        let is_in = point.distance_north(self.center) <= self.half_height && point.distance(beside) <= self.half_width;
        is_in.then(|| self.center.distance(point))
    }
}

/// How often the map may be halved so that a cell and its neighbors mostly cover what is so near.
pub(super) fn steps_for(reach: f64, latitude: f64, most: u32) -> u32 {
    if reach == 0.0 {
        return most;
    }
    let (mut halvings, mut doubled) = (1, reach);
    while doubled < MAP_HALF_METERS {
        doubled *= 2.0;
        halvings += 1;
    }
    // Near the poles a cell is narrower than the map makes it.
    let narrower = i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    let steps = u32::try_from(halvings - 2 - narrower).unwrap_or(0);
    steps.clamp(1, most)
}
