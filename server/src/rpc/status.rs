//! From what went wrong at a node to a gRPC status. What concerns a single operation of a lane travels in its reply instead.

use simplekv_proto::convert::Malformed;
/// A call failed. The failure itself travels in the details.
pub(crate) use simplekv_proto::convert::status_of as failure;
use simplekv_types::ClusterId;
use tonic::Status;

/// The peer does not speak our protocol.
pub(crate) fn malformed(error: &Malformed) -> Status {
    error.clone().into()
}

/// The message was meant for another cluster.
pub(crate) fn other_cluster(theirs: ClusterId) -> Status {
    Status::failed_precondition(format!("this node does not belong to cluster {theirs}"))
}

/// The port does not have what was called.
pub(crate) fn unknown_method() -> Status {
    Status::unimplemented("there is no such method on this port")
}

/// The node cannot do what an operator asked.
pub(crate) fn refused(message: impl Into<String>) -> Status {
    Status::failed_precondition(message)
}

/// What an operator asked for does not exist.
pub(crate) fn not_found(message: impl Into<String>) -> Status {
    Status::not_found(message)
}

/// An operator's request is not well-formed.
pub(crate) fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

/// The metadata store could not do its part.
pub(crate) fn metadata(error: &simplekv_meta::MetaError) -> Status {
    if error.may_have_applied() { Status::unknown(error.to_string()) } else { Status::unavailable(error.to_string()) }
}
