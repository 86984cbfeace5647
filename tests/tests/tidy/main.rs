//! The house rules and the architecture invariants, as far as a program can check them.
//!
//! Rules read manifests and token streams, so comments and strings never trip them. A rule about a crate or file that does not
//! exist holds. Each failure names the file, the line and what to do instead.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod arrows;
mod builds;
mod documents;
mod layers;
mod lessons;
mod manners;
mod modules;
mod sizes;
mod tokens;
mod tree;

/// Fails with one line per violation.
#[track_caller]
fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}\n", violations.join("\n  "));
}
