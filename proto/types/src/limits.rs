//! Hard limits that are part of the formats. Configurable limits are at most these.

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 65_535;
/// Longest text of a session token, in bytes: room for a thousand groups.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Longest value, in bytes. The configured limit (8 MiB by default) may not exceed it.
pub const VALUE_BYTES_MAX: usize = 512 << 20;
/// The configured limit of a value unless the operator says otherwise, in bytes.
pub const VALUE_BYTES_DEFAULT: usize = 8 << 20;
/// Greatest message on a client's lane, in either direction, in bytes: the greatest value, and room for what is around it.
pub const LANE_MESSAGE_BYTES_MAX: usize = VALUE_BYTES_MAX + (1 << 20);
/// Most operations in one frame of a lane.
pub const FRAME_OPS_MAX: usize = 4096;
/// Most records in one batch.
pub const BATCH_RECORDS_MAX: usize = 65_536;
/// A batch is closed once it holds this many bytes; one larger command makes a larger batch of its own.
pub const BATCH_BYTES: usize = 256 << 10;
