//! One execution: the bytes of one connection, and what must hold whatever they are.

use bytes::{Bytes, BytesMut};
use simplekv_resp::control::Credentials;
use simplekv_resp::decode::Decoder;
use simplekv_resp::facts::{ClusterFacts, Facts, InfoFacts, Mode, RoleFacts, Verdict};
use simplekv_resp::table::keys_of;
use simplekv_resp::{
    Args, Body, Collected, Command, Control, Parser, Protocol, ProtocolError, Request, RequestLimits, Session, encode,
};
use simplekv_types::Reply;

use crate::bytes::{connection, pieces};
use crate::memory;
use crate::rng::Rng;
use crate::words::Grammar;

/// What an execution may need at most, beside the bytes themselves: a few bytes for each that arrived, and what is needed for any.
const BYTES_PER_BYTE: usize = 160;
const BYTES_AT_LEAST: usize = 64 << 10;

/// Small ones, so that they are met.
const NARROW: RequestLimits =
    RequestLimits { request_bytes: 200, argument_bytes: 64, arguments: 8, inline_bytes: 48, unauthenticated: true };

/// What came of many executions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Requests cut out of the bytes.
    pub(crate) requests: u64,
    /// Of these, those that mean something.
    pub(crate) understood: u64,
    /// Of these, those that do not.
    pub(crate) refused: u64,
    /// Connections that could not be understood any further.
    pub(crate) broken: u64,
    /// Most memory an execution needed, in bytes.
    pub(crate) most: usize,
}

/// Makes executions of seeds and judges them.
pub(crate) struct Judge {
    grammar: Grammar,
}

/// Requests cut out of a connection's bytes, and what ended it.
type Cut = (Vec<Args>, Option<ProtocolError>);

impl Judge {
    pub(crate) fn new() -> Self {
        Self { grammar: Grammar::new() }
    }

    /// The bytes of a seed, and what chance has left to decide.
    pub(crate) fn input(&self, seed: u64) -> (Vec<u8>, Rng) {
        let mut rng = Rng::new(seed);
        (connection(&self.grammar, &mut rng), rng)
    }

    /// Panics if anything does not hold.
    pub(crate) fn execute(&self, seed: u64, tally: &mut Tally) {
        let (input, mut rng) = self.input(seed);
        let limits = if rng.one_in(4) { NARROW } else { RequestLimits::default() };
        let ends = pieces(input.len(), &mut rng);
        let (judged, needed) = memory::needed_by(|| {
            let cut = cut(&input, &ends, limits);
            if ends.len() > 1 {
                assert_eq!(self::cut(&input, &[input.len()], limits), cut, "what it means depends on how it arrives");
            }
            let (requests, error) = cut;
            (requests.len() as u64, judge(requests, rng.one_in(8)), u64::from(error.is_some()))
        });
        let limit = BYTES_AT_LEAST + input.len() * BYTES_PER_BYTE;
        assert!(needed <= limit, "{needed} bytes of memory for {} bytes that arrived", input.len());
        let (requests, understood, broken) = judged;
        tally.requests += requests;
        tally.understood += understood;
        tally.refused += requests - understood;
        tally.broken += broken;
        tally.most = tally.most.max(needed);
        if rng.one_in(4) {
            decode(&input, &ends);
        }
    }
}

/// Feeds a parser with what arrives together.
fn cut(input: &[u8], ends: &[usize], limits: RequestLimits) -> Cut {
    let mut parser = Parser::new(limits);
    let (mut buffer, mut requests, mut start) = (BytesMut::new(), Vec::new(), 0);
    for &end in ends {
        buffer.extend_from_slice(input.get(start..end).unwrap_or_default());
        start = end;
        loop {
            match parser.next(&mut buffer) {
                Ok(Some(args)) => requests.push(args),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// Judges what the requests mean. How many mean something.
fn judge(requests: Vec<Args>, in_transaction: bool) -> u64 {
    let mut session = in_transaction.then(|| Session::new(1, String::new(), String::new(), false, 0));
    let mut understood = 0;
    for args in requests {
        let keys: Option<Vec<_>> = keys_of(&args).ok().map(|keys| keys.cloned().collect());
        match Request::parse(args.clone()) {
            Ok(Request { spec, body: Body::Data(command) }) => {
                understood += 1;
                assert!(spec.is_write() || !command.is_write(), "{command:?} writes, its row does not say so");
                assert_eq!(Some(command.keys().cloned().collect()), keys_unless_within(&command, keys), "{command:?}");
                let again = Request::parse(command.to_args()).map(|again| again.body);
                assert_eq!(again, Ok(Body::Data(command)), "on the way back to words something was lost");
            }
            Ok(Request { body: Body::Control(_), .. }) => understood += 1,
            Err(failure) => answer(&Reply::Error(failure)),
        }
        if let Some(session) = &mut session {
            collect(session, args);
        }
    }
    understood
}

/// Where keys stand within a request within a request the table does not say.
fn keys_unless_within(command: &Command, keys: Option<Vec<Bytes>>) -> Option<Vec<Bytes>> {
    if matches!(command, Command::Atomic(_)) { Some(command.keys().cloned().collect()) } else { keys }
}

/// What becomes of a request after MULTI.
fn collect(session: &mut Session, args: Args) {
    if !session.is_collecting() {
        let _ok = session.answer(&Control::Multi, &Nobody);
    }
    match session.collect(args) {
        Collected::Answered(reply) => answer(&reply),
        Collected::Exec(transaction) => drop(transaction.atomic().map(|command| command.to_args())),
        Collected::Now(_) => (),
    }
}

/// An answer can be decoded, in both protocols.
fn answer(reply: &Reply) {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut bytes = BytesMut::new();
        encode::reply(reply, protocol, &mut bytes);
        let frame = Decoder::new().next(&mut bytes);
        assert!(matches!(frame, Ok(Some(_))) && bytes.is_empty(), "{reply:?} is answered as {frame:?}");
    }
}

/// A process that knows nothing.
struct Nobody;

impl Facts for Nobody {
    fn now_micros(&self) -> u64 {
        0
    }

    fn mode(&self) -> Mode {
        Mode::Standalone
    }

    fn role(&self) -> RoleFacts {
        RoleFacts::default()
    }

    fn info(&self) -> InfoFacts {
        InfoFacts::default()
    }

    fn cluster(&self) -> Option<ClusterFacts> {
        None
    }

    fn check(&self, _credentials: &Credentials) -> Verdict {
        Verdict::NotNeeded
    }
}

/// What arrives may be anything for a client as well. What it means does not depend on how it arrives.
fn decode(input: &[u8], ends: &[usize]) {
    let all = |ends: &[usize]| {
        let (mut decoder, mut buffer, mut frames, mut start) = (Decoder::new(), BytesMut::new(), Vec::new(), 0);
        for &end in ends {
            buffer.extend_from_slice(input.get(start..end).unwrap_or_default());
            start = end;
            loop {
                match decoder.next(&mut buffer) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => return frames,
                }
            }
        }
        frames
    };
    let (frames, needed) = memory::needed_by(|| all(ends));
    let limit = BYTES_AT_LEAST + input.len() * BYTES_PER_BYTE;
    assert!(needed <= limit, "{needed} bytes of memory to decode {} bytes", input.len());
    if ends.len() > 1 {
        // As texts: what is no number is not equal to itself.
        assert_eq!(format!("{:?}", all(&[input.len()])), format!("{frames:?}"));
    }
}
