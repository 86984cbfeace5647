//! Patterns as KEYS, SCAN and CONFIG GET know them: `*`, `?`, `[a-z]`, `[^abc]` and `\` before a character meant literally.

/// How many steps one match may take unless the caller says otherwise. Far more than an honest pattern needs on an honest key.
pub const STEPS_MAX: usize = 100_000;

/// Whether `text` matches the whole of `pattern`, letter case counting. A pattern that needs more than [`STEPS_MAX`] steps does not
/// match.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut steps = STEPS_MAX;
    matches_within(pattern, text, &mut steps) == Some(true)
}

/// Like [`matches()`], letter case not counting (ASCII only).
#[must_use]
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    matches(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

/// Like [`matches()`], taking what it needs from `steps` so that a walk over many keys can be bounded as a whole. `None` if there were
/// too few to tell.
///
/// Only the last `*` is ever tried again, so the steps are at most the product of the two lengths: there is no pattern whose cost
/// explodes, and no recursion.
#[must_use]
pub fn matches_within(pattern: &[u8], text: &[u8], steps: &mut usize) -> Option<bool> {
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not fit: behind the star, one byte further in the text.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        *steps = steps.checked_sub(1)?;
        let rest = pattern.get(p..).unwrap_or_default();
        if let [b'*', ..] = rest {
            p += 1;
            retry = Some((p, t));
            if p == pattern.len() {
                return Some(true);
            }
            continue;
        }
        match (text.get(t), rest) {
            (None, []) => return Some(true),
            (Some(&byte), [_, ..]) => {
                let (fits, len) = one(rest, byte);
                if fits {
                    p += len;
                    t += 1;
                    continue;
                }
            }
            // The text is used up and the pattern is not: a longer match of a star leaves even less of it.
            (None, _) => return Some(false),
            (Some(_), []) => (),
        }
        match &mut retry {
            Some((behind_star, from)) => {
                *from += 1;
                (p, t) = (*behind_star, *from);
            }
            None => return Some(false),
        }
    }
}

/// Whether the first element of a non-empty pattern fits the byte, and how long that element is.
fn one(pattern: &[u8], byte: u8) -> (bool, usize) {
    match pattern {
        [b'?', ..] => (true, 1),
        [b'[', class @ ..] => {
            let (fits, len) = in_class(class, byte);
            (fits, len + 1)
        }
        [b'\\', literal, ..] => (*literal == byte, 2),
        [literal, ..] => (*literal == byte, 1),
        [] => (false, 0),
    }
}

/// Whether a class, given without its opening bracket, holds the byte, and how long it is. A class that is not closed reaches to the
/// end of the pattern.
fn in_class(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class.get(at..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [first, b'-', last, ..] => {
                let (low, high) = if first <= last { (first, last) } else { (last, first) };
                found |= (*low..=*high).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

/// The text a pattern matches if it can match only one, `None` if it holds wildcards. A walk over all keys can then be a look-up.
#[must_use]
pub fn literal(pattern: &[u8]) -> Option<&[u8]> {
    (!pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))).then_some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("**", "a", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h[a-b", "hb", true),
            ("[]", "]", false),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hello", false),
            (r"[\]]", "]", true),
            (r"a\", r"a\", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("*ab", "aab", true),
            ("Key", "key", false),
            ("?", "", false),
            ("*?", "", false),
            ("user:[0-9]*:name", "user:42:name", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(matches_ignoring_case(b"MAX*", b"maxmemory"));
    }

    #[test]
    fn no_pattern_is_expensive() {
        let pattern = "*a".repeat(500);
        let text = "a".repeat(499) + &"b".repeat(20_000);
        let mut steps = usize::MAX;
        assert_eq!(matches_within(pattern.as_bytes(), text.as_bytes(), &mut steps), Some(false));
        assert!(usize::MAX - steps < 50_000);
        let mut steps = 10;
        assert_eq!(matches_within(b"*b", &[b'a'; 100], &mut steps), None);
        assert_eq!(steps, 0);
    }

    #[test]
    fn a_pattern_without_wildcards_names_one_text() {
        assert_eq!(literal(b"user:1"), Some(&b"user:1"[..]));
        assert_eq!(literal(b"user:*"), None);
        assert_eq!(literal(br"a\b"), None);
    }
}
