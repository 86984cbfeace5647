//! Numbers as Redis reads and writes them: strictly, with one spelling per value.

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

/// Reads a float as C does: decimal or hexadecimal, or a word for what is not finite; nothing before it and nothing behind it.
/// What is too great or too small is infinite or zero.
#[must_use]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (sign, rest) = match text {
        [b'-', rest @ ..] => (-1.0, rest),
        [b'+', rest @ ..] => (1.0, rest),
        _ => (1.0, text),
    };
    let magnitude = match rest {
        [b'0', b'x' | b'X', digits @ ..] => parse_hexadecimal(digits)?,
        [b'-' | b'+', ..] => return None,
        _ => std::str::from_utf8(rest).ok()?.parse().ok()?,
    };
    Some(sign * magnitude)
}

/// Like [`parse_f64`], but nothing that is not a number, and nothing whose digits mean a number that there is no float for.
#[must_use]
pub fn parse_score(text: &[u8]) -> Option<f64> {
    let number = parse_f64(text).filter(|number| !number.is_nan())?;
    let is_hexadecimal = text.iter().any(|byte| byte.eq_ignore_ascii_case(&b'x'));
    let is_exponent = |byte: &u8| byte.eq_ignore_ascii_case(if is_hexadecimal { &b'p' } else { &b'e' });
    let digits = text.split(is_exponent).next().unwrap_or_default();
    let spells_zero = !digits.iter().any(|byte| matches!(byte, b'1'..=b'9' | b'a'..=b'f' | b'A'..=b'F'));
    let spells_infinity = !text.iter().any(u8::is_ascii_digit);
    (number.is_infinite() == spells_infinity && (number == 0.0) == (spells_zero && !spells_infinity)).then_some(number)
}

/// `1.8p3`, behind the `0x`.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let mut parts = text.splitn(2, |byte| byte.eq_ignore_ascii_case(&b'p'));
    let digits = parts.next()?;
    let exponent = match parts.next() {
        None => 0,
        Some(exponent) => {
            let exponent = std::str::from_utf8(exponent).ok()?.parse::<i128>().ok()?;
            i64::try_from(exponent.clamp(-100_000, 100_000)).ok()?
        }
    };
    let (mut mantissa, mut scale, mut has_point, mut has_digit) = (0_u64, exponent, false, false);
    for byte in digits {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            if *byte == b'.' && !has_point {
                has_point = true;
                continue;
            }
            return None;
        };
        has_digit = true;
        if mantissa >> 59 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            scale -= if has_point { 4 } else { 0 };
        } else {
            // What no longer fits only matters as "more than nothing".
            mantissa |= u64::from(digit != 0);
            scale += if has_point { 0 } else { 4 };
        }
    }
    // In two steps, for half of a scale is a float where the whole of it need not be.
    let scale = i32::try_from(scale.clamp(-10_000, 10_000)).ok()?;
    has_digit.then(|| mantissa as f64 * 2_f64.powi(scale / 2) * 2_f64.powi(scale - scale / 2))
}

/// Writes a float in 17 digits, as many as are needed for every float to read back: `3`, `0.10000000000000001`, `1e+20`, `inf`, `nan`.
#[must_use]
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // C's %g: the exponent is written where it is very small, or would need zeros that are no digits.
    match usize::try_from(16 - exponent) {
        Ok(decimals) if exponent >= -4 => without_trailing_zeros(&format!("{value:.decimals$}")).to_owned(),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", without_trailing_zeros(mantissa), exponent.abs())
        }
    }
}

/// Writes a float in decimals, 17 at most: `3`, `13.36138933897018433`. What is not finite as [`format_double`] does.
#[must_use]
pub fn format_decimal(value: f64) -> String {
    if !value.is_finite() {
        return format_double(value);
    }
    let text = format!("{value:.17}");
    match without_trailing_zeros(&text) {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
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
    fn floats_are_written_as_c_writes_them_and_read_back() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (-1.5, "-1.5"),
            (1e7, "10000000"),
            (1e8, "100000000"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1e25, "1.0000000000000001e+25"),
            (123_456_789.0, "123456789"),
            (1.25e-9, "1.25e-09"),
            (0.000_1, "0.0001"),
            (1e-5, "1.0000000000000001e-05"),
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

    #[test]
    fn decimals_are_as_many_as_are_told() {
        for (value, text) in [
            (13.361_389_338_970_184, "13.36138933897018433"),
            (-0.000_002_682_209_014_892_578, "-0.00000268220901489"),
            (-180.0, "-180"),
            (-1e-20, "0"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(format_decimal(value), text);
        }
    }

    #[test]
    fn floats_are_read_as_c_reads_them() {
        for (text, value) in [
            ("1.5", Some(1.5)),
            ("+2", Some(2.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("-1e3", Some(-1000.0)),
            ("0x1p-3", Some(0.125)),
            ("-0xA.8", Some(-10.5)),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1e400", Some(f64::INFINITY)),
            ("1e-400", Some(0.0)),
            ("1e-310", Some(1e-310)),
            ("", None),
            (".", None),
            ("+-1", None),
            ("1 ", None),
            ("1e", None),
            ("0x", None),
            ("0x1p", None),
            ("1x", None),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), value, "{text}");
        }
        assert!(parse_f64(b"nan").unwrap().is_nan());
        for (text, value) in [
            ("0", Some(0.0)),
            ("-0.0e5", Some(-0.0)),
            ("0x0p9", Some(0.0)),
            ("inf", Some(f64::INFINITY)),
            ("1e400", None),
            ("1e-400", None),
            ("nan", None),
            ("0x1p-3", Some(0.125)),
        ] {
            assert_eq!(parse_score(text.as_bytes()), value, "{text}");
        }
    }
}
