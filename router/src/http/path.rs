//! Keys as paths spell them.

use axum::http::{StatusCode, Uri};
use simplekv_client::Error;
use simplekv_types::limits::KEY_BYTES_MAX;

use crate::error::Problem;

/// The key is what follows the prefix, its escapes resolved. It need not be text.
pub(super) fn key(uri: &Uri, prefix: &str) -> Result<Vec<u8>, Problem> {
    let escaped = uri.path().strip_prefix(prefix).unwrap_or_default();
    check(unescape(escaped).ok_or_else(|| bad_key("the key has an incomplete % escape"))?)
}

/// A key that can be one.
pub(super) fn check(key: Vec<u8>) -> Result<Vec<u8>, Problem> {
    match key.len() {
        0 => Err(bad_key("the key is empty")),
        size if size > KEY_BYTES_MAX => {
            Err(Error::TooLarge { what: "key", size: size as u64, limit: KEY_BYTES_MAX as u64 }.into())
        }
        _ => Ok(key),
    }
}

fn bad_key(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_key", detail)
}

/// Resolves `%41`. `None` if an escape is not two hexadecimal digits.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_key_may_be_any_bytes() {
        let key = |path: &str| super::key(&format!("/v2/keys/{path}").parse().unwrap(), "/v2/keys/");
        assert_eq!(key("user:1"), Ok(b"user:1".to_vec()));
        assert_eq!(key("a/b//c"), Ok(b"a/b//c".to_vec()));
        assert_eq!(key("%00%ff%2F+%7Bt%7D"), Ok(b"\0\xff/+{t}".to_vec()));
        for path in ["", "%", "%4", "%4g"] {
            assert!(key(path).is_err(), "{path}");
        }
    }
}
