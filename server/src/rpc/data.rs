//! The smart client's lane: frames of operations in, frames of replies out.
//!
//! A frame is executed as one batch, so that its writes share a turn of their group's log and its reads one lease check. Frames of
//! one lane run beside each other: a frame that waits for a commit does not hold up the next.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use simplekv_proto::convert::{Malformed, client_id};
use simplekv_proto::v1;
use simplekv_proto::v1::data_server::Data;
use simplekv_resp::{Args, Body, Command};
use simplekv_types::{ClientId, Dedupe, Failure, GroupId, ReadPolicy};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::dispatch::{Door, Execution, Operation};
use crate::group::Answer;
use crate::rpc::status;
use crate::shared::Shared;

/// Frames of one lane that may wait at a time; further ones stay in the stream's flow control.
const FRAMES_AT_ONCE: usize = 64;
/// Most operations in one frame.
const OPS_MAX: usize = 4096;

/// The data service of one node.
#[derive(Debug)]
pub(crate) struct DataService {
    shared: Arc<Shared>,
}

impl DataService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl Data for DataService {
    type CallStream = ReceiverStream<Result<v1::ReplyFrame, Status>>;

    async fn call(&self, request: Request<Streaming<v1::RequestFrame>>) -> Result<Response<Self::CallStream>, Status> {
        let (sender, replies) = mpsc::channel(FRAMES_AT_ONCE);
        let lane = serve(Arc::clone(&self.shared), request.into_inner(), sender);
        tokio::spawn(self.shared.stopping().clone().run_until_cancelled_owned(lane));
        Ok(Response::new(ReceiverStream::new(replies)))
    }
}

async fn serve(
    shared: Arc<Shared>,
    mut frames: Streaming<v1::RequestFrame>,
    replies: mpsc::Sender<Result<v1::ReplyFrame, Status>>,
) {
    let waiting = Arc::new(Semaphore::new(FRAMES_AT_ONCE));
    while let Ok(Some(frame)) = frames.message().await {
        match begin(&shared, frame) {
            Err(refused) => {
                let _ = replies.send(Err(refused)).await;
                return;
            }
            Ok((ids, execution)) => {
                if execution.is_done() {
                    let frame = reply_frame(&shared, &ids, execution.finish().await);
                    if replies.send(Ok(frame)).await.is_err() {
                        return;
                    }
                    continue;
                }
                let Ok(permit) = Arc::clone(&waiting).acquire_owned().await else { return };
                let (shared, replies) = (Arc::clone(&shared), replies.clone());
                tokio::spawn(async move {
                    let frame = reply_frame(&shared, &ids, execution.finish().await);
                    // Nobody listens any more: the client has its own way of finding out what became of its writes.
                    let _ = replies.send(Ok(frame)).await;
                    drop(permit);
                });
            }
        }
    }
}

/// What an operation's reply must repeat.
struct Label {
    id: u64,
    attempt: u32,
}

fn begin(shared: &Arc<Shared>, frame: v1::RequestFrame) -> Result<(Vec<Label>, Execution), Status> {
    let client = client_id(&frame.client_id).map_err(|error| status::malformed(&error))?;
    if frame.ops.len() > OPS_MAX {
        let error = Malformed::Range { field: "ops", got: frame.ops.len() as u64, expected: "must be at most 4096" };
        return Err(status::malformed(&error));
    }
    let labels =
        frame.ops.iter().map(|op| Label { id: op.id, attempt: op.dedupe.as_ref().map_or(1, |d| d.attempt) }).collect();
    let operations = frame.ops.into_iter().map(|op| operation(client, op)).collect::<Result<Vec<_>, _>>()?;
    Ok((labels, shared.execute(Door::Lane, operations)))
}

fn operation(client: Option<ClientId>, op: v1::Op) -> Result<Result<Operation, Failure>, Status> {
    let dedupe = op.dedupe.map(Dedupe::try_from).transpose().map_err(|error| status::malformed(&error))?;
    let timeout = (op.timeout_ms > 0).then(|| Duration::from_millis(op.timeout_ms.into()));
    let policy = op.read.map(ReadPolicy::from).unwrap_or_default();
    let group = (op.group != 0).then_some(GroupId(op.group));
    Ok(parse(op.args.into()).map(|command| Operation { command, policy, dedupe: client.zip(dedupe), timeout, group }))
}

/// A data command, as RESP would parse it.
pub(crate) fn parse(args: Args) -> Result<Command, Failure> {
    match simplekv_resp::Request::parse(args)?.body {
        Body::Data(command) => Ok(command),
        Body::Control(_) => Err(Failure::command("ERR this command is about a connection, which a lane does not have")),
    }
}

fn reply_frame(shared: &Shared, labels: &[Label], answers: Vec<Answer>) -> v1::ReplyFrame {
    let replies = labels.iter().zip(answers).map(|(label, answer)| v1::OpReply {
        id: label.id,
        attempt: label.attempt,
        group_time: answer.time.0,
        value: Some(answer.reply.into()),
        token: Bytes::new(),
    });
    v1::ReplyFrame { replies: replies.collect(), topology_version: shared.topology_version() }
}
