//! How far a session has read and written, so that what it reads next, from whatever replica, is not older.

use std::fmt;
use std::str::FromStr;

use crate::{Epoch, GroupId, Lineage, Lsn, SlotMapVersion, limits};

/// A place in one group's log up to which everything was visible to a reader, or had to be for a write to be there.
///
/// Only what is committed has a position. Within a lineage the record in front of it therefore keeps its epoch for ever: a replica on
/// which it has another has not the history this position was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Whose log.
    pub group: GroupId,
    /// The greatest version of the slot map by which the group owned the slots; 0 if it is not known.
    pub slots: SlotMapVersion,
    /// The group's history.
    pub lineage: Lineage,
    /// Epoch of the record before `end`.
    pub epoch: Epoch,
    /// Everything below was visible. At 0 the position says nothing about the log.
    pub end: Lsn,
}

impl Position {
    /// Before everything: any replica of the group will do.
    #[must_use]
    pub const fn start(group: GroupId) -> Self {
        let (slots, lineage, epoch, end) = (SlotMapVersion(0), Lineage(0), Epoch::ZERO, Lsn::ZERO);
        Self { group, slots, lineage, epoch, end }
    }

    /// Whether whoever has seen this has seen all that `other` saw. Positions in different histories cover each other never.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.end == Lsn::ZERO || (self.lineage == other.lineage && self.end >= other.end)
    }

    /// Both together. Of two histories the earlier one stays: part of what the session saw there is lost, and it has to learn that.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let rank = |position: &Self| {
            let is_something = position.end > Lsn::ZERO;
            (is_something, std::cmp::Reverse(position.lineage), position.end, position.epoch)
        };
        let slots = self.slots.max(other.slots);
        let farther = if rank(&self) >= rank(&other) { self } else { other };
        Self { slots, ..farther }
    }
}

/// What a session has seen of each group. Its text is portable between processes and protocols: letters, digits, `-` and `.` only, so
/// that it fits into a header, a cookie or an address as it is.
///
/// `s1` is a session that has seen nothing; each group adds `-g<group>.<slots>.<lineage>.<epoch>.<end>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionToken {
    /// Invariant: at most one for each group, in the order of the groups.
    positions: Vec<Position>,
}

/// Why a text is not a session token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It is none, or of a version this program does not know.
    #[error("a session token begins with `s1`")]
    Version,
    /// A part is not a position.
    #[error("each part of a session token is `g<group>.<slots>.<lineage>.<epoch>.<end>`")]
    Position,
    /// Two parts are about the same group.
    #[error("a session token names {0} twice")]
    Twice(GroupId),
    /// It is longer than any token is.
    #[error("a session token has at most {} bytes", limits::TOKEN_BYTES_MAX)]
    TooLong,
}

const VERSION: &str = "s1";

impl SessionToken {
    /// A session that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { positions: Vec::new() }
    }

    /// Whether the session has seen nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// What was seen of each group, in the order of the groups.
    #[must_use]
    pub fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// What a replica of the group must have applied. What was seen of other groups matters to it only by the version of the slot map:
    /// the group may have been given its slots by one of them.
    #[must_use]
    pub fn position(&self, group: GroupId) -> Position {
        let slots = self.positions.iter().map(|position| position.slots).max().unwrap_or(SlotMapVersion(0));
        let known = self.find(group).ok().and_then(|at| self.positions.get(at)).copied();
        Position { slots, ..known.unwrap_or(Position::start(group)) }
    }

    /// The session has seen this, too.
    pub fn observe(&mut self, position: Position) {
        match self.find(position.group) {
            Ok(at) => {
                if let Some(known) = self.positions.get_mut(at) {
                    *known = known.and(position);
                }
            }
            Err(at) => self.positions.insert(at, position),
        }
    }

    /// The session has seen all that another has.
    pub fn merge(&mut self, other: &Self) {
        other.positions.iter().for_each(|position| self.observe(*position));
    }

    fn find(&self, group: GroupId) -> Result<usize, usize> {
        self.positions.binary_search_by_key(&group, |position| position.group)
    }
}

impl fmt::Display for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(VERSION)?;
        for Position { group, slots, lineage, epoch, end } in &self.positions {
            write!(f, "-{group}.{slots}.{lineage}.{epoch}.{end}")?;
        }
        Ok(())
    }
}

impl FromStr for SessionToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        if text.len() > limits::TOKEN_BYTES_MAX {
            return Err(InvalidToken::TooLong);
        }
        let mut parts = text.split('-');
        if parts.next() != Some(VERSION) {
            return Err(InvalidToken::Version);
        }
        let mut token = Self::new();
        for part in parts {
            let position = position(part).ok_or(InvalidToken::Position)?;
            match token.find(position.group) {
                Ok(_) => return Err(InvalidToken::Twice(position.group)),
                Err(at) => token.positions.insert(at, position),
            }
        }
        Ok(token)
    }
}

fn position(text: &str) -> Option<Position> {
    let mut numbers = text.strip_prefix('g')?.split('.');
    let mut number = || -> Option<u64> {
        let digits = numbers.next()?;
        // `parse` would take a sign.
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let group = u32::try_from(number()?).ok().filter(|group| *group > 0)?;
    let (slots, lineage, epoch, end) = (number()?, number()?, number()?, number()?);
    numbers.next().is_none().then_some(Position {
        group: GroupId(group),
        slots: SlotMapVersion(slots),
        lineage: Lineage(lineage),
        epoch: Epoch(epoch),
        end: Lsn(end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(group: u32, lineage: u64, epoch: u64, end: u64) -> Position {
        let (group, lineage, epoch, end) = (GroupId(group), Lineage(lineage), Epoch(epoch), Lsn(end));
        Position { group, slots: SlotMapVersion(0), lineage, epoch, end }
    }

    #[test]
    fn a_token_is_read_as_it_is_printed() {
        let mut token = SessionToken::new();
        assert_eq!(token.to_string(), "s1");
        assert_eq!("s1".parse(), Ok(SessionToken::new()));
        token.observe(at(2, 0, 7, 1042));
        token.observe(Position { slots: SlotMapVersion(5), ..at(1, 1, 3, u64::MAX) });
        assert_eq!(token.to_string(), format!("s1-g1.5.1.3.{}-g2.0.0.7.1042", u64::MAX));
        assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "s2", "s1 ", "S1", "x", "s10", "\u{b9}"] {
            assert_eq!(text.parse::<SessionToken>(), Err(InvalidToken::Version), "{text}");
        }
        for text in [
            "s1-",
            "s1--",
            "s1-g0.0.0.1.1",
            "s1-1.0.0.1.1",
            "s1-g1.0.0.1",
            "s1-g1.0.0.1.1.1",
            "s1-g1.0.0.+1.1",
            "s1-g1.0.0..1",
            "s1-g1.0.0.1.18446744073709551616",
            "s1-g4294967296.0.0.1.1",
            "s1-g1.0.0.1.1\n",
        ] {
            assert_eq!(text.parse::<SessionToken>(), Err(InvalidToken::Position), "{text}");
        }
        assert_eq!("s1-g1.0.0.1.1-g1.0.0.1.2".parse::<SessionToken>(), Err(InvalidToken::Twice(GroupId(1))));
        assert_eq!("s1-".repeat(40_000).parse::<SessionToken>(), Err(InvalidToken::TooLong));
    }

    #[test]
    fn a_session_never_forgets_what_it_has_seen() {
        let mut token = SessionToken::new();
        token.observe(at(1, 0, 3, 10));
        token.observe(at(1, 0, 2, 8));
        assert_eq!(token.position(GroupId(1)), at(1, 0, 3, 10));
        token.observe(at(1, 0, 4, 12));
        assert_eq!(token.position(GroupId(1)), at(1, 0, 4, 12));
        assert_eq!(token.position(GroupId(2)), Position::start(GroupId(2)));
        let mut other = SessionToken::new();
        other.observe(at(2, 0, 1, 5));
        token.merge(&other);
        assert_eq!(token.positions(), [at(1, 0, 4, 12), at(2, 0, 1, 5)]);
    }

    /// A write in the new history must not make the session forget that its earlier one is lost.
    #[test]
    fn the_loss_of_a_history_is_not_covered_up_by_the_next() {
        let mut token = SessionToken::new();
        token.observe(at(1, 0, 3, 10));
        token.observe(at(1, 1, 4, 20));
        assert_eq!(token.position(GroupId(1)), at(1, 0, 3, 10));
        let mut nothing = SessionToken::new();
        nothing.observe(Position::start(GroupId(1)));
        nothing.observe(at(1, 1, 4, 20));
        assert_eq!(nothing.position(GroupId(1)), at(1, 1, 4, 20), "who saw nothing has lost nothing");
    }

    #[test]
    fn a_position_covers_what_came_before_it_in_its_history() {
        assert!(at(1, 0, 3, 10).covers(&at(1, 0, 2, 10)));
        assert!(!at(1, 0, 3, 10).covers(&at(1, 0, 3, 11)));
        assert!(!at(1, 1, 3, 10).covers(&at(1, 0, 3, 9)));
        assert!(at(1, 1, 3, 10).covers(&Position::start(GroupId(1))));
    }

    /// The group that owns a slot now may have been given it after the session wrote to it elsewhere.
    #[test]
    fn the_slot_map_a_session_has_seen_holds_for_all_groups() {
        let mut token = SessionToken::new();
        token.observe(Position { slots: SlotMapVersion(9), ..at(1, 0, 1, 5) });
        assert_eq!(token.position(GroupId(2)).slots, SlotMapVersion(9));
    }
}
