//! Statuses of calls that no failure of the table stands behind.

use simplekv_proto::convert::status_of;
use simplekv_types::Failure;
use tonic::Status;

/// The port does not have what was called.
pub(super) fn unknown_method() -> Status {
    Status::unimplemented("there is no such method on this port: a router serves simplekv.v1.Kv and Topology")
}

/// The health of something that is not here was asked for.
pub(super) fn unknown_service() -> Status {
    Status::not_found("there is no such service on this port")
}

/// How long the caller waits cannot be read.
pub(super) fn bad_deadline() -> Status {
    Status::invalid_argument("`grpc-timeout` is at most eight digits and one of H, M, S, m, u, n")
}

/// A request was refused before it was read, for its length; `told` says how long it is.
pub(super) fn too_long(told: &Status, limit: usize) -> Status {
    let mut numbers = told.message().split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    let limit = limit as u64;
    let size = numbers.next().unwrap_or(limit + 1);
    status_of(&Failure::TooLarge { what: "request", size, limit })
}
