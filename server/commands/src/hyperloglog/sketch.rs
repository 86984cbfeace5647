//! The registers: each holds the highest rank that came to it.
//!
//! At first they are written down in runs of equal ones: `00llllll` for up to 64 zeros, `01llllll llllllll` for more, `1rrrrrll` for up
//! to 4 of one rank up to 32; of lengths and ranks one less is written. Where this would take up more than [`RUN_BYTES_MAX`], they are
//! written down one by one, in 6 bits each.

/// So many bits of a hash choose the register.
pub(super) const REGISTER_BITS: u32 = 14;
pub(super) const REGISTERS: usize = 1 << REGISTER_BITS;
const RANK_BITS: usize = 6;

/// Longest value in runs, header included: Redis' default.
const RUN_BYTES_MAX: usize = 3000;
const ZEROS_SHORT_MAX: usize = 64;
const RUN_RANK_MAX: u8 = 32;
const RUN_LEN_MAX: usize = 4;
/// How many runs around one that was changed are looked at for equal ones.
const JOINED_MAX: usize = 5;

/// Registers next to each other that hold the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    rank: u8,
    /// At least 1.
    len: usize,
}

impl Run {
    fn size(self) -> usize {
        if self.rank == 0 && self.len > ZEROS_SHORT_MAX { 2 } else { 1 }
    }

    /// The first run written down here, and what is behind it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        Some(match *bytes {
            [first @ 0x80..=0xff, ref rest @ ..] => {
                (Self { rank: (first >> 2 & 0x1f) + 1, len: usize::from(first & 3) + 1 }, rest)
            }
            [first @ 0x40..=0x7f, second, ref rest @ ..] => {
                (Self { rank: 0, len: (usize::from(first & 0x3f) << 8 | usize::from(second)) + 1 }, rest)
            }
            [first @ 0..=0x3f, ref rest @ ..] => (Self { rank: 0, len: usize::from(first) + 1 }, rest),
            _ => return None,
        })
    }

    fn write(self, out: &mut Vec<u8>) {
        let len = (self.len - 1) as u16;
        match self.rank.checked_sub(1) {
            Some(rank) => out.push(0x80 | rank << 2 | len as u8),
            None if self.size() == 1 => out.push(len as u8),
            None => out.extend((0x4000 | len).to_be_bytes()),
        }
    }
}

/// What was counted.
#[derive(Clone, Debug)]
pub(super) enum Sketch {
    /// Invariant: there are [`REGISTERS`] in all of them.
    Runs(Vec<Run>),
    /// Each on its own.
    Full(Vec<u8>),
}

impl Sketch {
    /// Bytes of all registers one by one.
    pub(super) const FULL_BYTES: usize = REGISTERS * RANK_BITS / 8;

    /// Nothing, in runs.
    pub(super) fn new() -> Self {
        Self::Runs(vec![Run { rank: 0, len: REGISTERS }])
    }

    /// Nothing, one by one.
    pub(super) fn full_size() -> Self {
        Self::Full(vec![0; REGISTERS])
    }

    /// `None` if these are no runs of all registers.
    pub(super) fn of_runs(mut bytes: &[u8]) -> Option<Self> {
        let (mut runs, mut count) = (Vec::with_capacity(bytes.len()), 0);
        while !bytes.is_empty() {
            let (run, rest) = Run::read(bytes)?;
            bytes = rest;
            count += run.len;
            runs.push(run);
        }
        (count == REGISTERS).then_some(Self::Runs(runs))
    }

    pub(super) fn of_full_size(bytes: &[u8]) -> Self {
        // Three bytes are four registers, the lowest bits the first.
        let four = |three: &[u8; 3]| {
            let bits = three.iter().rev().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
            [0, 1, 2, 3].map(|at| (bits >> (RANK_BITS * at) & 0x3f) as u8)
        };
        Self::Full(bytes.as_chunks::<3>().0.iter().flat_map(four).collect())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Runs(runs) => {
                let mut bytes = Vec::with_capacity(2 * runs.len());
                runs.iter().for_each(|run| run.write(&mut bytes));
                bytes
            }
            Self::Full(registers) => {
                let three = |four: &[u8; 4]| {
                    let [first, second, third, _] =
                        four.iter().rev().fold(0_u32, |bits, rank| bits << RANK_BITS | u32::from(*rank)).to_le_bytes();
                    [first, second, third]
                };
                registers.as_chunks::<4>().0.iter().flat_map(three).collect()
            }
        }
    }

    pub(super) fn registers(&self) -> Vec<u8> {
        match self {
            Self::Runs(runs) => runs.iter().flat_map(|run| std::iter::repeat_n(run.rank, run.len)).collect(),
            Self::Full(registers) => registers.clone(),
        }
    }

    pub(super) fn is_full_size(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// From now on one by one.
    pub(super) fn grow(&mut self) {
        *self = Self::Full(self.registers());
    }

    /// Raises all registers to those of another.
    pub(super) fn absorb(&mut self, other: &Self) {
        for (register, rank) in other.registers().into_iter().enumerate().filter(|(_, rank)| *rank > 0) {
            self.raise(register, rank);
        }
    }

    /// Raises a register to a rank; returns whether it was lower.
    pub(super) fn raise(&mut self, register: usize, rank: u8) -> bool {
        match self {
            Self::Full(registers) => match registers.get_mut(register).filter(|known| **known < rank) {
                Some(known) => {
                    *known = rank;
                    true
                }
                None => false,
            },
            Self::Runs(runs) => raise_in_runs(runs, register, rank).unwrap_or_else(|| {
                self.grow();
                self.raise(register, rank)
            }),
        }
    }
}

/// `None` if it has to be written down one by one.
fn raise_in_runs(runs: &mut Vec<Run>, register: usize, rank: u8) -> Option<bool> {
    if rank > RUN_RANK_MAX {
        return None;
    }
    let mut end = 0;
    let (at, run) = runs.iter().copied().enumerate().find(|(_, run)| {
        end += run.len;
        register < end
    })?;
    if run.rank >= rank {
        return Some(false);
    }
    let before = Run { rank: run.rank, len: register - (end - run.len) };
    let behind = Run { rank: run.rank, len: end - register - 1 };
    let parts = [before, Run { rank, len: 1 }, behind].into_iter().filter(|part| part.len > 0);
    let new: usize = parts.clone().map(Run::size).sum();
    let all = super::header::HEADER_BYTES + runs.iter().map(|run| run.size()).sum::<usize>();
    if new > run.size() && all + new - run.size() > RUN_BYTES_MAX {
        return None;
    }
    runs.splice(at..=at, parts);
    join(runs, at.saturating_sub(1));
    Some(true)
}

/// Joins runs of the same rank, from one on. As far as Redis does, so that the two write the same.
fn join(runs: &mut Vec<Run>, mut at: usize) {
    for _ in 0..JOINED_MAX {
        let [run, next, ..] = runs.get(at..).unwrap_or_default() else { return };
        let joined = Run { rank: run.rank, len: run.len + next.len };
        if run.rank > 0 && run.rank == next.rank && joined.len <= RUN_LEN_MAX {
            runs.splice(at..=at + 1, [joined]);
        } else {
            at += 1;
        }
    }
}
