//! The mock cluster of `simplekv-testing`.
#![allow(unused_imports, unreachable_pub, reason = "every test file uses a part of it")]

pub use simplekv_testing::{FRAME_BYTES_MAX, MockCluster, Seen, Verdict, key_of_group, until};
