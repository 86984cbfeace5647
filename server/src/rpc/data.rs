//! The smart client's lane: frames of operations in, frames of replies out.
//!
//! A frame is executed as one batch, so that its writes share a turn of their group's log and its reads one lease check. Frames of
//! one lane run beside each other: a frame that waits for a commit does not hold up the next.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use simplekv_proto::convert::{Malformed, client_id};
use simplekv_proto::v1::data_server::Data;
use simplekv_proto::{Draft, FRAME_BYTES_MAX, Op, v1};
use simplekv_resp::{Args, Body, Command};
use simplekv_types::limits::{FRAME_OPS_MAX, LANE_MESSAGE_BYTES_MAX};
use simplekv_types::{ClientId, Dedupe, Failure, GroupId, Position, ReadPolicy, Reply, SlotMapVersion};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::budget;
use crate::dispatch::{Door, Execution, Operation, Seen};
use crate::group::Answer;
use crate::metrics::Metrics;
use crate::rpc::{listen, status};
use crate::shared::Shared;

/// Frames of one lane that may wait at a time; further ones stay in the stream's flow control.
const FRAMES_AT_ONCE: usize = 64;
/// How long a lane waits for the slot map by which it was chosen.
const MAP_PATIENCE: Duration = Duration::from_millis(200);
/// Frames of replies made and not yet sent.
const REPLY_FRAMES_AT_ONCE: usize = 16;
/// Events made and not yet sent.
const EVENTS_AT_ONCE: usize = 64;
/// Replies are cut into frames of this many bytes; a greater reply travels alone.
const REPLY_FRAME_BYTES: usize = 1 << 20;
/// What most replies take.
const REPLY_BYTES_USUAL: usize = 64;
/// Greatest reply: a client takes no greater frame, and there must be room around it.
const REPLY_BYTES_MAX: usize = LANE_MESSAGE_BYTES_MAX - (1 << 10);

/// The data service of one node.
#[derive(Debug)]
pub(crate) struct DataService {
    shared: Arc<Shared>,
    /// Greatest request frame this service was told to decode.
    frame_bytes_max: usize,
}

impl DataService {
    pub(crate) fn new(shared: Arc<Shared>, frame_bytes_max: usize) -> Self {
        Self { shared, frame_bytes_max }
    }
}

#[tonic::async_trait]
impl Data for DataService {
    type CallStream = ReceiverStream<Result<v1::ReplyFrame, Status>>;
    type ListenStream = ReceiverStream<Result<v1::Event, Status>>;

    async fn call(&self, request: Request<Streaming<v1::RequestFrame>>) -> Result<Response<Self::CallStream>, Status> {
        let (sender, replies) = mpsc::channel(REPLY_FRAMES_AT_ONCE);
        let lane = serve(Arc::clone(&self.shared), request.into_inner(), sender);
        tokio::spawn(self.shared.stopping().clone().run_until_cancelled_owned(lane));
        let mut response = Response::new(ReceiverStream::new(replies));
        response.metadata_mut().insert(FRAME_BYTES_MAX, self.frame_bytes_max.into());
        Ok(response)
    }

    async fn listen(
        &self,
        request: Request<Streaming<v1::ListenRequest>>,
    ) -> Result<Response<Self::ListenStream>, Status> {
        let (sender, events) = mpsc::channel(EVENTS_AT_ONCE);
        let listening = listen::serve(Arc::clone(&self.shared), request.into_inner(), sender);
        tokio::spawn(self.shared.stopping().clone().run_until_cancelled_owned(listening));
        Ok(Response::new(ReceiverStream::new(events)))
    }
}

async fn serve(
    shared: Arc<Shared>,
    mut frames: Streaming<v1::RequestFrame>,
    replies: mpsc::Sender<Result<v1::ReplyFrame, Status>>,
) {
    let waiting = Arc::new(Semaphore::new(FRAMES_AT_ONCE));
    loop {
        let begun = match frames.message().await {
            Ok(Some(frame)) => understand(&shared, &frame),
            Ok(None) => return,
            // The client learns why its lane ends.
            Err(status) => Err(status),
        };
        match begun {
            Err(refused) => {
                let _ = replies.send(Err(refused)).await;
                return;
            }
            Ok(mut frame) => {
                // By an older map the sender would be sent back to where it comes from.
                if shared.routing().slot_map_version < frame.map_version {
                    let _ = tokio::time::timeout(MAP_PATIENCE, shared.knows_slot_map(frame.map_version)).await;
                }
                let piece = frame.split_off(&shared);
                let execution = shared.execute(Door::Lane, piece.operations);
                if frame.operations.is_empty() && execution.is_done() {
                    if !answer(&shared, &piece.labels, execution, &replies).await {
                        return;
                    }
                    continue;
                }
                let Ok(permit) = Arc::clone(&waiting).acquire_owned().await else { return };
                let (shared, replies) = (Arc::clone(&shared), replies.clone());
                tokio::spawn(async move {
                    // If nobody listens any more, the client has its own way of finding out what became of its writes.
                    if answer(&shared, &piece.labels, execution, &replies).await {
                        answer_rest(&shared, frame, &replies).await;
                    }
                    drop(permit);
                });
            }
        }
    }
}

/// Executes piece by piece what would be too much to be answered at once.
async fn answer_rest(shared: &Shared, mut frame: Frame, replies: &mpsc::Sender<Result<v1::ReplyFrame, Status>>) {
    while !frame.operations.is_empty() {
        let piece = frame.split_off(shared);
        let execution = shared.execute(Door::Lane, piece.operations);
        if !answer(shared, &piece.labels, execution, replies).await {
            return;
        }
    }
}

/// Sends the answers once they are there. `false`: nobody listens any more.
async fn answer(
    shared: &Shared,
    labels: &[Label],
    execution: Execution,
    replies: &mpsc::Sender<Result<v1::ReplyFrame, Status>>,
) -> bool {
    let answers = execution.finish(shared).await;
    let failed = answers.iter().filter(|answer| matches!(answer.reply, Reply::Error(_))).count();
    if failed > 0 {
        Metrics::add(&shared.metrics().failed_commands, failed as u64);
    }
    for frame in reply_frames(shared.topology_version(), labels, answers) {
        if replies.send(Ok(frame)).await.is_err() {
            return false;
        }
    }
    true
}

/// What of an operation is needed to answer it.
#[derive(Clone, Copy)]
struct Label {
    id: u64,
    attempt: u32,
    /// Whether it may have changed something.
    writes: bool,
    /// Whether somebody is told when what it read changes.
    tracked: bool,
}

/// What a frame asks for.
struct Frame {
    /// The slot map by which the sender found this node.
    map_version: SlotMapVersion,
    /// One for each operation.
    labels: Vec<Label>,
    operations: Vec<Result<Operation, Failure>>,
}

impl Frame {
    /// Takes off what can be answered together, from the first operation on; usually that is all.
    fn split_off(&mut self, shared: &Shared) -> Self {
        let count = match self.operations.len() {
            count @ (0 | 1) => count,
            _ => budget::fitting(shared, &self.operations, shared.limits().output_bytes),
        };
        let (labels, operations) = (self.labels.split_off(count), self.operations.split_off(count));
        let later = Self { map_version: self.map_version, labels, operations };
        std::mem::replace(self, later)
    }
}

fn understand(shared: &Shared, frame: &v1::RequestFrame) -> Result<Frame, Status> {
    let client = client_id(&frame.client_id).map_err(|error| status::malformed(&error))?;
    if frame.len() > FRAME_OPS_MAX {
        let error = Malformed::Range { field: "ops", got: frame.len() as u64, expected: "must be at most 4096" };
        return Err(status::malformed(&error));
    }
    let mut labels = Vec::with_capacity(frame.len());
    let mut operations = Vec::with_capacity(frame.len());
    for op in frame.ops() {
        let op = op.map_err(|error| status::malformed(&error.into()))?;
        let (id, tracker) = (op.id, op.tracker);
        let attempt = op.dedupe.as_ref().map_or(1, |dedupe| dedupe.attempt);
        let operation = operation(client, op)?;
        let command = operation.as_ref().ok().map(|operation| &operation.command);
        let writes = command.is_some_and(Command::is_write);
        // Before it is read: a change in between is told.
        let tracked = tracker != 0 && command.is_some_and(|command| shared.tracking().read(tracker, command));
        labels.push(Label { id, attempt, writes, tracked });
        operations.push(operation);
    }
    Metrics::add(&shared.metrics().lane_commands, operations.len() as u64);
    Ok(Frame { map_version: SlotMapVersion(frame.map_version), labels, operations })
}

fn operation(client: Option<ClientId>, op: Op) -> Result<Result<Operation, Failure>, Status> {
    let dedupe = op.dedupe.map(Dedupe::try_from).transpose().map_err(|error| status::malformed(&error))?;
    let timeout = (op.timeout_ms > 0).then(|| Duration::from_millis(op.timeout_ms.into()));
    let policy = op.read.map(ReadPolicy::from).unwrap_or_default();
    let group = (op.group != 0).then_some(GroupId(op.group));
    let seen = op.seen.map(Position::try_from).transpose().map_err(|error| status::malformed(&error))?;
    let (session, dedupe) = (seen.map(Seen::Of), client.zip(dedupe));
    Ok(parse(op.args).map(|command| Operation { policy, session, dedupe, timeout, group, ..Operation::plain(command) }))
}

/// A data command, as RESP would parse it.
pub(crate) fn parse(args: Args) -> Result<Command, Failure> {
    match simplekv_resp::Request::parse(args)?.body {
        Body::Data(command) => Ok(command),
        Body::Control(_) => Err(Failure::command("ERR this command is about a connection, which a lane does not have")),
    }
}

/// The answers in their order, in as many frames as their sizes need.
fn reply_frames(topology_version: u64, labels: &[Label], answers: Vec<Answer>) -> Vec<v1::ReplyFrame> {
    let frame = |bytes: Vec<u8>, count| {
        let mut frame = v1::ReplyFrame::new(topology_version);
        frame.push(bytes.into(), count);
        frame
    };
    let mut frames = Vec::with_capacity(1);
    let (mut bytes, mut count) = (Vec::with_capacity(REPLY_BYTES_USUAL * labels.len()), 0);
    for (&label, answer) in labels.iter().zip(answers) {
        let reply = op_reply(label, answer, REPLY_BYTES_MAX);
        if count > 0 && bytes.len() + reply.len() > REPLY_FRAME_BYTES {
            frames.push(frame(std::mem::take(&mut bytes), std::mem::take(&mut count)));
        }
        count += 1;
        reply.write(&mut bytes);
    }
    frames.push(frame(bytes, count));
    frames
}

/// The reply to one operation. One that no client would take is replaced: its frame would end the lane.
fn op_reply(label: Label, answer: Answer, bytes_max: usize) -> Draft {
    let (id, attempt, seen) = (label.id, label.attempt, answer.seen.first().copied());
    let of = |reply| Draft::new(id, reply, answer.time, attempt, seen).tracked(label.tracked);
    let reply = of(answer.reply);
    let size = reply.len();
    if size <= bytes_max {
        return reply;
    }
    let failure = if label.writes {
        Failure::Uncertain { reason: Cow::Borrowed("the result is too large to be sent") }
    } else {
        Failure::TooLarge { what: "reply", size: size as u64, limit: bytes_max as u64 }
    };
    of(failure.into())
}

#[cfg(test)]
mod tests {
    use simplekv_types::GroupTime;
    use smallvec::SmallVec;

    use super::*;

    fn label(id: u64, writes: bool) -> Label {
        Label { id, attempt: 1, writes, tracked: false }
    }

    fn value(bytes: usize) -> Answer {
        Answer { reply: Reply::Bulk(vec![7; bytes].into()), time: GroupTime(1), seen: SmallVec::new() }
    }

    #[test]
    fn replies_keep_their_order_and_no_frame_grows_beyond_its_size() {
        let sizes = [10, 600 << 10, 600 << 10, 3 << 20, 10, 10];
        let labels: Vec<Label> = (1..).map(|id| label(id, false)).take(sizes.len()).collect();
        let frames = reply_frames(9, &labels, sizes.map(value).into());
        let ids: Vec<Vec<u64>> =
            frames.iter().map(|frame| frame.replies().map(|reply| reply.unwrap().id).collect()).collect();
        assert_eq!(ids, [vec![1, 2], vec![3], vec![4], vec![5, 6]]);
        assert!(frames.iter().all(|frame| frame.topology_version == 9));
    }

    #[test]
    fn no_operations_are_answered_by_an_empty_frame() {
        let [frame] = &reply_frames(9, &[], Vec::new())[..] else { panic!("one frame") };
        assert_eq!((frame.len(), frame.topology_version), (0, 9));
    }

    #[test]
    fn a_reply_no_client_takes_is_replaced_by_what_is_wrong_with_it() {
        let read = |draft: Draft| {
            let (mut bytes, mut frame) = (Vec::new(), v1::ReplyFrame::default());
            draft.write(&mut bytes);
            frame.push(bytes.into(), 1);
            frame.replies().next().unwrap().unwrap().reply.unwrap()
        };
        let failure = |writes| match read(op_reply(label(1, writes), value(2000), 1000)) {
            Reply::Error(failure) => failure,
            other => panic!("{other:?}"),
        };
        assert!(matches!(failure(false), Failure::TooLarge { what: "reply", limit: 1000, .. }));
        assert!(failure(true).may_have_applied(), "the write was done");
        assert!(op_reply(label(1, false), value(900), 1000).len() > 900);
    }
}
