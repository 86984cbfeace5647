//! One operation a call, for people and for languages without a smart client.

use std::sync::Arc;

use bytes::Bytes;
use simplekv_proto::convert::client_id;
use simplekv_proto::v1;
use simplekv_proto::v1::kv_server::Kv;
use simplekv_types::{Dedupe, ReadPolicy, Reply, SessionToken};
use tonic::{Request, Response, Status};

use crate::dispatch::{Door, Operation, Seen};
use crate::rpc::{data, status};
use crate::shared::Shared;

/// The unary service of one node.
#[derive(Debug)]
pub(crate) struct KvService {
    shared: Arc<Shared>,
}

/// What was answered, and the token of the session after it.
struct Answered {
    reply: Reply,
    session: String,
}

impl KvService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn one(
        &self,
        args: impl IntoIterator<Item = Bytes>,
        policy: ReadPolicy,
        session: &str,
    ) -> Result<Answered, Status> {
        let command = data::parse(args.into_iter().collect()).map_err(|failure| status::failure(&failure))?;
        self.run(Operation { policy, ..Operation::plain(command) }, session).await
    }

    async fn run(&self, operation: Operation, session: &str) -> Result<Answered, Status> {
        let mut token = SessionToken::new();
        if !session.is_empty() {
            token =
                session.parse().map_err(|error: simplekv_types::InvalidToken| status::invalid(error.to_string()))?;
        }
        let operation = Operation { session: Some(Seen::All(Arc::new(token.clone()))), ..operation };
        let answers = self.shared.execute(Door::Lane, vec![Ok(operation)]).finish(&self.shared).await;
        let Some(answer) = answers.into_iter().next() else {
            return Err(status::refused("the operation got no answer"));
        };
        answer.seen.into_iter().for_each(|seen| token.observe(seen));
        match answer.reply {
            Reply::Error(failure) => Err(status::failure(&failure)),
            reply => Ok(Answered { reply, session: token.to_string() }),
        }
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetReply>, Status> {
        let request = request.into_inner();
        let policy = request.read.map(ReadPolicy::from).unwrap_or_default();
        let args = [Bytes::from_static(b"GET"), request.key];
        let Answered { reply, session } = self.one(args, policy, &request.session).await?;
        let reply = match reply {
            Reply::Bulk(value) => v1::GetReply { found: true, value, session },
            _ => v1::GetReply { session, ..v1::GetReply::default() },
        };
        Ok(Response::new(reply))
    }

    async fn set(&self, request: Request<v1::SetRequest>) -> Result<Response<v1::SetReply>, Status> {
        let request = request.into_inner();
        let mut args = vec![Bytes::from_static(b"SET"), request.key, request.value];
        if request.ttl_ms > 0 {
            args.extend([Bytes::from_static(b"PX"), Bytes::from(request.ttl_ms.to_string())]);
        }
        let Answered { session, .. } = self.one(args, ReadPolicy::default(), &request.session).await?;
        Ok(Response::new(v1::SetReply { session }))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteReply>, Status> {
        let request = request.into_inner();
        let args = [Bytes::from_static(b"DEL"), request.key];
        let Answered { reply, session } = self.one(args, ReadPolicy::default(), &request.session).await?;
        Ok(Response::new(v1::DeleteReply { deleted: reply == Reply::Int(1), session }))
    }

    async fn execute(&self, request: Request<v1::ExecuteRequest>) -> Result<Response<v1::ExecuteReply>, Status> {
        let request = request.into_inner();
        let client = client_id(&request.client_id).map_err(|error| status::malformed(&error))?;
        let dedupe = request.dedupe.map(Dedupe::try_from).transpose().map_err(|error| status::malformed(&error))?;
        let command = data::parse(request.args.into()).map_err(|failure| status::failure(&failure))?;
        let policy = request.read.map(ReadPolicy::from).unwrap_or_default();
        let operation = Operation { policy, dedupe: client.zip(dedupe), ..Operation::plain(command) };
        let Answered { reply, session } = self.run(operation, &request.session).await?;
        Ok(Response::new(v1::ExecuteReply { value: Some(reply.into()), session }))
    }
}
