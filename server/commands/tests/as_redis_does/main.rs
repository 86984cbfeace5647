//! Commands answer what Redis answers: checked against a real one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic with something to read above it is how a test fails"
)]

mod commands;
mod process;
mod replies;
mod table;
