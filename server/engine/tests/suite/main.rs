//! What the engine promises, one promise per file.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed, helpers included")]

mod append;
mod copying;
mod corruption;
mod crash_points;
mod directory;
mod elements;
mod expiry;
mod flushing;
mod format;
mod limits;
mod model;
mod poison;
mod readers;
mod roll;
mod slots;
mod space;
mod support;
mod torn_tail;
mod truncation;
