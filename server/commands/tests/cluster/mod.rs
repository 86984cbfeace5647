//! Three nodes that lead a group each and follow another, in threads, with plain maps for data: enough of a cluster for Redis' own
//! tools to believe in.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::BytesMut;
use simplekv_commands::{Model, answer_slot_query, write};
use simplekv_resp::control::{ClusterCommand, Credentials};
use simplekv_resp::facts::{
    ClusterFacts, Facts, GroupFacts, InfoFacts, Mode, NodeFacts, RoleFacts, Verdict, group_id, node_id,
};
use simplekv_resp::{Answer, Body, Command, Control, Parser, Request, Session, encode};
use simplekv_types::{ClusterId, Failure, GroupId, GroupTime, NodeId, Reply, Slot, SlotMap, SlotMapVersion};

const NODES: u32 = 3;
const CLUSTER: ClusterId = ClusterId(0x51_4b56);
/// Time does not pass.
const NOW_MILLIS: u64 = 1_700_000_000_000;

pub(crate) struct Cluster {
    facts: ClusterFacts,
    /// The keys of each group; node `n` leads group `n`.
    groups: Vec<Mutex<Model>>,
}

impl Cluster {
    /// Starts the nodes and returns their ports. Their threads end with the process.
    pub(crate) fn start() -> Vec<u16> {
        let listeners: Vec<TcpListener> = (0..NODES).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let cluster = Arc::new(Self::with_ports(&ports));
        for (node, listener) in listeners.into_iter().enumerate() {
            let cluster = Arc::clone(&cluster);
            thread::spawn(move || {
                for (id, stream) in listener.incoming().enumerate() {
                    let cluster = Arc::clone(&cluster);
                    thread::spawn(move || Connection::serve(&cluster, node, id as u64 + 1, stream.unwrap()));
                }
            });
        }
        ports
    }

    fn with_ports(ports: &[u16]) -> Self {
        let ids: Vec<GroupId> = (1..=NODES).map(GroupId).collect();
        let map = SlotMap::spread(&ids);
        let node = |(at, port): (u32, &u16)| NodeFacts {
            id: node_id(CLUSTER, NodeId(at + 1)),
            host: "127.0.0.1".to_owned(),
            port: *port,
            is_up: true,
        };
        let group = |id: &GroupId| GroupFacts {
            id: group_id(CLUSTER, *id),
            slots: map.ranges_of(*id).collect(),
            leader: Some(id.0 as usize - 1),
            followers: vec![(id.0 % NODES) as usize],
            epoch: u64::from(id.0),
            log_end: 7,
        };
        let groups: Vec<GroupFacts> = ids.iter().map(group).collect();
        let models = groups.iter().map(|group| Mutex::new(Model::new().serving(group.slots.clone()))).collect();
        Self { facts: ClusterFacts { myself: 0, nodes: (0..).zip(ports).map(node).collect(), groups }, groups: models }
    }

    fn owner(&self, slot: Slot) -> usize {
        self.facts.groups.iter().position(|group| group.slots.iter().any(|range| range.contains(slot))).unwrap()
    }
}

struct NodeView<'a> {
    cluster: &'a Cluster,
    node: usize,
}

impl Facts for NodeView<'_> {
    fn now_micros(&self) -> u64 {
        NOW_MILLIS * 1000
    }

    fn mode(&self) -> Mode {
        Mode::Cluster
    }

    fn role(&self) -> RoleFacts {
        RoleFacts::default()
    }

    fn info(&self) -> InfoFacts {
        InfoFacts { mode: Mode::Cluster, run_id: "0".repeat(40), ..InfoFacts::default() }
    }

    fn cluster(&self) -> Option<ClusterFacts> {
        Some(ClusterFacts { myself: self.node, ..self.cluster.facts.clone() })
    }

    fn check(&self, _credentials: &Credentials) -> Verdict {
        Verdict::NotNeeded
    }
}

struct Connection<'a> {
    view: NodeView<'a>,
    session: Session,
}

impl Connection<'_> {
    fn serve(cluster: &Cluster, node: usize, id: u64, mut stream: TcpStream) {
        let session =
            Session::new(id, stream.peer_addr().unwrap().to_string(), String::new(), false, NOW_MILLIS * 1000);
        let mut connection = Connection { view: NodeView { cluster, node }, session };
        let (mut parser, mut received, mut chunk) = (Parser::default(), BytesMut::new(), vec![0; 65_536]);
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            received.extend_from_slice(&chunk[..count]);
            let mut out = BytesMut::new();
            let mut open = true;
            while open {
                match parser.next(&mut received) {
                    Ok(Some(args)) => open = connection.answer(args, &mut out),
                    Ok(None) => break,
                    Err(error) => {
                        encode::reply(&Reply::Error(error.into()), connection.session.protocol(), &mut out);
                        open = false;
                    }
                }
            }
            if stream.write_all(&out).is_err() || !open {
                return;
            }
        }
    }

    /// Appends the reply to a request. False if the connection is to be closed.
    fn answer(&mut self, args: simplekv_resp::Args, out: &mut BytesMut) -> bool {
        let request = Request::parse(args);
        let heard = self.session.hears(request.as_ref().ok());
        let (reply, open) = match request {
            Err(failure) => (failure.into(), true),
            Ok(Request { spec, body }) => match (self.session.admit(spec), body) {
                (Err(failure), _) => (failure.into(), true),
                (Ok(()), Body::Data(command)) => (self.data(&command), true),
                (Ok(()), Body::Control(control)) => match self.session.answer(&control, &self.view) {
                    Answer::Reply(reply) => (reply, true),
                    Answer::Close(reply) => (reply, false),
                    Answer::NotMine => (self.slots(&control), true),
                },
            },
        };
        if heard {
            encode::reply(&reply, self.session.protocol(), out);
        }
        open
    }

    fn data(&self, command: &Command) -> Reply {
        let NodeView { cluster, node } = self.view;
        let group = match command.slot() {
            Err(failure) => return failure.into(),
            Ok(None) => node,
            Ok(Some(slot)) => {
                let group = cluster.owner(slot);
                let follows = cluster.facts.groups[group].followers.contains(&node);
                if group != node && !(follows && self.session.reads_followers() && !command.is_write()) {
                    let address = format!("127.0.0.1:{}", cluster.facts.nodes[group].port);
                    let (id, version) = (GroupId(group as u32 + 1), SlotMapVersion(1));
                    return Failure::Moved { slot, group: id, node: None, address, version }.into();
                }
                group
            }
        };
        write(command, &mut *cluster.groups[group].lock().unwrap(), GroupTime(NOW_MILLIS))
    }

    fn slots(&self, control: &Control) -> Reply {
        let NodeView { cluster, node } = self.view;
        let command: Option<&ClusterCommand> =
            if let Control::Cluster(command) = control { Some(command) } else { None };
        let model = cluster.groups[node].lock().unwrap();
        command
            .and_then(|command| answer_slot_query(command, &*model, GroupTime(NOW_MILLIS)))
            .unwrap_or(Reply::Error(Failure::command("ERR not here")))
    }
}
