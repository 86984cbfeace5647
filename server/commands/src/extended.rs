//! Decimal numbers as INCRBYFLOAT adds them: in 80-bit extended precision.
//!
//! Redis adds in its machine's `long double`, 64 bits of mantissa on the machines it mostly runs on, and answers with up to 17
//! decimals. The same arithmetic in software gives the same digits on every machine. Sums too small for any of those decimals come
//! out as 0, as they would be printed.

use std::cmp::Ordering;
use std::fmt;

mod big;

use big::Big;

/// A finite number: ±`mantissa` × 2^`exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extended {
    negative: bool,
    /// Invariant: 0, or its highest bit is set.
    mantissa: u64,
    /// Invariant: at most [`EXPONENT_MAX`].
    exponent: i32,
}

/// Why text is not a number, or numbers have no sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatError {
    /// The text does not spell a number, or one that has no place in the format.
    NotANumber,
    /// The result would not be finite.
    Infinite,
}

/// The greatest exponent of a number whose mantissa is an integer of 64 bits.
const EXPONENT_MAX: i32 = 16_383 - 63;
/// Numbers below 2^this become zero.
const UNDERFLOW: i32 = -16_446;
/// The longest text that is read.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// Decimals that are printed.
const DECIMALS: u32 = 17;

impl Extended {
    const ZERO: Self = Self { negative: false, mantissa: 0, exponent: 0 };

    /// The sum of two numbers given as text.
    pub(crate) fn sum(one: &[u8], other: &[u8]) -> Result<Self, FloatError> {
        match (Self::parse(one), Self::parse(other)) {
            (Ok(one), Ok(other)) => one.add(other),
            // Text that is no number is worse than one that is infinite.
            (Err(FloatError::NotANumber), _) | (_, Err(FloatError::NotANumber)) => Err(FloatError::NotANumber),
            _ => Err(FloatError::Infinite),
        }
    }

    /// Reads decimal (`-1.5e3`) or hexadecimal (`0x1.8p3`) notation.
    fn parse(text: &[u8]) -> Result<Self, FloatError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(FloatError::NotANumber);
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Err(FloatError::Infinite);
        }
        let magnitude = match rest {
            [b'0', b'x' | b'X', digits @ ..] => parse_hexadecimal(digits),
            _ => parse_decimal(rest),
        };
        Ok(Self { negative, ..magnitude? })
    }

    /// The sum, rounded to the nearest number, halves to even.
    fn add(self, other: Self) -> Result<Self, FloatError> {
        if self.mantissa == 0 {
            return Ok(other);
        }
        if other.mantissa == 0 {
            return Ok(self);
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // 63 bits of room below; what of the lower number falls out of them only matters as "more than nothing".
        const ROOM: u32 = 63;
        let shift = high.exponent.abs_diff(low.exponent);
        let wide = u128::from(low.mantissa) << ROOM;
        let shifted = wide.checked_shr(shift).unwrap_or(0);
        let inexact = shifted.checked_shl(shift).is_none_or(|back| back != wide);
        let base = u128::from(high.mantissa) << ROOM;
        let (negative, sum) = if high.negative == low.negative {
            (high.negative, base + shifted)
        } else {
            match base.cmp(&shifted) {
                Ordering::Equal => return Ok(Self::ZERO),
                // Something more than `shifted` is taken away: one less, and something is left over.
                Ordering::Greater => (high.negative, base - shifted - u128::from(inexact)),
                Ordering::Less => (low.negative, shifted - base),
            }
        };
        round(negative, sum, high.exponent - ROOM.cast_signed(), inexact).ok_or(FloatError::Infinite)
    }
}

/// ±`bits` × 2^`exponent` rounded to a mantissa of 64 bits; a little more than that if `inexact`. `None` if it is too great.
fn round(negative: bool, bits: u128, exponent: i32, inexact: bool) -> Option<Extended> {
    let surplus = i64::from(64 - bits.leading_zeros().cast_signed());
    let (mut mantissa, mut exponent) = match u32::try_from(surplus) {
        // Below 64 bits nothing was cut off, for the operands had 64.
        Err(_) => ((bits << surplus.unsigned_abs()) as u64, i64::from(exponent) + surplus),
        Ok(surplus) => {
            let kept = (bits >> surplus) as u64;
            let cut = bits & ((1 << surplus) - 1);
            let up = match cut.cmp(&((1u128 << surplus) >> 1)) {
                _ if surplus == 0 => false,
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal => inexact || kept & 1 == 1,
            };
            (kept.wrapping_add(u64::from(up)), i64::from(exponent) + i64::from(surplus))
        }
    };
    if mantissa == 0 {
        // All ones were rounded up to the next power of two.
        mantissa = 1 << 63;
        exponent += 1;
    }
    let exponent = i32::try_from(exponent).ok().filter(|exponent| *exponent <= EXPONENT_MAX)?;
    Some(Extended { negative, mantissa, exponent })
}

/// Digits with an optional point: the digits alone, and how many stood behind the point. `None` without digits.
fn digits(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<(Vec<u8>, usize, &[u8])> {
    let whole = text.iter().take_while(|byte| is_digit(byte)).count();
    let (whole, rest) = text.split_at_checked(whole)?;
    let (fraction, rest) = match rest {
        [b'.', behind @ ..] => behind.split_at_checked(behind.iter().take_while(|byte| is_digit(byte)).count())?,
        _ => (&[][..], rest),
    };
    let all = [whole, fraction].concat();
    (!all.is_empty()).then_some((all, fraction.len(), rest))
}

/// The number behind `e` or `p`, at most so great that it decides everything; 0 if nothing follows.
fn exponent(rest: &[u8], mark: u8) -> Result<i64, FloatError> {
    let digits = match rest {
        [] => return Ok(0),
        [first, digits @ ..] if first.eq_ignore_ascii_case(&mark) => digits,
        _ => return Err(FloatError::NotANumber),
    };
    let (negative, digits) = match digits {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(FloatError::NotANumber);
    }
    const HUGE: i64 = 1_000_000;
    let magnitude = digits.iter().fold(0, |number, digit| (number * 10 + i64::from(digit - b'0')).min(HUGE));
    Ok(if negative { -magnitude } else { magnitude })
}

fn parse_decimal(text: &[u8]) -> Result<Extended, FloatError> {
    let (digits, decimals, rest) = digits(text, u8::is_ascii_digit).ok_or(FloatError::NotANumber)?;
    let exponent = exponent(rest, b'e')? - decimals as i64;
    let significant = digits.iter().skip_while(|digit| **digit == b'0').count() as i64;
    if significant == 0 {
        return Ok(Extended::ZERO);
    }
    // Far outside the format there is no need to compute, and no way to do it cheaply.
    if !(-5_000..=5_000).contains(&(exponent + significant)) {
        return Err(FloatError::NotANumber);
    }
    let power = Big::power_of_ten(exponent.unsigned_abs() as u32);
    let number = Big::from_digits(&digits);
    let quotient = if exponent >= 0 { ratio(number.times(&power), Big::from(1)) } else { ratio(number, power) };
    quotient.ok_or(FloatError::NotANumber)
}

fn parse_hexadecimal(text: &[u8]) -> Result<Extended, FloatError> {
    let (digits, decimals, rest) = digits(text, u8::is_ascii_hexdigit).ok_or(FloatError::NotANumber)?;
    let exponent = exponent(rest, b'p')? - 4 * decimals as i64;
    let number = digits.iter().fold(Big::from(0), |number, digit| {
        let digit = char::from(*digit).to_digit(16).unwrap_or(0);
        number.times_plus(16, digit)
    });
    if number.is_zero() {
        return Ok(Extended::ZERO);
    }
    let significant = ratio(number, Big::from(1)).ok_or(FloatError::NotANumber)?;
    let exponent = i64::from(significant.exponent) + exponent;
    let exponent = i32::try_from(exponent).map_err(|_| FloatError::NotANumber)?;
    if exponent > EXPONENT_MAX || exponent + 64 <= UNDERFLOW {
        return Err(FloatError::NotANumber);
    }
    Ok(Extended { exponent, ..significant })
}

/// `dividend / divisor` for numbers greater than 0, rounded. `None` if it is too great or too small for the format.
fn ratio(dividend: Big, divisor: Big) -> Option<Extended> {
    // Scaled so that the quotient has 65 or 66 bits: one to round by is enough, the remainder says whether there is more.
    let scale = 65 - (dividend.bits().cast_signed() - divisor.bits().cast_signed());
    let (mut dividend, divisor) = match scale >= 0 {
        true => (dividend.shifted_left(scale.unsigned_abs()), divisor),
        false => (dividend, divisor.shifted_left(scale.unsigned_abs())),
    };
    let mut quotient: u128 = 0;
    let mut part = divisor.shifted_left(66);
    for _ in 0..=66 {
        quotient <<= 1;
        if part <= dividend {
            dividend.subtract(&part);
            quotient |= 1;
        }
        part.halve();
    }
    let rounded = round(false, quotient, -scale, !dividend.is_zero())?;
    (rounded.exponent + 64 > UNDERFLOW).then_some(rounded)
}

impl fmt::Display for Extended {
    /// With up to 17 decimals, none of them a trailing zero, rounded halves to even.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = match u32::try_from(self.exponent) {
            Ok(exponent) => (Big::from(self.mantissa).shifted_left(exponent).to_string(), 0),
            Err(_) => {
                let scale = 10u128.pow(DECIMALS);
                let scaled = scaled_by_decimals(self.mantissa, self.exponent.unsigned_abs());
                ((scaled / scale).to_string(), scaled % scale)
            }
        };
        let decimals = format!("{decimals:017}");
        let decimals = decimals.trim_end_matches('0');
        let is_zero = whole == "0" && decimals.is_empty();
        let sign = if self.negative && !is_zero { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{decimals}")
    }
}

/// `mantissa` × 10^17 / 2^`shift`, rounded halves to even.
fn scaled_by_decimals(mantissa: u64, shift: u32) -> u128 {
    // 64 and 57 bits: 121.
    let product = u128::from(mantissa) * 10u128.pow(DECIMALS);
    let (Some(kept), Some(half)) = (product.checked_shr(shift), 1u128.checked_shl(shift - 1)) else { return 0 };
    let cut = product & (half | (half - 1));
    match cut.cmp(&half) {
        Ordering::Less => kept,
        Ordering::Greater => kept + 1,
        Ordering::Equal => kept + (kept & 1),
    }
}

#[cfg(test)]
mod tests;
