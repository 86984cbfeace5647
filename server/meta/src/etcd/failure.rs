//! What an error of the client library says about the call's effect.

use std::error::Error;

use crate::MetaError;

/// A failed call, by what is certain about it.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection was there to send it on.
    NotSent(String),
    /// etcd answered that it did nothing, for a reason that passes.
    Refused(String),
    /// etcd wants a new login first.
    LoginExpired(String),
    /// etcd answered that it never will.
    Invalid(String),
    /// A session that is named in the call has ended; nothing was done.
    SessionUnknown(String),
    /// Anything else: it may have been done, or may yet be.
    Unknown(String),
}

impl Failure {
    pub(super) fn silence(limit: std::time::Duration) -> Self {
        Self::Unknown(format!("no answer within {limit:?}"))
    }

    pub(super) fn reason(&self) -> &str {
        match self {
            Self::NotSent(reason)
            | Self::Refused(reason)
            | Self::LoginExpired(reason)
            | Self::Invalid(reason)
            | Self::SessionUnknown(reason)
            | Self::Unknown(reason) => reason,
        }
    }

    /// Whether the fault may lie with the endpoint, so that another one may do better.
    pub(super) fn is_of_endpoint(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Refused(_) | Self::Unknown(_) => true,
            Self::LoginExpired(_) | Self::Invalid(_) | Self::SessionUnknown(_) => false,
        }
    }
}

impl From<etcd_client::Error> for Failure {
    fn from(error: etcd_client::Error) -> Self {
        use etcd_client::Error as E;
        let reason = describe(&error);
        match &error {
            E::GRpcStatus(status) if never_connected(status) => Self::NotSent(reason),
            E::TransportError(transport) if never_connected(transport) => Self::NotSent(reason),
            E::GRpcStatus(status) => answer(status, reason),
            E::InvalidArgs(_) | E::InvalidUri(_) | E::InvalidMetadataValue(_) => Self::Invalid(reason),
            _ => Self::Unknown(reason),
        }
    }
}

/// Reads a status as etcd's answer. Only what etcd itself says in so many words is taken for certain: a status can also be made
/// up on this side, as when an answer is too large to decode.
fn answer(status: &tonic::Status, reason: String) -> Failure {
    use tonic::Code;
    let Some(what) = status.message().strip_prefix("etcdserver: ") else { return Failure::Unknown(reason) };
    match (status.code(), what) {
        // Said before the request is proposed. Not so "request timed out" and "leader changed", which come after.
        (Code::Unavailable, "no leader") | (Code::ResourceExhausted, "too many requests") => Failure::Refused(reason),
        (Code::Unauthenticated, _) => Failure::LoginExpired(reason),
        (Code::NotFound, "requested lease not found") => Failure::SessionUnknown(reason),
        (Code::InvalidArgument | Code::PermissionDenied | Code::FailedPrecondition, _) => Failure::Invalid(reason),
        // In particular "mvcc: database space exceeded": the write that fills the quota gets that answer and is done all the same.
        _ => Failure::Unknown(reason),
    }
}

/// Whether the error was met while the connection was being made.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn describe(error: &etcd_client::Error) -> String {
    match error {
        etcd_client::Error::GRpcStatus(status) => format!("{:?}: {}", status.code(), status.message()),
        other => other.to_string(),
    }
}

/// A failed transaction, as its caller sees it.
pub(super) fn of_txn(failure: Failure, session: Option<crate::SessionId>) -> MetaError {
    match (failure, session) {
        (Failure::SessionUnknown(_), Some(session)) => MetaError::SessionLost { session },
        (Failure::Unknown(reason), _) => MetaError::Unknown { reason },
        (Failure::Invalid(reason), _) => MetaError::Invalid { reason },
        (other, _) => MetaError::Unavailable { reason: other.reason().to_owned() },
    }
}

/// A failed read: it has no effect in any case.
pub(super) fn of_read(failure: Failure) -> MetaError {
    match failure {
        Failure::Invalid(reason) => MetaError::Invalid { reason },
        other => MetaError::Unavailable { reason: other.reason().to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    fn of(code: Code, message: &str) -> Failure {
        Failure::from(etcd_client::Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn only_what_etcd_says_before_proposing_is_certain() {
        assert!(matches!(of(Code::Unavailable, "etcdserver: no leader"), Failure::Refused(_)));
        assert!(matches!(of(Code::Unavailable, "etcdserver: request timed out"), Failure::Unknown(_)));
        assert!(matches!(of(Code::Unavailable, "etcdserver: leader changed"), Failure::Unknown(_)));
        assert!(matches!(
            of(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            Failure::Unknown(_)
        ));
        assert!(matches!(of(Code::InvalidArgument, "etcdserver: request is too large"), Failure::Invalid(_)));
        assert!(matches!(of(Code::OutOfRange, "decoded message length too large"), Failure::Unknown(_)));
        assert!(matches!(of(Code::InvalidArgument, "made up on this side"), Failure::Unknown(_)));
        assert!(matches!(of(Code::Unavailable, "tcp connect error"), Failure::Unknown(_)));
    }

    #[test]
    fn a_connection_that_was_never_made_carried_nothing() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(tonic::ConnectError(Box::new(refused))));
        assert!(matches!(Failure::from(etcd_client::Error::GRpcStatus(status)), Failure::NotSent(_)));
    }
}
