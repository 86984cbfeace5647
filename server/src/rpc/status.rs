//! The one table from what went wrong to a gRPC status. What concerns a single operation travels in its reply instead.

use simplekv_proto::convert::{Malformed, status_details};
use simplekv_types::{ClusterId, Failure};
use tonic::{Code, Status};

/// The peer does not speak our protocol.
pub(crate) fn malformed(error: &Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The message was meant for another cluster.
pub(crate) fn other_cluster(theirs: ClusterId) -> Status {
    Status::failed_precondition(format!("this node does not belong to cluster {theirs}"))
}

/// The port does not have what was called.
pub(crate) fn unknown_method() -> Status {
    Status::unimplemented("there is no such method on this port")
}

/// A unary call failed. The failure itself travels in the details.
pub(crate) fn failure(failure: &Failure) -> Status {
    let code = Code::from_i32(failure.code().told().grpc);
    Status::with_details(code, failure.to_string(), status_details(failure))
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

#[cfg(test)]
mod tests {
    use simplekv_proto::convert::failure_in_details;
    use simplekv_types::FailureCode;

    use super::*;

    #[test]
    fn every_failure_has_the_status_of_the_table_and_travels_along() {
        for code in FailureCode::ALL {
            let status = failure(&code.example());
            assert_eq!(status.code() as i32, code.told().grpc);
            assert_ne!(status.code(), Code::Ok);
            assert_eq!(failure_in_details(status.details()), Some(code.example()));
        }
        // So that a caller who knows only the codes takes nothing that is in doubt for refused, nor the other way round.
        let in_doubt = |code: &FailureCode| failure(&code.example()).code() == Code::Unknown;
        assert!(FailureCode::ALL.iter().all(|code| in_doubt(code) == code.told().may_have_applied));
    }
}
