//! One node: its services, and its life.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use simplekv_proto::v1::data_server::{Data, DataServer};
use simplekv_proto::v1::topology_server::{Topology, TopologyServer};
use simplekv_proto::{Draft, Op, v1};
use simplekv_types::{Epoch, Failure, GroupId, NodeId, Position, Reply, Slot, SlotMapVersion};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, WatchStream};
use tonic::{Request, Response, Status, Streaming};

use super::keyspace::{NOW, slot_of};
use super::{FRAME_BYTES_MAX, Seen, Verdict, World};

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub struct RunningNode(Runtime);

/// Any free port, or that of a node whose process has just been killed: it may take a moment to be closed.
pub fn listen(address: Option<SocketAddr>) -> std::net::TcpListener {
    let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = (0..1000).find_map(|_| {
        let bound = std::net::TcpListener::bind(address);
        if bound.is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        bound.ok()
    });
    let listener = listener.unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

impl RunningNode {
    pub fn start(id: u32, listener: std::net::TcpListener, world: Arc<World>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let services = Services { id, world };
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder()
                .add_service(DataServer::new(services.clone()).max_decoding_message_size(FRAME_BYTES_MAX))
                .add_service(TopologyServer::new(services))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self(runtime)
    }

    pub fn kill(self) {
        self.0.shutdown_background();
    }
}

#[derive(Clone)]
struct Services {
    id: u32,
    world: Arc<World>,
}

#[tonic::async_trait]
impl Topology for Services {
    type WatchStream = BoxStream<v1::TopologyUpdate>;

    async fn get(&self, _: Request<v1::GetTopologyRequest>) -> Result<Response<v1::TopologyUpdate>, Status> {
        *self.world.topology_requests.lock() += 1;
        Ok(Response::new(self.world.topology.borrow().clone()))
    }

    async fn watch(&self, _: Request<v1::WatchTopologyRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !*self.world.push.lock() {
            return Err(Status::unavailable("not today"));
        }
        Ok(Response::new(WatchStream::new(self.world.topology.subscribe()).map(Ok).boxed()))
    }
}

#[tonic::async_trait]
impl Data for Services {
    type CallStream = BoxStream<v1::ReplyFrame>;
    type ListenStream = BoxStream<v1::Event>;

    async fn listen(&self, _: Request<Streaming<v1::ListenRequest>>) -> Result<Response<Self::ListenStream>, Status> {
        Err(Status::unimplemented("nothing happens here"))
    }

    async fn call(&self, request: Request<Streaming<v1::RequestFrame>>) -> Result<Response<Self::CallStream>, Status> {
        let (frames, replies) = mpsc::channel(64);
        tokio::spawn(self.clone().serve(request.into_inner(), frames));
        let mut response = Response::new(ReceiverStream::new(replies).boxed());
        response.metadata_mut().insert(simplekv_proto::FRAME_BYTES_MAX, FRAME_BYTES_MAX.into());
        Ok(response)
    }
}

impl Services {
    async fn serve(self, mut frames: Streaming<v1::RequestFrame>, out: mpsc::Sender<Result<v1::ReplyFrame, Status>>) {
        while let Ok(Some(frame)) = frames.message().await {
            self.world.frames.lock().push(frame.len());
            let mut answers = v1::ReplyFrame::default();
            for op in frame.ops() {
                let op = op.unwrap();
                let (id, seen) = (op.id, self.see(&frame.client_id, frame.map_version, &op));
                let mut attempt = seen.attempt().max(1);
                let mut position: Option<Position> = None;
                let reply = match self.world.verdict(&seen) {
                    Verdict::Serve => self.execute(&seen, &op.args),
                    Verdict::Refuse(failure) => Reply::Error(failure),
                    Verdict::Answer(reply) => reply,
                    Verdict::AnswerAsAttempt(other) => {
                        attempt = other;
                        Reply::Ok
                    }
                    Verdict::Ignore => continue,
                    Verdict::ServeSilently => {
                        self.execute(&seen, &op.args);
                        continue;
                    }
                    Verdict::HangUp => return,
                    Verdict::ServeAt(at) => {
                        position = Some(at);
                        self.execute(&seen, &op.args)
                    }
                    Verdict::ServeAndHangUp => {
                        self.execute(&seen, &op.args);
                        return;
                    }
                };
                let mut bytes = Vec::new();
                Draft::new(id, reply, NOW, attempt, position).write(&mut bytes);
                answers.push(bytes.into(), 1);
            }
            answers.topology_version = self.world.topology.borrow().version;
            let mut answering = self.world.answers.subscribe();
            let out = out.clone();
            tokio::spawn(async move {
                let _ = answering.wait_for(|open| *open).await;
                let _ = out.send(Ok(answers)).await;
            });
        }
    }

    fn see(&self, client: &[u8], map_version: u64, op: &Op) -> Seen {
        let mut args: Vec<String> = op.args.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        args[0].make_ascii_uppercase();
        Seen {
            node: self.id,
            client: client.to_vec(),
            args,
            dedupe: op.dedupe.map(|dedupe| dedupe.try_into().unwrap()),
            is_read: op.dedupe.is_none(),
            group: op.group,
            map_version,
            policy: op.read.map(Into::into).unwrap_or_default(),
            floor: op.seen.map(|seen| seen.try_into().unwrap()),
        }
    }

    fn execute(&self, seen: &Seen, args: &[bytes::Bytes]) -> Reply {
        if let Err(failure) = self.check(seen, args) {
            return Reply::Error(failure);
        }
        if seen.group != 0 {
            return self.of_group(seen);
        }
        self.world.keys.lock().run(&seen.client, seen.dedupe, args)
    }

    /// Whether this node may answer.
    fn check(&self, seen: &Seen, args: &[bytes::Bytes]) -> Result<(), Failure> {
        let topology = self.world.topology.borrow();
        let slot = slot_of(args);
        let number = u32::from(slot.number());
        let group = match seen.group {
            0 => {
                let owner = topology.slots.iter().find(|owner| (owner.first..=owner.last).contains(&number));
                owner.ok_or(Failure::SlotUnserved { slot })?.group
            }
            group => group,
        };
        let group = topology.groups.iter().find(|known| known.id == group).unwrap();
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
    fn of_group(&self, seen: &Seen) -> Reply {
        let topology = self.world.topology.borrow();
        let is_mine = |key: &[u8]| {
            let number = u32::from(Slot::of_key(key).number());
            topology.slots.iter().any(|o| o.group == seen.group && (o.first..=o.last).contains(&number))
        };
        let mut keys = self.world.keys.lock();
        let mine: Vec<Vec<u8>> = keys.names().into_iter().filter(|key| is_mine(key)).collect();
        let bulk = |key: &Vec<u8>| Reply::Bulk(key.clone().into());
        match seen.name() {
            "DBSIZE" => Reply::Int(i64::try_from(mine.len()).unwrap()),
            "KEYS" => Reply::Array(mine.iter().map(bulk).collect()),
            "RANDOMKEY" => mine.first().map_or(Reply::Null, bulk),
            "FLUSHALL" | "FLUSHDB" => {
                mine.into_iter().for_each(|key| keys.remove(key));
                Reply::Ok
            }
            "SCAN" => scan(&seen.args, mine),
            other => Reply::Error(Failure::Command(format!("ERR the mock does not know '{other}'").into())),
        }
    }
}

/// Two keys at a time, of which those with the prefix are named, by slot and then by name. As in a real node a cursor is the slot,
/// and below it the place within.
fn scan(args: &[String], keys: Vec<Vec<u8>>) -> Reply {
    let number = |at: usize| args[at].parse::<u64>().unwrap();
    let within = args.iter().position(|word| word == "SLOTS").map_or((0, 16383), |at| (number(at + 1), number(at + 2)));
    let pattern = args.iter().position(|word| word == "MATCH").map(|at| args[at + 1].replace('\\', ""));
    let prefix = pattern.as_ref().map_or("", |pattern| pattern.strip_suffix('*').unwrap());
    let mut places: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut keys: Vec<(u64, Vec<u8>)> =
        keys.into_iter().map(|key| (u64::from(Slot::of_key(&key).number()), key)).collect();
    keys.sort();
    for (slot, key) in keys {
        let before = places.iter().filter(|(place, _)| place >> 39 == slot).count() as u64;
        places.push((slot << 39 | before, key));
    }
    places.retain(|(place, _)| (within.0..=within.1).contains(&(place >> 39)) && *place >= number(1));
    let next = places.get(2).map_or(0, |(place, _)| *place);
    let page = places.into_iter().take(2).filter(|(_, key)| key.starts_with(prefix.as_bytes()));
    let page = page.map(|(_, key)| Reply::Bulk(key.into())).collect();
    Reply::Array(vec![Reply::text(next.to_string()), Reply::Array(page)])
}
