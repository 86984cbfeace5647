//! What a node answers.

use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use simplekv_client::{Failure, GroupId, NodeId, Position, Reply};
use simplekv_proto::v1::data_server::{Data, DataServer};
use simplekv_proto::v1::topology_server::{Topology, TopologyServer};
use simplekv_proto::{Draft, Op, v1};
use simplekv_resp::Command;
use simplekv_types::{Epoch, Lineage, SlotMapVersion};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, WatchStream};
use tonic::{Request, Response, Status, Streaming};

use super::keyspace::{parse, slot_of};
use super::verdict::{Seen, Verdict};
use super::world::World;
use super::{FRAME_BYTES_MAX, events, layout};

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Out<T> = mpsc::Sender<Result<T, Status>>;

/// Frames and events that wait to be sent on one stream.
const UNSENT_MAX: usize = 64;

#[derive(Clone)]
pub(super) struct Services {
    pub(super) id: u32,
    pub(super) world: Arc<World>,
}

#[tonic::async_trait]
impl Topology for Services {
    type WatchStream = BoxStream<v1::TopologyUpdate>;

    async fn get(&self, _: Request<v1::GetTopologyRequest>) -> Result<Response<v1::TopologyUpdate>, Status> {
        self.world.is_awake(self.id).await;
        *self.world.topology_requests.lock() += 1;
        Ok(Response::new(self.world.topology.borrow().clone()))
    }

    async fn watch(&self, _: Request<v1::WatchTopologyRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.world.is_awake(self.id).await;
        if !*self.world.push.lock() {
            return Err(Status::unavailable("not today"));
        }
        let node = self.clone();
        let updates = WatchStream::new(self.world.topology.subscribe()).then(move |update| {
            let node = node.clone();
            async move {
                node.world.is_awake(node.id).await;
                Ok(update)
            }
        });
        Ok(Response::new(updates.boxed()))
    }
}

#[tonic::async_trait]
impl Data for Services {
    type CallStream = BoxStream<v1::ReplyFrame>;
    type ListenStream = BoxStream<v1::Event>;

    async fn listen(
        &self,
        request: Request<Streaming<v1::ListenRequest>>,
    ) -> Result<Response<Self::ListenStream>, Status> {
        self.world.is_awake(self.id).await;
        let (events, told) = mpsc::channel(UNSENT_MAX);
        tokio::spawn(events::serve(self.id, Arc::clone(&self.world), request.into_inner(), events));
        Ok(Response::new(ReceiverStream::new(told).boxed()))
    }

    async fn call(&self, request: Request<Streaming<v1::RequestFrame>>) -> Result<Response<Self::CallStream>, Status> {
        self.world.is_awake(self.id).await;
        let (frames, replies) = mpsc::channel(UNSENT_MAX);
        tokio::spawn(self.clone().serve(request.into_inner(), frames));
        let mut response = Response::new(ReceiverStream::new(replies).boxed());
        response.metadata_mut().insert(simplekv_proto::FRAME_BYTES_MAX, FRAME_BYTES_MAX.into());
        Ok(response)
    }
}

/// What came of an operation that was done.
struct Executed {
    reply: Reply,
    /// Where that is in the group's log.
    position: Option<Position>,
    /// Whether changes of what it read will be told.
    tracked: bool,
}

/// What becomes of one operation.
enum Done {
    Answered(Draft),
    Late(Draft, Duration),
    Silent,
    /// The stream ends.
    Over,
}

impl Services {
    pub(super) async fn serve_at(self, listener: TcpListener) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
        let served = tonic::transport::Server::builder()
            .add_service(DataServer::new(self.clone()).max_decoding_message_size(FRAME_BYTES_MAX))
            .add_service(TopologyServer::new(self))
            .serve_with_incoming(TcpListenerStream::new(listener));
        served.await.expect("connections are accepted as long as the node runs");
    }

    async fn serve(self, mut frames: Streaming<v1::RequestFrame>, out: Out<v1::ReplyFrame>) {
        while let Ok(Some(frame)) = frames.message().await {
            self.world.is_awake(self.id).await;
            self.world.frames.lock().push(frame.len());
            let mut replies = Vec::new();
            for op in frame.ops() {
                let Ok(op) = op else { return };
                let seen = Seen::new(self.id, &frame.client_id, frame.map_version, &op);
                match self.done(&seen, &op) {
                    Done::Answered(reply) => replies.push(reply),
                    Done::Late(reply, delay) => self.send(vec![reply], delay, &out),
                    Done::Silent => (),
                    Done::Over => return,
                }
            }
            self.send(replies, Duration::ZERO, &out);
        }
    }

    /// Does with an operation what is to be done with it.
    fn done(&self, seen: &Seen, op: &Op) -> Done {
        let mut attempt = seen.attempt().max(1);
        let verdict = self.world.verdict(seen);
        let said = |reply| Executed { reply, position: None, tracked: self.track(op) };
        let done = match &verdict {
            Verdict::Serve | Verdict::ServeLate(_) | Verdict::ServeSilently | Verdict::ServeAndHangUp => {
                self.execute(seen, op)
            }
            Verdict::ServeAt(at) => Executed { position: Some(*at), ..self.execute(seen, op) },
            Verdict::Refuse(failure) => said(Reply::Error(failure.clone())),
            Verdict::Answer(reply) => said(reply.clone()),
            Verdict::AnswerAsAttempt(other) => {
                attempt = *other;
                said(Reply::Ok)
            }
            Verdict::Ignore | Verdict::HangUp => said(Reply::Ok),
        };
        let Executed { reply, position, tracked } = done;
        let reply = Draft::new(op.id, reply, self.world.keys.lock().now(), attempt, position).tracked(tracked);
        match verdict {
            Verdict::Ignore | Verdict::ServeSilently => Done::Silent,
            Verdict::HangUp | Verdict::ServeAndHangUp => Done::Over,
            Verdict::ServeLate(delay) => Done::Late(reply, delay),
            _ => Done::Answered(reply),
        }
    }

    /// Takes down what an operation reads; whether changes of that will be told.
    fn track(&self, op: &Op) -> bool {
        op.tracker != 0 && parse(&op.args).is_ok_and(|command| self.world.readers.read(self.id, op.tracker, &command))
    }

    /// Sends answers when the time has come for them, and the node answers at all.
    fn send(&self, replies: Vec<Draft>, delay: Duration, out: &Out<v1::ReplyFrame>) {
        let mut bytes = Vec::new();
        replies.iter().for_each(|reply| reply.write(&mut bytes));
        let mut frame = v1::ReplyFrame::new(self.world.topology.borrow().version);
        frame.push(bytes.into(), replies.len());
        let delay = delay + self.world.latency();
        let (node, out) = (self.clone(), out.clone());
        tokio::spawn(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let _ = node.world.answers.subscribe().wait_for(|answers| *answers).await;
            node.world.is_awake(node.id).await;
            let _ = out.send(Ok(frame)).await;
        });
    }

    /// Does it if a real node would, and where that is then in the group's log.
    fn execute(&self, seen: &Seen, op: &Op) -> Executed {
        let args = &op.args[..];
        let without_place = |reply| Executed { reply, position: None, tracked: self.track(op) };
        if let Err(failure) = self.check(seen, args) {
            return without_place(Reply::Error(failure));
        }
        if seen.group != 0 {
            return without_place(self.of_group(seen.group, args));
        }
        let (id, epoch, version) = {
            let topology = self.world.topology.borrow();
            let owner = layout::owner(&topology, slot_of(args));
            let (id, epoch) = owner.map_or((0, 0), |group| (group.id, group.epoch));
            (GroupId(id), Epoch(epoch), SlotMapVersion(topology.slot_map_version))
        };
        let mut keys = self.world.keys.lock();
        // With the keys held still: whoever sees that a key is tracked changes it behind this read.
        let tracked = self.track(op);
        let before = keys.changes();
        let reply = keys.run(&seen.client, seen.dedupe, args);
        let has_changed = keys.changes() != before;
        let end = keys.end_of(id, has_changed);
        drop(keys);
        if has_changed {
            let command = parse(args);
            self.world.readers.changed(command.iter().flat_map(Command::keys).map(|key| &key[..]));
            self.world.tell_of_change();
        }
        let position = Some(Position { group: id, slots: version, lineage: Lineage(0), epoch, end });
        Executed { reply, position, tracked }
    }

    /// Whether this node may answer.
    fn check(&self, seen: &Seen, args: &[Bytes]) -> Result<(), Failure> {
        let topology = self.world.topology.borrow();
        let slot = slot_of(args);
        let group = match seen.group {
            0 => layout::owner(&topology, slot),
            id => topology.groups.iter().find(|known| known.id == id),
        };
        let group = group.ok_or(Failure::SlotUnserved { slot })?;
        let leader = (group.leader != 0).then_some(NodeId(group.leader));
        if leader == Some(NodeId(self.id)) {
            return Ok(());
        }
        let id = GroupId(group.id);
        let address = String::new();
        if !group.replicas.contains(&self.id) {
            let version = SlotMapVersion(topology.slot_map_version);
            return Err(Failure::Moved { slot, group: id, node: leader, address, version });
        }
        if seen.is_read && group.in_sync.contains(&self.id) {
            return Ok(());
        }
        Err(match leader {
            None => Failure::NoLeader { group: id },
            Some(_) => Failure::NotLeader { slot, group: id, leader, address, epoch: Epoch(group.epoch) },
        })
    }

    /// Commands without keys, over the slots of one group.
    fn of_group(&self, group: u32, args: &[Bytes]) -> Reply {
        let slots = layout::slots_of(&self.world.topology.borrow(), group);
        let mut keys = self.world.keys.lock();
        let before = keys.changes();
        let reply = keys.run_over(slots, args);
        if keys.changes() != before {
            self.world.readers.everything();
        }
        reply
    }
}
