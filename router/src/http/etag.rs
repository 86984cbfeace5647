//! Entity tags: by what a value is known again, and what a request demands of the one it finds.
//!
//! A tag is a hash of the value and of nothing else: whoever writes the same value again makes the same tag. It needs no version kept
//! with the key, and is the same on every replica. The hash is a cryptographic one, so that nobody can make two values that pass for
//! each other.

use std::fmt;

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use crate::error::Problem;

/// Bytes of the hash that make the tag.
const BYTES: usize = 16;

/// The tag of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag([u8; BYTES]);

impl Tag {
    pub(super) fn of(value: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::digest(value).into();
        let [half, _] = hash.as_chunks::<BYTES>().0 else { unreachable!("a hash of 32 bytes has two halves") };
        Self(*half)
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("quotes and hexadecimal digits may stand in a header")
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("\"")
    }
}

/// What a request demands of the value it finds: `If-Match` and `If-None-Match`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Preconditions {
    if_match: Option<Wanted>,
    if_none_match: Option<Wanted>,
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// `*`: any value.
    Any,
    /// One of these tags, quotes included. Tags of somebody else's making fit no value.
    Tags(Vec<Named>),
}

#[derive(Debug, PartialEq, Eq)]
struct Named {
    weak: bool,
    tag: String,
}

/// What can be said of preconditions without having seen the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    Nothing,
    Absent,
    Present,
    /// It depends on the value.
    Value,
}

impl Preconditions {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self { if_match: wanted(headers, &IF_MATCH)?, if_none_match: wanted(headers, &IF_NONE_MATCH)? })
    }

    pub(super) fn demand(&self) -> Demand {
        match (&self.if_match, &self.if_none_match) {
            (None, None) => Demand::Nothing,
            (None, Some(Wanted::Any)) => Demand::Absent,
            (Some(Wanted::Any), None) => Demand::Present,
            _ => Demand::Value,
        }
    }

    /// Whether the demands of `If-Match` are met. A weak tag is none that a write may rely on.
    pub(super) fn match_holds(&self, found: Option<&Tag>) -> bool {
        self.if_match.as_ref().is_none_or(|wanted| wanted.fits(found, |named| !named.weak))
    }

    /// Whether the demands of `If-None-Match` are met.
    pub(super) fn none_match_holds(&self, found: Option<&Tag>) -> bool {
        self.if_none_match.as_ref().is_none_or(|wanted| !wanted.fits(found, |_| true))
    }

    /// # Errors
    /// 412 if a write must not be done to what was found.
    pub(super) fn judge(&self, found: Option<&Tag>) -> Result<(), Problem> {
        if self.match_holds(found) && self.none_match_holds(found) { Ok(()) } else { Err(unmet()) }
    }
}

impl Wanted {
    fn fits(&self, found: Option<&Tag>, counts: impl Fn(&Named) -> bool) -> bool {
        match (self, found) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Tags(tags), Some(found)) => {
                let found = found.to_string();
                tags.iter().any(|named| counts(named) && named.tag == found)
            }
        }
    }
}

pub(super) fn unmet() -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", "the key is not as the request demands")
}

/// All values of the header together; `None` if there are none.
fn wanted(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Wanted>, Problem> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Some(Wanted::Any));
        }
        let listed = list(text).ok_or_else(|| {
            let detail = format!("{name} is `*` or a list of entity tags in quotes, as ETag brings them");
            Problem::new(StatusCode::BAD_REQUEST, "bad_condition", detail)
        })?;
        tags.extend(listed);
    }
    Ok((!tags.is_empty()).then_some(Wanted::Tags(tags)))
}

/// `"a", W/"b"`. A tag may contain commas.
fn list(mut text: &str) -> Option<Vec<Named>> {
    let mut tags = Vec::new();
    loop {
        let weak = text.strip_prefix("W/");
        let opened = weak.unwrap_or(text).strip_prefix('"')?;
        let (tag, rest) = opened.split_once('"')?;
        tags.push(Named { weak: weak.is_some(), tag: format!("\"{tag}\"") });
        match rest.trim_start() {
            "" => return Some(tags),
            rest => text = rest.strip_prefix(',')?.trim_start(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(pairs: &[(HeaderName, &str)]) -> Result<Preconditions, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Preconditions::of(&headers)
    }

    #[test]
    fn a_tag_is_known_again() {
        assert_eq!(Tag::of(b"").to_string(), "\"e3b0c44298fc1c149afbf4c8996fb924\"");
        assert_ne!(Tag::of(b"a"), Tag::of(b"b"));
    }

    #[test]
    fn a_write_wants_a_strong_tag_and_a_read_takes_any() {
        let (here, other) = (Tag::of(b"v"), Tag::of(b"w"));
        for (value, holds) in [
            ("*".to_owned(), true),
            (here.to_string(), true),
            (format!("\"a,b\" , {here}"), true),
            (format!("W/{here}"), false),
            (other.to_string(), false),
        ] {
            let found = conditions(&[(IF_MATCH, &value)]).unwrap();
            assert_eq!(found.match_holds(Some(&here)), holds, "{value}");
            assert!(!found.match_holds(None), "{value}");
        }
        for (value, holds) in [("*".to_owned(), false), (format!("W/{here}"), false), (format!("\"x\",{other}"), true)]
        {
            let found = conditions(&[(IF_NONE_MATCH, &value)]).unwrap();
            assert_eq!(found.none_match_holds(Some(&here)), holds, "{value}");
            assert!(found.none_match_holds(None), "{value}");
        }
        let split = [(IF_MATCH, &*other.to_string()), (IF_MATCH, &*here.to_string())];
        assert!(conditions(&split).unwrap().judge(Some(&here)).is_ok());
    }

    #[test]
    fn what_can_be_said_without_a_look_is() {
        let demand = |pairs: &[(HeaderName, &str)]| conditions(pairs).unwrap().demand();
        assert_eq!(demand(&[]), Demand::Nothing);
        assert_eq!(demand(&[(IF_MATCH, "*")]), Demand::Present);
        assert_eq!(demand(&[(IF_NONE_MATCH, "*")]), Demand::Absent);
        assert_eq!(demand(&[(IF_MATCH, "\"x\"")]), Demand::Value);
        assert_eq!(demand(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "\"x\"")]), Demand::Value);
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for text in ["x", "\"x", "x\"", "\"a\" \"b\"", "\"a\",", "w/\"a\"", ""] {
            assert!(conditions(&[(IF_MATCH, text)]).is_err(), "{text}");
        }
    }
}
