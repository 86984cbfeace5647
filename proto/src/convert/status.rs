//! What a gRPC status carries besides its code: the failure itself, for programs.

use bytes::Bytes;
use prost::Message;
use simplekv_types::Failure;

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

/// The details of a status that tells of this failure.
#[must_use]
pub fn status_details(failure: &Failure) -> Bytes {
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
    fn a_status_brings_its_failure_along() {
        for code in FailureCode::ALL {
            let failure = code.example();
            assert_eq!(failure_in_details(&status_details(&failure)), Some(failure));
        }
        assert_eq!(failure_in_details(b""), None);
        assert_eq!(failure_in_details(b"no status at all"), None);
    }
}
