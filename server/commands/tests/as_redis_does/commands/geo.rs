//! Requests about places.

use rand::Rng;

use super::Commands;

const KEYS: &[&str] = &["places", "{t}places"];
/// Where results are stored. Distances are hardly places.
const STORED: &[&str] = &["{t}found", "{t}found", "{t}far"];
const SENSELESS: &[&str] =
    &["180", "-180", "180.1", "85.05112878", "-85.05112878", "86", "foo", "inf", "", "1e300", "-0"];
const RADII: &[&str] = &["0", "-1", "foo", "", "30000", "1e10", "inf", "nan", "-0"];
const UNITS: &[&str] = &["m", "km", "KM", "ft", "mi", "Mi"];

/// What is stored must not depend on what Redis does not read because a key is missing.
pub(super) fn must_stay(words: &[String]) -> bool {
    let is = |word: &String, name: &str| word.eq_ignore_ascii_case(name);
    is(&words[0], "georadiusbymember") && words.iter().any(|word| is(word, "store") || is(word, "storedist"))
}

impl Commands {
    fn geo_key(&mut self) -> String {
        match self.rng.random_range(0..20) {
            0 => self.key(),
            1 => self.pick(&["z", "nosuch", "{t}far"]),
            2 => "{t}found".to_owned(),
            _ => self.pick(KEYS),
        }
    }

    fn located(&mut self) -> String {
        if self.one_in(20) { "nosuch".to_owned() } else { format!("p{}", self.rng.random_range(0..40)) }
    }

    fn located_members(&mut self) -> Vec<String> {
        (0..self.rng.random_range(0..4)).map(|_| self.located()).collect()
    }

    /// Mostly around a few places, some of them where the map ends, and hardly ever the same twice.
    fn on_earth(&mut self) -> Vec<String> {
        let around =
            [(13.4, 52.5), (-0.1, 0.05), (179.9, -16.5), (-179.8, 70.2), (20.0, 84.9), (-70.0, -84.0), (0.0, 0.0)];
        let (longitude, latitude) = around[self.rng.random_range(0..around.len())];
        let spread: f64 = [0.001, 0.1, 0.1, 5.0, 60.0][self.rng.random_range(0..5)];
        let (east, north) = (self.rng.random_range(-spread..spread), self.rng.random_range(-spread..spread));
        let longitude = ((longitude + east + 540.0_f64) % 360.0) - 180.0;
        // One meridian now and then: the distance is then computed in another way.
        let longitude = if self.one_in(6) { 13.0 } else { longitude };
        let edge = self.rng.random_range(84.9..85.05);
        let mut words = vec![longitude.to_string(), (latitude + north).clamp(-edge, edge).to_string()];
        if self.one_in(25) {
            // One of them: what is in the very same place may come in any order.
            words[self.rng.random_range(0..2)] = self.pick(SENSELESS);
        }
        words
    }

    fn extent(&mut self) -> String {
        match self.rng.random_range(0..25) {
            0 => self.pick(RADII),
            1..5 => self.rng.random_range(0..30_000).to_string(),
            _ => format!("{:.3}", 10_f64.powf(self.rng.random_range(-1.0..4.5))),
        }
    }

    fn unit(&mut self) -> String {
        if self.one_in(30) { self.pick(&["miles", "", "1"]) } else { self.pick(UNITS) }
    }

    fn circle(&mut self) -> Vec<String> {
        vec![self.extent(), self.unit()]
    }

    fn geo_options(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        if self.one_in(3) {
            words.push(self.pick(&["ASC", "desc", "asc"]));
        }
        if self.one_in(3) {
            words.extend(["count".to_owned(), self.pick(&["1", "2", "3", "5", "20", "0", "-1", "foo"])]);
            words.extend(self.one_in(3).then(|| "ANY".to_owned()));
        }
        words.extend(
            self.one_in(40).then(|| self.pick(&["any", "store", "FROMMEMBER", "count", "nosuch", "storedist"])),
        );
        words
    }

    fn geo_details(&mut self) -> Vec<String> {
        let mut words: Vec<String> = ["WITHDIST", "withhash", "WithCoord"].map(str::to_owned).to_vec();
        words.retain(|_| self.one_in(3));
        words
    }

    fn geo_area(&mut self) -> Vec<String> {
        let center = if self.one_in(2) {
            vec!["FromMember".to_owned(), self.located()]
        } else {
            [vec!["fromlonlat".to_owned()], self.on_earth()].concat()
        };
        let area = if self.one_in(2) {
            [vec!["BYRADIUS".to_owned()], self.circle()].concat()
        } else {
            vec!["bybox".to_owned(), self.extent(), self.extent(), self.unit()]
        };
        if self.one_in(30) {
            return [area, center.clone(), center].concat();
        }
        if self.one_in(2) { [area, center].concat() } else { [center, area].concat() }
    }

    pub(super) fn geo_command(&mut self) -> (&'static str, Vec<String>) {
        let key = self.geo_key();
        match self.rng.random_range(0..20) {
            0..=5 => {
                let mut words = vec![self.pick(KEYS)];
                while self.one_in(3) {
                    words.push(self.pick(&["NX", "xx", "CH", "ch"]));
                }
                for _ in 0..self.rng.random_range(1..4) {
                    words.extend(self.on_earth());
                    words.push(self.located());
                }
                ("geoadd", words)
            }
            6 => {
                let unit = self.one_in(2).then(|| self.unit());
                ("geodist", [key, self.located(), self.located()].into_iter().chain(unit).collect())
            }
            7 => ("geohash", [vec![key], self.located_members()].concat()),
            8 => ("geopos", [vec![key], self.located_members()].concat()),
            9..=11 => ("geosearch", [vec![key], self.geo_area(), self.geo_options(), self.geo_details()].concat()),
            12 => {
                let mut words = [vec!["{t}found".to_owned(), "{t}places".to_owned()], self.geo_area()].concat();
                words.extend(self.geo_options());
                words.extend(self.one_in(20).then(|| "withdist".to_owned()));
                ("geosearchstore", words)
            }
            13 => {
                let mut words = [vec!["{t}far".to_owned(), "{t}places".to_owned()], self.geo_area()].concat();
                words.push("StoreDist".to_owned());
                ("geosearchstore", words)
            }
            14 => self.radius(key),
            15 => self.radius_store(),
            16 => ("zrange", vec![self.pick(STORED), "0".to_owned(), "-1".to_owned(), "WITHSCORES".to_owned()]),
            17 => ("zrem", [vec![self.pick(KEYS), "p1".to_owned()], self.located_members()].concat()),
            18 if self.one_in(4) => ("del", vec![self.pick(KEYS)]),
            _ => ("zrange", vec![self.pick(KEYS), "0".to_owned(), "-1".to_owned(), "WITHSCORES".to_owned()]),
        }
    }

    fn radius(&mut self, key: String) -> (&'static str, Vec<String>) {
        let rest = [self.circle(), self.geo_options(), self.geo_details()].concat();
        match self.rng.random_range(0..4) {
            0 => ("georadius", [vec![key], self.on_earth(), rest].concat()),
            1 => ("georadius_ro", [vec![key], self.on_earth(), rest].concat()),
            2 => ("georadiusbymember", [vec![key, self.located()], rest].concat()),
            _ => ("georadiusbymember_ro", [vec![key, self.located()], rest].concat()),
        }
    }

    fn radius_store(&mut self) -> (&'static str, Vec<String>) {
        let stores = self.rng.random_range(1..3);
        let store: Vec<String> = (0..stores)
            .flat_map(|_| {
                if self.one_in(2) {
                    ["store".to_owned(), "{t}found".to_owned()]
                } else {
                    ["STOREDIST".to_owned(), "{t}far".to_owned()]
                }
            })
            .collect();
        let rest = [self.geo_options(), store].concat();
        if self.one_in(2) {
            return ("georadius", [vec!["{t}places".to_owned()], self.on_earth(), self.circle(), rest].concat());
        }
        let circle = vec![self.rng.random_range(1..9000).to_string(), self.pick(UNITS)];
        ("georadiusbymember", [vec!["{t}places".to_owned(), self.located()], circle, rest].concat())
    }
}
