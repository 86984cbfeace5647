//! The contract: what clients, nodes and operators say to each other.
//!
//! [`v1`] is generated from `simplekv/v1/*.proto`. Nothing of it travels further than [`convert`], which turns it into the
//! vocabulary of `simplekv-types` and back and is the only place that trusts nobody: below it everything is validated.

mod answer;
pub mod convert;
mod frame;
mod op;

pub use answer::{Draft, OpReply};
pub use frame::{ReplyFrame, RequestFrame};
pub use op::{Manner, Op, Words};

/// Response metadata of a lane (`Data.Call`): the greatest request frame the node takes, in bytes, as a decimal number.
pub const FRAME_BYTES_MAX: &str = "simplekv-frame-bytes-max";

/// The generated messages, clients and servers. Their docs stand in the `.proto` files.
#[expect(missing_docs, reason = "generated")]
#[expect(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("simplekv.v1");

    pub use crate::frame::{ReplyFrame, RequestFrame};

    /// The compiled descriptors, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
