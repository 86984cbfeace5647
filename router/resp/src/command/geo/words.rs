//! From what is asked of places back to words.

use bytes::Bytes;

use super::{Area, Center, GeoCommand, GeoDetails, GeoOrder, GeoSearch, Place, Unit};
use crate::command::Score;
use crate::command::to_args::{number, text};
use crate::number::format_double;
use crate::parser::Args;

fn float(number: Score) -> Bytes {
    Bytes::from(format_double(number.get()))
}

impl GeoCommand {
    pub(in crate::command) fn to_args(&self, key: &Bytes) -> Args {
        let of = |name: &'static str, words: &[Bytes]| -> Args {
            [&text(name), key].into_iter().chain(words).cloned().collect()
        };
        match self {
            Self::Distance { one, other, unit } => of("GEODIST", &[one.clone(), other.clone(), unit.word()]),
            Self::Hash { members } => of("GEOHASH", members),
            Self::Position { members } => of("GEOPOS", members),
            Self::Search { search, details } => {
                let mut args = of("GEOSEARCH", &search.words());
                args.extend(details.words());
                args
            }
            Self::Add { places, condition, counts_changed } => {
                let options = [(condition.absent, "NX"), (condition.present, "XX"), (*counts_changed, "CH")];
                let mut args = of("GEOADD", &[]);
                args.extend(options.into_iter().filter(|(set, _)| *set).map(|(_, name)| text(name)));
                for (place, member) in places {
                    args.extend(place.words());
                    args.push(member.clone());
                }
                args
            }
            Self::SearchStore { from, search, as_distances } => {
                let mut args = of("GEOSEARCHSTORE", std::slice::from_ref(from));
                args.extend(search.words());
                args.extend(as_distances.then(|| text("STOREDIST")));
                args
            }
            Self::RadiusStore { to, search, as_distances } => {
                let mut args = match &search.center {
                    Center::Member(member) => of("GEORADIUSBYMEMBER", std::slice::from_ref(member)),
                    Center::Place(place) => of("GEORADIUS", &place.words()),
                };
                args.extend(search.area.words().into_iter().skip(1));
                args.push(search.unit.word());
                args.extend(search.selection());
                args.extend([text(if *as_distances { "STOREDIST" } else { "STORE" }), to.clone()]);
                args
            }
        }
    }
}

impl Place {
    fn words(self) -> [Bytes; 2] {
        [float(self.longitude), float(self.latitude)]
    }
}

impl Unit {
    const fn word(self) -> Bytes {
        match self {
            Self::Meters => text("M"),
            Self::Kilometers => text("KM"),
            Self::Feet => text("FT"),
            Self::Miles => text("MI"),
        }
    }
}

impl Area {
    fn words(self) -> Vec<Bytes> {
        match self {
            Self::Radius(radius) => vec![text("BYRADIUS"), float(radius)],
            Self::Box { width, height } => vec![text("BYBOX"), float(width), float(height)],
        }
    }
}

impl GeoSearch {
    fn words(&self) -> Vec<Bytes> {
        let mut words = match &self.center {
            Center::Member(member) => vec![text("FROMMEMBER"), member.clone()],
            Center::Place(place) => [text("FROMLONLAT")].into_iter().chain(place.words()).collect(),
        };
        words.extend(self.area.words());
        words.push(self.unit.word());
        words.extend(self.selection());
        words
    }

    /// In which order and how many.
    fn selection(&self) -> Vec<Bytes> {
        let mut words: Vec<Bytes> = match self.order {
            None => Vec::new(),
            Some(GeoOrder::NearestFirst) => vec![text("ASC")],
            Some(GeoOrder::FarthestFirst) => vec![text("DESC")],
        };
        words.extend(self.count.iter().flat_map(|count| [text("COUNT"), number(*count)]));
        words.extend(self.any.then(|| text("ANY")));
        words
    }
}

impl GeoDetails {
    fn words(self) -> impl Iterator<Item = Bytes> {
        let options = [(self.distance, "WITHDIST"), (self.hash, "WITHHASH"), (self.place, "WITHCOORD")];
        options.into_iter().filter(|(set, _)| *set).map(|(_, name)| text(name))
    }
}
