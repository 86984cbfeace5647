//! Numbers as Redis reads and writes them: strictly, with one spelling per value.

use std::fmt::Write as _;

/// Reads a decimal number that is spelled the way it would be printed: no sign but `-`, no leading zeros, no spaces.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => (),
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // At most 19 digits: below 10^19, which a u64 holds.
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads an unsigned decimal number, as SCAN's cursor. Leading zeros are allowed.
#[must_use]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Writes a float with the fewest digits that read back as the same float: `3`, `0.1`, `1e+25`, `inf`, `nan`.
#[must_use]
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    // Rust finds the shortest digits; where the exponent is written instead of zeros is Redis' choice.
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let sign = if value.is_sign_negative() { "-" } else { "" };
    format!("{sign}{}", place_point(&digits, exponent))
}

/// `digits` read as `d.ddd × 10^exponent`, in plain notation where that stays short.
fn place_point(digits: &str, exponent: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // The power of ten of the last digit.
    let scale = exponent - (count - 1);
    let mut text = String::with_capacity(26);
    if scale >= 0 && exponent < count + 7 {
        text.push_str(digits);
        text.extend(std::iter::repeat_n('0', usize::try_from(scale).unwrap_or(0)));
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        match usize::try_from(exponent) {
            Ok(point) => {
                let (whole, fraction) = digits.split_at_checked(point + 1).unwrap_or((digits, ""));
                text.push_str(whole);
                text.push('.');
                text.push_str(fraction);
            }
            Err(_) => {
                text.push_str("0.");
                text.extend(std::iter::repeat_n('0', usize::try_from(-exponent - 1).unwrap_or(0)));
                text.push_str(digits);
            }
        }
    } else {
        let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
        text.push_str(first);
        if !rest.is_empty() {
            text.push('.');
            text.push_str(rest);
        }
        let _infallible = write!(text, "e{}{}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for (text, value) in [
            ("0", Some(0)),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("", None),
            ("-", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("1a", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn floats_are_short_and_read_back() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e7, "10000000"),
            (1e8, "1e+8"),
            (1e25, "1e+25"),
            (123_456_789.0, "123456789"),
            (1.25e-9, "1.25e-9"),
            (0.000_1, "0.0001"),
            (1e-7, "1e-7"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format_double(value), text);
        }
        for value in [f64::MAX, f64::MIN_POSITIVE, 1.0 / 3.0, 2f64.powi(60), 5e-324] {
            assert_eq!(format_double(value).parse(), Ok(value));
        }
    }
}
