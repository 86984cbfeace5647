//! Who can reach whom, and how long it takes.

use std::collections::BTreeMap;

use simplekv_types::NodeId;

use crate::clock::{Nanos, ms};
use crate::rng::Rng;

/// Whoever sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Node(NodeId),
    Client(usize),
    Store,
}

/// What becomes of what is sent from one place to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// It is lost.
    Cut,
    /// It waits in a socket until the link is mended.
    Held,
}

/// How unreliable the network is, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    pub(crate) delay: u64,
}

/// What becomes of one thing sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It arrives after so long; twice, if there is a second time.
    Arrives {
        after: Nanos,
        again: Option<Nanos>,
    },
    Lost,
    Held,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    links: BTreeMap<(Place, Place), Link>,
}

impl Network {
    pub(crate) fn set(&mut self, from: Place, to: Place, link: Link) {
        match link {
            Link::Up => drop(self.links.remove(&(from, to))),
            link => drop(self.links.insert((from, to), link)),
        }
    }

    pub(crate) fn mend(&mut self) {
        self.links.clear();
    }

    pub(crate) fn link(&self, from: Place, to: Place) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(Link::Up)
    }

    /// Whether whoever asks gets an answer.
    pub(crate) fn reach(&self, from: Place, to: Place) -> bool {
        self.link(from, to) == Link::Up && self.link(to, from) == Link::Up
    }

    pub(crate) fn send(&self, rng: &mut Rng, from: Place, to: Place) -> Passage {
        match self.link(from, to) {
            Link::Cut => return Passage::Lost,
            Link::Held => return Passage::Held,
            Link::Up => (),
        }
        if rng.chance(self.weather.drop) {
            return Passage::Lost;
        }
        let late = if rng.chance(self.weather.delay) { rng.below(ms(1500)) } else { 0 };
        let after = rng.range(40_000, 400_000) + late;
        // Replicas must stand it; what a client sends goes through one connection, and no retry of it says the same number twice.
        let between_nodes = matches!((from, to), (Place::Node(_), Place::Node(_)));
        let again = (between_nodes && rng.chance(self.weather.duplicate)).then(|| after + rng.below(ms(800)));
        Passage::Arrives { after, again }
    }
}
