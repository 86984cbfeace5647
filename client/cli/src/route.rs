//! Where a key is, and which of its replicas would answer a read now.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use simplekv_resp::decode::Frame;

use crate::connection::{Connection, ConnectionError, Server};
use crate::session::{Reads, moved_to, words};

/// A replica that has said nothing for so long would not answer "now".
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// What CLIENT ROUTE answered, and what the replicas said themselves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    slot: i64,
    group: Option<i64>,
    epoch: Option<i64>,
    leader: Option<String>,
    replicas: Vec<Replica>,
    /// Which reads were tried.
    policy: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Replica {
    node: Option<i64>,
    address: String,
    role: String,
    is_up: bool,
    /// `None` until it was tried.
    verdict: Option<Verdict>,
}

/// What a replica said to a read.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Answers {
        took: Duration,
    },
    /// The reader has to go there.
    Sends {
        to: String,
    },
    Refuses {
        reason: String,
    },
    Unreachable {
        reason: String,
    },
}

impl Place {
    /// Understands the reply to CLIENT ROUTE.
    pub(crate) fn read(reply: &Frame) -> Option<Self> {
        let fields = Fields::of(reply)?;
        Some(Self {
            slot: fields.number("slot")?,
            group: fields.number("group"),
            epoch: fields.number("epoch"),
            leader: fields.text("leader"),
            replicas: match fields.get("replicas")? {
                Frame::Array(replicas) => replicas.iter().map(Replica::read).collect::<Option<_>>()?,
                _ => return None,
            },
            policy: String::new(),
        })
    }

    /// Has every replica try to read the key, all at once.
    pub(crate) fn try_replicas(mut self, key: &Bytes, reads: Option<&Reads>, patience: Duration) -> Self {
        // What a router chooses for whoever chooses nothing.
        let reads = reads.cloned().unwrap_or(Reads { policy: simplekv_types::ReadPolicy::Linearizable, token: None });
        self.policy = reads.policy.to_string();
        std::thread::scope(|scope| {
            let tries: Vec<_> = self
                .replicas
                .iter()
                .map(|replica| replica.address.clone())
                .map(|address| scope.spawn(|| try_read(address, key, &reads, patience)))
                .collect();
            for (replica, tried) in self.replicas.iter_mut().zip(tries) {
                replica.verdict = tried.join().ok();
            }
        });
        self
    }

    /// For people.
    pub(crate) fn text(&self, key: &Bytes) -> String {
        let mut text = format!("key    {}\nslot   {}\ngroup  ", String::from_utf8_lossy(key), self.slot);
        // Writing to a string does not fail.
        let _ = match self.group {
            None => write!(text, "none: nobody owns the slot"),
            Some(group) => write!(
                text,
                "g{group}, epoch {}, {}\nreads  {}",
                self.epoch.unwrap_or_default(),
                self.leader.as_ref().map_or_else(|| "nobody leads it".to_owned(), |leader| format!("led by {leader}")),
                self.policy
            ),
        };
        let width = self.replicas.iter().map(|replica| replica.address.len()).max().unwrap_or(0);
        for replica in &self.replicas {
            let node = replica.node.map_or_else(|| "?".to_owned(), |node| format!("n{node}"));
            let verdict = replica.verdict.as_ref().map_or_else(String::new, Verdict::text);
            let _ = write!(text, "\n  {node:<4} {:width$}  {:8}  {verdict}", replica.address, replica.role);
            if !replica.is_up {
                text.push_str(" (it is thought to be down)");
            }
        }
        text
    }

    /// For programs.
    pub(crate) fn frame(&self) -> Frame {
        let number = |number: Option<i64>| number.map_or(Frame::Null, Frame::Int);
        map(vec![
            ("slot", Frame::Int(self.slot)),
            ("group", number(self.group)),
            ("epoch", number(self.epoch)),
            ("leader", self.leader.as_deref().map_or(Frame::Null, text)),
            ("read", text(&self.policy)),
            ("replicas", Frame::Array(self.replicas.iter().map(Replica::frame).collect())),
        ])
    }
}

impl Replica {
    fn read(reply: &Frame) -> Option<Self> {
        let fields = Fields::of(reply)?;
        Some(Self {
            node: fields.number("node"),
            address: fields.text("address")?,
            role: fields.text("role")?,
            is_up: fields.text("state")? == "up",
            verdict: None,
        })
    }

    fn frame(&self) -> Frame {
        let mut pairs = vec![
            ("node", self.node.map_or(Frame::Null, Frame::Int)),
            ("address", text(&self.address)),
            ("role", text(&self.role)),
            ("up", Frame::Bool(self.is_up)),
            ("answers", Frame::Bool(matches!(self.verdict, Some(Verdict::Answers { .. })))),
        ];
        pairs.extend(match &self.verdict {
            None => None,
            Some(Verdict::Answers { took }) => {
                Some(("micros", Frame::Int(i64::try_from(took.as_micros()).unwrap_or(i64::MAX))))
            }
            Some(Verdict::Sends { to }) => Some(("sends_to", text(to))),
            Some(Verdict::Refuses { reason } | Verdict::Unreachable { reason }) => Some(("reason", text(reason))),
        });
        map(pairs)
    }
}

impl Verdict {
    fn text(&self) -> String {
        match self {
            Self::Answers { took } => format!("answers ({:.1} ms)", took.as_secs_f64() * 1000.0),
            Self::Sends { to } => format!("sends readers to {to}"),
            Self::Refuses { reason } => format!("does not answer: {reason}"),
            Self::Unreachable { reason } => format!("is not reached from here: {reason}"),
        }
    }
}

fn try_read(address: String, key: &Bytes, reads: &Reads, patience: Duration) -> Verdict {
    let Ok(server) = address.parse::<Server>() else {
        return Verdict::Unreachable { reason: format!("`{address}` is no address of the Redis protocol") };
    };
    let read = || -> Result<(Frame, Duration), ConnectionError> {
        let mut connection = Connection::open(&server, Some(patience))?;
        connection.begin_with(&reads.request())?;
        let begun = Instant::now();
        let reply = connection.ask(&[words(&["EXISTS"]), vec![key.clone()]].concat())?;
        Ok((reply, begun.elapsed()))
    };
    match read() {
        Ok((reply, took)) => match (moved_to(&reply), reply) {
            (Some(to), _) => Verdict::Sends { to: to.to_string() },
            (None, Frame::Error(reason)) => Verdict::Refuses { reason: String::from_utf8_lossy(&reason).into_owned() },
            (None, _) => Verdict::Answers { took },
        },
        Err(ConnectionError::Connect { reason, .. } | ConnectionError::Lost { reason, .. }) => {
            Verdict::Unreachable { reason: reason.to_string() }
        }
        Err(error) => Verdict::Refuses { reason: error.to_string() },
    }
}

/// A map, which RESP2 tells as a list.
struct Fields<'a>(Vec<(&'a Frame, &'a Frame)>);

impl<'a> Fields<'a> {
    fn of(reply: &'a Frame) -> Option<Self> {
        match reply {
            Frame::Map(pairs) => Some(Self(pairs.iter().map(|(name, value)| (name, value)).collect())),
            Frame::Array(items) => {
                Some(Self(items.chunks_exact(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?))).collect()))
            }
            _ => None,
        }
    }

    fn get(&self, name: &str) -> Option<&'a Frame> {
        let is_it = |known: &Frame| known.as_bytes().is_some_and(|known| &known[..] == name.as_bytes());
        self.0.iter().find(|(known, _)| is_it(known)).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Frame::Int(number) => Some(*number),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_bytes().map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

fn text(text: &str) -> Frame {
    Frame::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

fn map(pairs: Vec<(&str, Frame)>) -> Frame {
    Frame::Map(pairs.into_iter().map(|(name, value)| (text(name), value)).collect())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::json;

    /// A node that answers the choice of a read policy, and then a read, so.
    fn node(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in ["+OK\r\n", answer] {
                assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
            let _ = stream.read_to_end(&mut Vec::new());
        });
        address
    }

    fn replica(node: i64, address: &str, role: &str, state: &str) -> Frame {
        let pairs =
            [("address", address), ("role", role), ("state", state)].map(|(name, value)| [text(name), text(value)]);
        Frame::Array([vec![text("node"), Frame::Int(node)], pairs.concat()].concat())
    }

    #[test]
    fn replicas_say_themselves_whether_they_would_answer() {
        let leader = node(":1\r\n");
        let follower = node("-MOVED 5 127.0.0.1:7411\r\n");
        let loading = node("-LOADING not yet\r\n");
        // Nobody can listen there.
        let gone = "127.0.0.1:0".to_owned();
        let replicas = vec![
            replica(1, &leader, "leader", "up"),
            replica(2, &follower, "follower", "up"),
            replica(3, &loading, "follower", "up"),
            replica(4, &gone, "follower", "down"),
        ];
        let told = map(vec![
            ("slot", Frame::Int(5)),
            ("group", Frame::Int(2)),
            ("epoch", Frame::Int(7)),
            ("leader", text(&leader)),
            ("replicas", Frame::Array(replicas)),
        ]);
        let key = Bytes::from("k");
        let mut place = Place::read(&told).unwrap().try_replicas(&key, None, Duration::from_secs(60));
        let Some(Verdict::Answers { took }) = &mut place.replicas[0].verdict else { panic!("{place:?}") };
        *took = Duration::from_micros(1500);
        let Some(Verdict::Unreachable { reason }) = &mut place.replicas[3].verdict else { panic!("{place:?}") };
        *reason = "nobody there".to_owned();
        let width = [&leader, &follower, &loading, &gone].iter().map(|address| address.len()).max().unwrap();
        assert_eq!(
            place.text(&key),
            format!(
                "key    k\nslot   5\ngroup  g2, epoch 7, led by {leader}\nreads  linearizable\n  \
                 n1   {leader:width$}  leader    answers (1.5 ms)\n  \
                 n2   {follower:width$}  follower  sends readers to 127.0.0.1:7411\n  \
                 n3   {loading:width$}  follower  does not answer: LOADING not yet\n  \
                 n4   {gone:width$}  follower  is not reached from here: nobody there (it is thought to be down)"
            )
        );
        let json: serde_json::Value = serde_json::from_slice(&json::text(&place.frame())).unwrap();
        let answers: Vec<_> = json["replicas"].as_array().unwrap().iter().map(|replica| &replica["answers"]).collect();
        assert_eq!(answers, [true, false, false, false]);
        assert_eq!((&json["leader"], &json["replicas"][1]["sends_to"]), (&leader.into(), &"127.0.0.1:7411".into()));
    }

    #[test]
    fn a_slot_that_nobody_owns_is_told_so() {
        let told = map(vec![
            ("slot", Frame::Int(5)),
            ("group", Frame::Null),
            ("epoch", Frame::Null),
            ("leader", Frame::Null),
            ("replicas", Frame::Array(Vec::new())),
        ]);
        let place = Place::read(&told).unwrap().try_replicas(&Bytes::from("k"), None, PATIENCE);
        assert_eq!(place.text(&Bytes::from("k")), "key    k\nslot   5\ngroup  none: nobody owns the slot");
        assert_eq!(Place::read(&Frame::Error("ERR no".into())), None);
    }
}
