//! One operation a call.

use std::sync::Arc;

use simplekv_client::RequestId;
use simplekv_proto::convert::{Answer, Call, Malformed, status_of};
use simplekv_proto::v1;
use simplekv_proto::v1::kv_server::Kv;
use simplekv_types::{Dedupe, Reply};
use tonic::{Request, Response, Status};

use super::{deadline, limits};
use crate::resp::Alone;
use crate::shared::Shared;

/// The unary service, for all groups.
#[derive(Debug)]
pub(super) struct KvService {
    shared: Arc<Shared>,
}

impl KvService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Runs in the call's own future: a caller that cancels, or is gone, drops it and all it waits for.
    async fn answer<R>(&self, request: Request<R>) -> Result<Answer, Status>
    where
        R: TryInto<Call, Error = Malformed>,
    {
        limits::has_arrived(request.extensions());
        let patience = deadline::patience(request.metadata())?;
        let Call { words, policy, session, identity } = request.into_inner().try_into()?;
        let session = self.shared.client.resume(session);
        let identity = identity.map(|(client, Dedupe { seq, deadline, .. })| RequestId { client, seq, deadline });
        let alone = Alone { words: words.into(), policy, identity, patience };
        match alone.run(&self.shared, &session).await {
            Reply::Error(failure) => Err(status_of(&failure)),
            reply => Ok(Answer { reply, session: session.token() }),
        }
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetReply>, Status> {
        Ok(Response::new(self.answer(request).await?.into()))
    }

    async fn set(&self, request: Request<v1::SetRequest>) -> Result<Response<v1::SetReply>, Status> {
        Ok(Response::new(self.answer(request).await?.into()))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteReply>, Status> {
        Ok(Response::new(self.answer(request).await?.into()))
    }

    async fn execute(&self, request: Request<v1::ExecuteRequest>) -> Result<Response<v1::ExecuteReply>, Status> {
        Ok(Response::new(self.answer(request).await?.into()))
    }
}
