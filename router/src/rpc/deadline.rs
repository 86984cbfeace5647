//! How long a caller waits, as gRPC tells it.

use std::time::Duration;

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::status;

const TIMEOUT: &str = "grpc-timeout";
const DIGITS_MAX: usize = 8;

/// How long the caller waits; `None` if it does not say.
///
/// # Errors
/// If it says something else.
pub(super) fn patience(metadata: &MetadataMap) -> Result<Option<Duration>, Status> {
    let Some(text) = metadata.get(TIMEOUT) else { return Ok(None) };
    text.to_str().ok().and_then(read).map(Some).ok_or_else(status::bad_deadline)
}

fn read(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(number * 3600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("0S", Duration::ZERO),
            ("250m", Duration::from_millis(250)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        for text in ["", "m", "5", "5s", "-5m", "+5m", "100000000m", "5 m", "5.0S", "5é"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(patience(&MetadataMap::new()).is_ok_and(|patience| patience.is_none()));
        let metadata = |text: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(TIMEOUT, tonic::metadata::MetadataValue::from_static(text));
            metadata
        };
        assert!(patience(&metadata("1S")).is_ok_and(|patience| patience == Some(Duration::from_secs(1))));
        assert_eq!(patience(&metadata("soon")).unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}
