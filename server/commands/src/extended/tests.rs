use super::*;

fn sum(one: &str, other: &str) -> Result<String, FloatError> {
    Ok(Extended::sum(one.as_bytes(), other.as_bytes())?.to_string())
}

#[test]
fn sums_have_the_digits_redis_answers() {
    // Each pair was asked of Redis 7.0.15 on x86-64.
    for (one, other, expected) in [
        ("10.50", "0.1", "10.6"),
        ("10.6", "-5", "5.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("0.1", "0.2", "0.3"),
        ("3", "-3", "0"),
        ("-0.5", "0.25", "-0.25"),
        ("5000.1", "0.2", "5000.30000000000000027"),
        ("3.0e3", "1.1", "3001.10000000000000009"),
        ("1e20", "1", "100000000000000000000"),
        ("1e-4950", "0", "0"),
        ("0x10", "1", "17"),
        ("0x1.8p1", "0", "3"),
        (".5", "1.", "1.5"),
        ("+1", "1", "2"),
        ("1e-20", "0", "0"),
        ("-1e-20", "0", "0"),
    ] {
        assert_eq!(sum(one, other), Ok(expected.to_owned()), "{one} + {other}");
    }
}

#[test]
fn what_does_not_spell_a_number_is_refused() {
    for text in [
        "",
        " 1",
        "1 ",
        "1e",
        "e5",
        ".",
        "-",
        "--1",
        "0x",
        "1x",
        "nan",
        "1e999999999",
        "1e-999999999",
        "1e-4951",
        "1,5",
        "1_0",
    ] {
        assert_eq!(Extended::parse(text.as_bytes()), Err(FloatError::NotANumber), "{text}");
    }
    for text in ["inf", "-Infinity", "+INF"] {
        assert_eq!(Extended::parse(text.as_bytes()), Err(FloatError::Infinite), "{text}");
    }
    assert_eq!(sum("1.18e4932", "1.18e4932"), Err(FloatError::Infinite));
    assert_eq!(sum("inf", "1x"), Err(FloatError::NotANumber));
}

#[test]
fn long_texts_are_read_in_bounded_time() {
    let digits = "9".repeat(4900);
    assert!(Extended::parse(digits.as_bytes()).is_ok());
    let fraction = format!("0.{}", "1".repeat(5000));
    assert_eq!(Extended::parse(fraction.as_bytes()).unwrap().to_string(), "0.11111111111111111");
    assert_eq!(Extended::parse("1".repeat(5120).as_bytes()), Err(FloatError::NotANumber));
}

#[test]
fn a_number_too_great_for_exact_digits_keeps_its_first_64_bits() {
    let number = Extended::parse(b"1e30").unwrap();
    assert_eq!(number.to_string(), "1000000000000000000024696061952");
    assert_eq!(number.add(Extended::parse(b"-1e30").unwrap()), Ok(Extended::ZERO));
}
