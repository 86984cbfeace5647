//! Commands answer what Redis answers: checked against a real one.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics to fail")]

mod commands;
mod process;
mod replies;
mod table;
