//! One operation a call, for people and for languages without a smart client.

use std::sync::Arc;

use simplekv_proto::convert::{Answer, Call, Malformed};
use simplekv_proto::v1;
use simplekv_proto::v1::kv_server::Kv;
use simplekv_types::Reply;
use tonic::{Request, Response, Status};

use crate::dispatch::{Door, Operation, Seen};
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

    async fn answer(&self, call: impl TryInto<Call, Error = Malformed>) -> Result<Answer, Status> {
        let Call { words, policy, mut session, identity } = call.try_into()?;
        let command = data::parse(words.into()).map_err(|failure| status::failure(&failure))?;
        let seen = Some(Seen::All(Arc::new(session.clone())));
        let operation = Operation { policy, session: seen, dedupe: identity, ..Operation::plain(command) };
        let answers = self.shared.execute(Door::Lane, vec![Ok(operation)]).finish(&self.shared).await;
        let Some(answer) = answers.into_iter().next() else {
            return Err(status::refused("the operation got no answer"));
        };
        answer.seen.into_iter().for_each(|seen| session.observe(seen));
        match answer.reply {
            Reply::Error(failure) => Err(status::failure(&failure)),
            reply => Ok(Answer { reply, session }),
        }
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetReply>, Status> {
        Ok(Response::new(self.answer(request.into_inner()).await?.into()))
    }

    async fn set(&self, request: Request<v1::SetRequest>) -> Result<Response<v1::SetReply>, Status> {
        Ok(Response::new(self.answer(request.into_inner()).await?.into()))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteReply>, Status> {
        Ok(Response::new(self.answer(request.into_inner()).await?.into()))
    }

    async fn execute(&self, request: Request<v1::ExecuteRequest>) -> Result<Response<v1::ExecuteReply>, Status> {
        Ok(Response::new(self.answer(request.into_inner()).await?.into()))
    }
}
