//! Whole numbers of any size, with just what reading and printing a float needs.

use std::cmp::Ordering;
use std::fmt;

/// A whole number, lowest 32 bits first. Invariant: the last word is not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Big(Vec<u32>);

impl From<u64> for Big {
    fn from(number: u64) -> Self {
        Self(vec![number as u32, (number >> 32) as u32]).trimmed()
    }
}

impl Big {
    pub(super) fn from_digits(digits: &[u8]) -> Self {
        digits.iter().fold(Self(Vec::new()), |number, digit| number.times_plus(10, u32::from(digit - b'0')))
    }

    pub(super) fn power_of_ten(exponent: u32) -> Self {
        // Nine digits fit a word.
        let power = (0..exponent / 9).fold(Self::from(1), |number, _| number.times_plus(1_000_000_000, 0));
        power.times_plus(10u32.pow(exponent % 9), 0)
    }

    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bits it takes.
    pub(super) fn bits(&self) -> u32 {
        let words = u32::try_from(self.0.len()).unwrap_or(u32::MAX / 32);
        words * 32 - self.0.last().map_or(0, |word| word.leading_zeros())
    }

    pub(super) fn times_plus(mut self, factor: u32, addend: u32) -> Self {
        let mut carry = u64::from(addend);
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        self.0.push(carry as u32);
        self.trimmed()
    }

    pub(super) fn times(&self, other: &Self) -> Self {
        // Horner's rule, the other number's words as digits.
        other.0.iter().rev().fold(Self(Vec::new()), |sum, word| {
            let mut shifted = sum;
            if !shifted.is_zero() {
                shifted.0.insert(0, 0);
            }
            shifted.plus(&self.clone().times_plus(*word, 0))
        })
    }

    fn plus(mut self, other: &Self) -> Self {
        self.0.resize(self.0.len().max(other.0.len()) + 1, 0);
        let mut carry = 0;
        for (at, word) in self.0.iter_mut().enumerate() {
            carry += u64::from(*word) + u64::from(other.0.get(at).copied().unwrap_or(0));
            *word = carry as u32;
            carry >>= 32;
        }
        self.trimmed()
    }

    /// Takes away a number that is not greater.
    pub(super) fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (at, word) in self.0.iter_mut().enumerate() {
            let (less, first) = word.overflowing_sub(other.0.get(at).copied().unwrap_or(0));
            let (less, second) = less.overflowing_sub(u32::from(borrow));
            *word = less;
            borrow = first || second;
        }
        assert!(!borrow, "only a smaller number is taken away");
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    pub(super) fn shifted_left(&self, bits: u32) -> Self {
        let mut words = vec![0; (bits / 32) as usize];
        words.extend_from_slice(&self.0);
        Self(words).trimmed().times_plus(1 << (bits % 32), 0)
    }

    pub(super) fn halve(&mut self) {
        let mut carry = 0;
        for word in self.0.iter_mut().rev() {
            let low = *word & 1;
            *word = *word >> 1 | carry << 31;
            carry = low;
        }
        if self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// Divides by a small number and answers the rest.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0;
        for word in self.0.iter_mut().rev() {
            let part = rest << 32 | u64::from(*word);
            *word = (part / u64::from(divisor)) as u32;
            rest = part % u64::from(divisor);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        rest as u32
    }
}

impl PartialOrd for Big {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Big {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

impl fmt::Display for Big {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = self.clone();
        let mut parts = Vec::new();
        loop {
            parts.push(number.divide(1_000_000_000));
            if number.is_zero() {
                break;
            }
        }
        let mut parts = parts.iter().rev();
        write!(f, "{}", parts.next().unwrap_or(&0))?;
        parts.try_for_each(|part| write!(f, "{part:09}"))
    }
}
