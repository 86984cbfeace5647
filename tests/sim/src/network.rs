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
    /// It arrives after a while, in any order.
    Slow,
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
        let passes = |link| matches!(link, Link::Up | Link::Slow);
        passes(self.link(from, to)) && passes(self.link(to, from))
    }

    pub(crate) fn send(&self, rng: &mut Rng, from: Place, to: Place) -> Passage {
        let slow = match self.link(from, to) {
            Link::Cut => return Passage::Lost,
            Link::Held => return Passage::Held,
            Link::Slow => rng.below(ms(1200)),
            Link::Up => 0,
        };
        if rng.chance(self.weather.drop) {
            return Passage::Lost;
        }
        let late = slow + if rng.chance(self.weather.delay) { rng.below(ms(1500)) } else { 0 };
        let after = rng.range(40_000, 400_000) + late;
        // Replicas must stand it; what a client sends goes through one connection, and no retry of it says the same number twice.
        let between_nodes = matches!((from, to), (Place::Node(_), Place::Node(_)));
        let again = (between_nodes && rng.chance(self.weather.duplicate)).then(|| after + rng.below(ms(800)));
        Passage::Arrives { after, again }
    }
}
