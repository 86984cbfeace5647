//! One operation a call, for people and for languages without a smart client.

use std::sync::Arc;

use bytes::Bytes;
use simplekv_proto::convert::client_id;
use simplekv_proto::v1;
use simplekv_proto::v1::kv_server::Kv;
use simplekv_types::{Dedupe, ReadPolicy, Reply};
use tonic::{Request, Response, Status};

use crate::dispatch::{Door, Operation};
use crate::rpc::{data, status};
use crate::shared::Shared;

/// The unary service of one node.
#[derive(Debug)]
pub(crate) struct KvService {
    shared: Arc<Shared>,
}

impl KvService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn one(&self, args: impl IntoIterator<Item = Bytes>, policy: ReadPolicy) -> Result<Reply, Status> {
        let command = data::parse(args.into_iter().collect()).map_err(|failure| status::failure(&failure))?;
        self.run(Operation { policy, ..Operation::plain(command) }).await
    }

    async fn run(&self, operation: Operation) -> Result<Reply, Status> {
        let answers = self.shared.execute(Door::Lane, vec![Ok(operation)]).finish().await;
        match answers.into_iter().next().map(|answer| answer.reply) {
            Some(Reply::Error(failure)) => Err(status::failure(&failure)),
            Some(reply) => Ok(reply),
            None => Err(status::refused("the operation got no answer")),
        }
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetReply>, Status> {
        let request = request.into_inner();
        let policy = request.read.map(ReadPolicy::from).unwrap_or_default();
        let reply = match self.one([Bytes::from_static(b"GET"), request.key], policy).await? {
            Reply::Bulk(value) => v1::GetReply { found: true, value },
            _ => v1::GetReply::default(),
        };
        Ok(Response::new(reply))
    }

    async fn set(&self, request: Request<v1::SetRequest>) -> Result<Response<v1::SetReply>, Status> {
        let request = request.into_inner();
        let mut args = vec![Bytes::from_static(b"SET"), request.key, request.value];
        if request.ttl_ms > 0 {
            args.extend([Bytes::from_static(b"PX"), Bytes::from(request.ttl_ms.to_string())]);
        }
        self.one(args, ReadPolicy::default()).await?;
        Ok(Response::new(v1::SetReply {}))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteReply>, Status> {
        let args = [Bytes::from_static(b"DEL"), request.into_inner().key];
        let deleted = self.one(args, ReadPolicy::default()).await? == Reply::Int(1);
        Ok(Response::new(v1::DeleteReply { deleted }))
    }

    async fn execute(&self, request: Request<v1::ExecuteRequest>) -> Result<Response<v1::ExecuteReply>, Status> {
        let request = request.into_inner();
        let client = client_id(&request.client_id).map_err(|error| status::malformed(&error))?;
        let dedupe = request.dedupe.map(Dedupe::try_from).transpose().map_err(|error| status::malformed(&error))?;
        let command = data::parse(request.args.into()).map_err(|failure| status::failure(&failure))?;
        let policy = request.read.map(ReadPolicy::from).unwrap_or_default();
        let operation = Operation { policy, dedupe: client.zip(dedupe), ..Operation::plain(command) };
        let reply = self.run(operation).await?;
        Ok(Response::new(v1::ExecuteReply { value: Some(reply.into()) }))
    }
}
