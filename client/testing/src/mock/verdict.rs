//! What is asked, and what is done about it.

use std::time::Duration;

use simplekv_client::{Failure, Position, ReadPolicy, Reply};
use simplekv_proto::Op;
use simplekv_types::Dedupe;

/// A request as a node saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The node.
    pub node: u32,
    /// The client's identity.
    pub client: Vec<u8>,
    /// The words, as text; the command's name in upper case.
    pub args: Vec<String>,
    /// The identity of a write that may be asked for again.
    pub dedupe: Option<Dedupe>,
    /// Whether it has no identity, as all reads and the writes that are sent once.
    pub is_read: bool,
    /// The group it is for, 0 if its keys say.
    pub group: u32,
    /// By which slot map the client found the node.
    pub map_version: u64,
    /// Which replicas may answer; the default for a write.
    pub policy: ReadPolicy,
    /// What the answer must not be older than.
    pub floor: Option<Position>,
}

impl Seen {
    pub(super) fn new(node: u32, client: &[u8], map_version: u64, op: &Op) -> Self {
        let mut args: Vec<String> = op.args.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        if let Some(name) = args.first_mut() {
            name.make_ascii_uppercase();
        }
        Self {
            node,
            client: client.to_vec(),
            args,
            dedupe: op.dedupe.map(|dedupe| dedupe.try_into().expect("the client sends what can be read")),
            is_read: op.dedupe.is_none(),
            group: op.group,
            map_version,
            policy: op.read.map(Into::into).unwrap_or_default(),
            floor: op.seen.map(|seen| seen.try_into().expect("the client sends what can be read")),
        }
    }

    /// The command's name in upper case.
    #[must_use]
    pub fn name(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    /// The number of the attempt, from 1; 0 for what has no identity.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.dedupe.map_or(0, |dedupe| dedupe.attempt)
    }
}

/// What a node does with a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// What a real node would do.
    Serve,
    /// Refuses it.
    Refuse(Failure),
    /// Answers this without doing it.
    Answer(Reply),
    /// Answers without doing it, as if another attempt had been made.
    AnswerAsAttempt(u32),
    /// Says nothing.
    Ignore,
    /// Does it, and says nothing.
    ServeSilently,
    /// Does it, and says so this much later. Requests behind it need not wait for that.
    ServeLate(Duration),
    /// Ends the stream without doing it. What else was asked there, and not answered yet, is lost with it.
    HangUp,
    /// Does it, and ends the stream before the answer.
    ServeAndHangUp,
    /// Does it, and says that it was read or written here.
    ServeAt(Position),
}
