//! The conversation with one node's admin service.

use std::future::Future;
use std::time::Duration;

use simplekv_proto::v1;
use simplekv_proto::v1::admin_client::AdminClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::failure::{Failure, Purpose};

/// How long to wait for an answer unless told otherwise. Longer than a failover, so that a command just passes over one.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A large cluster's status, with room to spare.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A connected node.
pub(crate) struct Connection {
    server: String,
    timeout: Duration,
    admin: AdminClient<Channel>,
}

impl Connection {
    pub(crate) async fn open(server: &str, timeout: Option<Duration>) -> Result<Self, Failure> {
        let timeout = timeout.unwrap_or(TIMEOUT);
        let endpoint = Endpoint::from_shared(format!("http://{server}")).map_err(|_| Failure::bad_address(server))?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT.min(timeout));
        let channel = endpoint.connect().await.map_err(|error| Failure::unreachable(server, &innermost(&error)))?;
        let admin = AdminClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { server: server.to_owned(), timeout, admin })
    }

    pub(crate) async fn status(&mut self) -> Result<v1::StatusReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Look, admin.status(v1::StatusRequest {})).await
    }

    pub(crate) async fn init(&mut self, request: v1::InitRequest) -> Result<v1::InitReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Change, admin.init(request)).await
    }

    pub(crate) async fn add_group(&mut self, request: v1::AddGroupRequest) -> Result<v1::AddGroupReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Change, admin.add_group(request)).await
    }

    pub(crate) async fn transfer_leader(
        &mut self,
        request: v1::TransferLeaderRequest,
    ) -> Result<v1::TransferLeaderReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Change, admin.transfer_leader(request)).await
    }

    pub(crate) async fn recover_group(
        &mut self,
        request: v1::RecoverGroupRequest,
    ) -> Result<v1::RecoverGroupReply, Failure> {
        let Self { server, timeout, admin } = self;
        let purpose = if request.accept_data_loss { Purpose::Change } else { Purpose::Look };
        call(server, *timeout, purpose, admin.recover_group(request)).await
    }

    pub(crate) async fn set_recovery(
        &mut self,
        request: v1::SetRecoveryRequest,
    ) -> Result<v1::SetRecoveryReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Change, admin.set_recovery(request)).await
    }

    pub(crate) async fn load(&mut self, request: v1::LoadRequest) -> Result<v1::LoadReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Look, admin.load(request)).await
    }

    pub(crate) async fn move_slots(&mut self, request: v1::MoveSlotsRequest) -> Result<v1::MoveSlotsReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Change, admin.move_slots(request)).await
    }

    pub(crate) async fn jobs(&mut self) -> Result<v1::JobsReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Look, admin.jobs(v1::JobsRequest {})).await
    }

    pub(crate) async fn change_job(&mut self, request: v1::ChangeJobRequest) -> Result<v1::ChangeJobReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Change, admin.change_job(request)).await
    }

    pub(crate) async fn explain(&mut self, request: v1::ExplainRequest) -> Result<v1::ExplainReply, Failure> {
        let Self { server, timeout, admin } = self;
        call(server, *timeout, Purpose::Look, admin.explain(request)).await
    }
}

async fn call<T>(
    server: &str,
    timeout: Duration,
    purpose: Purpose,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Failure::refused(server, &status, purpose)),
        Err(_) => Err(Failure::timed_out(server, timeout, purpose)),
    }
}

/// The cause at the bottom: "connection refused", not "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
