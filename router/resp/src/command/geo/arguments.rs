//! Arguments of the commands on places.

use bytes::Bytes;
use simplekv_types::Failure;

use super::{Area, Center, GeoCommand, GeoDetails, GeoOrder, GeoSearch, Place, Unit};
use crate::command::{AddCondition, Body, Command, SYNTAX, Score, Words};
use crate::number::parse_score;

type Parsed = Result<Body, Failure>;

fn ask(key: Bytes, ask: GeoCommand) -> Parsed {
    Ok(Body::Data(Command::Geo { key, ask }))
}

fn number(word: &[u8], refusal: Failure) -> Result<f64, Failure> {
    parse_score(word).ok_or(refusal)
}

fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, Failure> {
    const NOT_A_FLOAT: Failure = Failure::command("ERR value is not a valid float");
    let (longitude, latitude) = (number(longitude, NOT_A_FLOAT)?, number(latitude, NOT_A_FLOAT)?);
    if longitude.abs() > Place::LONGITUDE_MAX || latitude.abs() > Place::LATITUDE_MAX {
        let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
        return Err(Failure::Command(text.into()));
    }
    match (Score::new(longitude), Score::new(latitude)) {
        (Some(longitude), Some(latitude)) => Ok(Place { longitude, latitude }),
        _ => Err(NOT_A_FLOAT),
    }
}

fn unit(word: &[u8]) -> Result<Unit, Failure> {
    match word.to_ascii_lowercase().as_slice() {
        b"m" => Ok(Unit::Meters),
        b"km" => Ok(Unit::Kilometers),
        b"ft" => Ok(Unit::Feet),
        b"mi" => Ok(Unit::Miles),
        _ => Err(Failure::command("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

fn radius(words: &mut Words<'_>) -> Result<(Area, Unit), Failure> {
    const NEGATIVE: Failure = Failure::command("ERR radius cannot be negative");
    let radius = number(&words.word()?, Failure::command("ERR need numeric radius"))?;
    let radius = Score::new(radius).filter(|_| radius >= 0.0).ok_or(NEGATIVE)?;
    Ok((Area::Radius(radius), unit(&words.word()?)?))
}

fn box_of(words: &mut Words<'_>) -> Result<(Area, Unit), Failure> {
    let width = number(&words.word()?, Failure::command("ERR need numeric width"))?;
    let height = number(&words.word()?, Failure::command("ERR need numeric height"))?;
    match (Score::new(width), Score::new(height)) {
        (Some(wide), Some(high)) if width >= 0.0 && height >= 0.0 => {
            Ok((Area::Box { width: wide, height: high }, unit(&words.word()?)?))
        }
        _ => Err(Failure::command("ERR height or width cannot be negative")),
    }
}

pub(crate) fn geoadd(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    let (mut condition, mut counts_changed) = (AddCondition::default(), false);
    let mut next = words.option();
    while let Some(option) = &next {
        match option.to_ascii_lowercase().as_slice() {
            b"nx" => condition.absent = true,
            b"xx" => condition.present = true,
            b"ch" => counts_changed = true,
            _ => break,
        }
        next = words.option();
    }
    let rest: Vec<Bytes> = next.into_iter().chain(words.rest()).collect();
    if rest.is_empty() || !rest.len().is_multiple_of(3) || condition.absent && condition.present {
        return Err(SYNTAX);
    }
    let mut places = Vec::with_capacity(rest.len() / 3);
    for triple in rest.chunks_exact(3) {
        if let [longitude, latitude, member] = triple {
            places.push((place(longitude, latitude)?, member.clone()));
        }
    }
    ask(key, GeoCommand::Add { places, condition, counts_changed })
}

pub(crate) fn geodist(words: &mut Words<'_>) -> Parsed {
    let (key, one, other) = (words.word()?, words.word()?, words.word()?);
    if words.len() > 1 {
        return Err(SYNTAX);
    }
    let unit = words.option().map(|word| unit(&word)).transpose()?.unwrap_or_default();
    ask(key, GeoCommand::Distance { one, other, unit })
}

pub(crate) fn geohash(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, GeoCommand::Hash { members: words.rest() })
}

pub(crate) fn geopos(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, GeoCommand::Position { members: words.rest() })
}

/// What is fixed by the name of a command that searches, and what its options have said so far.
#[derive(Default)]
struct Options {
    /// Whether center and area are options.
    searches: bool,
    /// Whether a key to store in may be given as an option.
    may_store: bool,
    /// Whether what is found is stored in any case.
    stores: bool,
    center: Option<Center>,
    area: Option<(Area, Unit)>,
    order: Option<GeoOrder>,
    count: Option<u64>,
    any: bool,
    details: GeoDetails,
    to: Option<Bytes>,
    as_distances: bool,
}

impl Options {
    fn read(&mut self, words: &mut Words<'_>) -> Result<(), Failure> {
        while let Some(option) = words.option() {
            let left = words.len();
            match option.to_ascii_lowercase().as_slice() {
                b"withdist" => self.details.distance = true,
                b"withhash" => self.details.hash = true,
                b"withcoord" => self.details.place = true,
                b"any" => self.any = true,
                b"asc" => self.order = Some(GeoOrder::NearestFirst),
                b"desc" => self.order = Some(GeoOrder::FarthestFirst),
                b"count" if left >= 1 => {
                    let count = u64::try_from(words.integer()?).ok().filter(|count| *count > 0);
                    self.count = Some(count.ok_or(Failure::command("ERR COUNT must be > 0"))?);
                }
                store @ (b"store" | b"storedist") if self.may_store && left >= 1 => {
                    (self.to, self.as_distances) = (Some(words.word()?), store == b"storedist");
                }
                b"storedist" if self.stores => self.as_distances = true,
                _ if self.searches => self.center_or_area(&option, words)?,
                _ => return Err(SYNTAX),
            }
        }
        Ok(())
    }

    /// Each may be said again, but not in the other way.
    fn center_or_area(&mut self, option: &[u8], words: &mut Words<'_>) -> Result<(), Failure> {
        let left = words.len();
        match option.to_ascii_lowercase().as_slice() {
            b"frommember" if left >= 1 && !matches!(self.center, Some(Center::Place(_))) => {
                self.center = Some(Center::Member(words.word()?));
            }
            b"fromlonlat" if left >= 2 && !matches!(self.center, Some(Center::Member(_))) => {
                self.center = Some(Center::Place(place(&words.word()?, &words.word()?)?));
            }
            b"byradius" if left >= 2 && !matches!(self.area, Some((Area::Box { .. }, _))) => {
                self.area = Some(radius(words)?);
            }
            b"bybox" if left >= 3 && !matches!(self.area, Some((Area::Radius(_), _))) => {
                self.area = Some(box_of(words)?);
            }
            _ => return Err(SYNTAX),
        }
        Ok(())
    }

    /// Checks what only the whole of the options tells.
    fn search(&mut self, words: &Words<'_>) -> Result<GeoSearch, Failure> {
        let refuse = |text: String| Err(Failure::Command(text.into()));
        if (self.stores || self.to.is_some()) && self.details != GeoDetails::default() {
            let what = if self.stores { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return refuse(format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"));
        }
        let name = String::from_utf8_lossy(words.name);
        let Some(center) = self.center.take() else {
            return refuse(format!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"));
        };
        let Some((area, unit)) = self.area else {
            return refuse(format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"));
        };
        if self.any && self.count.is_none() {
            return refuse("ERR the ANY argument requires COUNT argument".to_owned());
        }
        Ok(GeoSearch { center, area, unit, order: self.order, count: self.count, any: self.any })
    }
}

pub(crate) fn geosearch(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    let mut options = Options { searches: true, ..Options::default() };
    options.read(words)?;
    ask(key, GeoCommand::Search { search: options.search(words)?, details: options.details })
}

pub(crate) fn geosearchstore(words: &mut Words<'_>) -> Parsed {
    let (key, from) = (words.word()?, words.word()?);
    let mut options = Options { searches: true, stores: true, ..Options::default() };
    options.read(words)?;
    ask(key, GeoCommand::SearchStore { from, search: options.search(words)?, as_distances: options.as_distances })
}

/// GEORADIUS and its like, behind key and center.
fn within_radius(key: Bytes, center: Center, words: &mut Words<'_>, may_store: bool) -> Parsed {
    let area = Some(radius(words)?);
    let mut options = Options { may_store, center: Some(center), area, ..Options::default() };
    options.read(words)?;
    let search = options.search(words)?;
    ask(
        key,
        match options.to {
            Some(to) => GeoCommand::RadiusStore { to, search, as_distances: options.as_distances },
            None => GeoCommand::Search { search, details: options.details },
        },
    )
}

fn around_place(words: &mut Words<'_>, may_store: bool) -> Parsed {
    let (key, place) = (words.word()?, place(&words.word()?, &words.word()?)?);
    within_radius(key, Center::Place(place), words, may_store)
}

fn around_member(words: &mut Words<'_>, may_store: bool) -> Parsed {
    let (key, member) = (words.word()?, words.word()?);
    within_radius(key, Center::Member(member), words, may_store)
}

pub(crate) fn georadius(words: &mut Words<'_>) -> Parsed {
    around_place(words, true)
}

pub(crate) fn georadius_ro(words: &mut Words<'_>) -> Parsed {
    around_place(words, false)
}

pub(crate) fn georadiusbymember(words: &mut Words<'_>) -> Parsed {
    around_member(words, true)
}

pub(crate) fn georadiusbymember_ro(words: &mut Words<'_>) -> Parsed {
    around_member(words, false)
}
