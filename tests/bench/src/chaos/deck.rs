//! Which fault comes next.
//!
//! Kinds are dealt like cards: each once before any comes again, so that a short run has all of them.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use crate::chaos::fault::Kind;

/// Cards that are left, and whether all have been on the table.
#[derive(Debug, Default)]
pub(crate) struct Deck {
    left: Vec<Kind>,
    rounds: u32,
}

impl Deck {
    pub(crate) fn deal(&mut self, random: &mut SmallRng) -> Kind {
        loop {
            if let Some(kind) = self.left.pop() {
                return kind;
            }
            self.left = Kind::DEALT.to_vec();
            self.left.shuffle(random);
            self.rounds += 1;
        }
    }

    /// Takes a card back that could not be played.
    pub(crate) fn take_back(&mut self, kind: Kind) {
        self.left.push(kind);
    }

    /// Whether every kind has been dealt.
    pub(crate) fn has_dealt_all(&self) -> bool {
        self.rounds > 1 || (self.rounds == 1 && self.left.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_kind_comes_before_any_comes_again() {
        let (mut deck, mut random) = (Deck::default(), SmallRng::seed_from_u64(1));
        for round in 0..3 {
            let mut dealt: Vec<Kind> = Kind::DEALT.iter().map(|_| deck.deal(&mut random)).collect();
            assert!(deck.has_dealt_all(), "round {round}");
            dealt.sort();
            assert_eq!(dealt, Kind::DEALT);
        }
        let kind = deck.deal(&mut random);
        deck.take_back(kind);
        assert_eq!(deck.deal(&mut random), kind);
    }
}
