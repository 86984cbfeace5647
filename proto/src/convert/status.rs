//! From what went wrong with a call to its gRPC status, which carries besides its code the failure itself, for programs.

use bytes::Bytes;
use prost::Message;
use simplekv_types::Failure;
use tonic::{Code, Status};

use super::Malformed;
use crate::v1;

/// `google.rpc.Status`, which gRPC libraries expect in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

const TYPE_URL: &str = "type.googleapis.com/simplekv.v1.Failure";

/// The status of a call that ended with this failure.
#[must_use]
pub fn status_of(failure: &Failure) -> Status {
    let code = Code::from_i32(failure.code().told().grpc);
    Status::with_details(code, failure.to_string(), details(failure))
}

impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        Self::invalid_argument(malformed.to_string())
    }
}

/// The details of a status that tells of this failure.
fn details(failure: &Failure) -> Bytes {
    let value = v1::Failure::from(failure.clone()).encode_to_vec().into();
    let details = vec![Any { type_url: TYPE_URL.to_owned(), value }];
    let status = RpcStatus { code: failure.code().told().grpc, message: failure.to_string(), details };
    status.encode_to_vec().into()
}

/// The failure a status tells of in its details; `None` if it does not.
#[must_use]
pub fn failure_in_details(details: &[u8]) -> Option<Failure> {
    let status = RpcStatus::decode(details).ok()?;
    let any = status.details.into_iter().find(|any| any.type_url == TYPE_URL)?;
    v1::Failure::decode(any.value).ok().map(Failure::from)
}

#[cfg(test)]
mod tests {
    use simplekv_types::FailureCode;

    use super::*;

    #[test]
    fn every_failure_has_the_status_of_the_table_and_travels_along() {
        for code in FailureCode::ALL {
            let status = status_of(&code.example());
            assert_eq!(status.code() as i32, code.told().grpc);
            assert_ne!(status.code(), Code::Ok);
            assert_eq!(failure_in_details(status.details()), Some(code.example()));
        }
        // So that a caller who knows only the codes takes nothing that is in doubt for refused, nor the other way round.
        let in_doubt = |code: &FailureCode| status_of(&code.example()).code() == Code::Unknown;
        assert!(FailureCode::ALL.iter().all(|code| in_doubt(code) == code.told().may_have_applied));
    }

    #[test]
    fn other_details_tell_of_no_failure() {
        assert_eq!(failure_in_details(b""), None);
        assert_eq!(failure_in_details(b"no status at all"), None);
        let other = RpcStatus { code: 5, message: String::new(), details: vec![Any::default()] };
        assert_eq!(failure_in_details(&other.encode_to_vec()), None);
    }
}
