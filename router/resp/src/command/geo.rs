//! The commands on places: sorted sets whose scores are cells of a grid over the earth.

use bytes::Bytes;

use super::{AddCondition, Score};
use crate::parser::Args;

mod arguments;
mod words;

pub(crate) use arguments::*;

/// A place on the earth, in degrees. Within the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How far east.
    pub longitude: Score,
    /// How far north.
    pub latitude: Score,
}

impl Place {
    /// How far the grid reaches east and west.
    pub const LONGITUDE_MAX: f64 = 180.0;
    /// How far the grid reaches north and south: there its map is a square.
    pub const LATITUDE_MAX: f64 = 85.051_128_78;
}

/// What distances are told in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// M.
    #[default]
    Meters,
    /// KM.
    Kilometers,
    /// FT.
    Feet,
    /// MI.
    Miles,
}

impl Unit {
    /// How many meters it has.
    #[must_use]
    pub const fn meters(self) -> f64 {
        match self {
            Self::Meters => 1.0,
            Self::Kilometers => 1000.0,
            Self::Feet => 0.3048,
            Self::Miles => 1609.34,
        }
    }
}

/// Around what is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Center {
    /// FROMMEMBER: where a member is.
    Member(Bytes),
    /// FROMLONLAT: a place.
    Place(Place),
}

/// How far is searched. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// BYRADIUS: up to this distance.
    Radius(Score),
    /// BYBOX: up to half of it in each direction.
    Box {
        /// From west to east.
        width: Score,
        /// From south to north.
        height: Score,
    },
}

/// In which order members are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeoOrder {
    /// ASC.
    NearestFirst,
    /// DESC.
    FarthestFirst,
}

/// Which members are searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoSearch {
    /// Around what.
    pub center: Center,
    /// How far.
    pub area: Area,
    /// What its extent is given in, and distances are told in.
    pub unit: Unit,
    /// In which order. None: any.
    pub order: Option<GeoOrder>,
    /// How many at most; at least 1.
    pub count: Option<u64>,
    /// ANY: whether any will do if there are more. Else those that come first. Only with a count.
    pub any: bool,
}

/// What is told of a member besides its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GeoDetails {
    /// WITHDIST: how far away it is.
    pub distance: bool,
    /// WITHHASH: its cell.
    pub hash: bool,
    /// WITHCOORD: where it is.
    pub place: bool,
}

/// What is asked of places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeoCommand {
    /// GEODIST: how far two members are from each other.
    Distance {
        /// The one.
        one: Bytes,
        /// The other.
        other: Bytes,
        /// What it is told in.
        unit: Unit,
    },
    /// GEOHASH: members' cells in the notation of other maps.
    Hash {
        /// The members.
        members: Args,
    },
    /// GEOPOS: where members are.
    Position {
        /// The members.
        members: Args,
    },
    /// GEOSEARCH, GEORADIUS, GEORADIUSBYMEMBER: members of an area.
    Search {
        /// Which.
        search: GeoSearch,
        /// What is told of them.
        details: GeoDetails,
    },
    /// GEOADD: puts members in their places.
    Add {
        /// Places and members; at least one pair.
        places: Vec<(Place, Bytes)>,
        /// Which of them: none by scores.
        condition: AddCondition,
        /// CH: whether changed members are counted as well as new ones.
        counts_changed: bool,
    },
    /// GEOSEARCHSTORE: stores members of an area of another key.
    SearchStore {
        /// The other key.
        from: Bytes,
        /// Which.
        search: GeoSearch,
        /// STOREDIST: whether distances become the scores. Else the members stay in their places.
        as_distances: bool,
    },
    /// GEORADIUS, GEORADIUSBYMEMBER with STORE or STOREDIST: stores members of an area in another key.
    RadiusStore {
        /// The other key.
        to: Bytes,
        /// Which. By radius.
        search: GeoSearch,
        /// STOREDIST: whether distances become the scores. Else the members stay in their places.
        as_distances: bool,
    },
}

impl GeoCommand {
    /// The keys behind the first.
    pub(super) fn more_keys(&self) -> &[Bytes] {
        match self {
            Self::SearchStore { from: key, .. } | Self::RadiusStore { to: key, .. } => std::slice::from_ref(key),
            _ => &[],
        }
    }

    /// Whether it may change data.
    pub(super) fn is_write(&self) -> bool {
        match self {
            Self::Add { .. } | Self::SearchStore { .. } | Self::RadiusStore { .. } => true,
            Self::Distance { .. } | Self::Hash { .. } | Self::Position { .. } | Self::Search { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
