//! Histories that must be accepted, and such that must not.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod brute_force;
mod corpus;
mod files;
mod random;
mod shapes;
