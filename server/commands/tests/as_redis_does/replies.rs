//! Every reply is compared with a real Redis'.

use bytes::{Bytes, BytesMut};
use simplekv_commands::{Model, write};
use simplekv_resp::command::{Blocking, ObjectQuestion};
use simplekv_resp::decode::{Decoder, Frame};
use simplekv_resp::table::keys_of;
use simplekv_resp::{
    Answer as SessionAnswer, Args, Body, Collected, Command, Control, Parser, Protocol, Request, Session, encode,
};
use simplekv_types::{Failure, GroupTime, Reply};

use crate::commands::{Commands, Words};
use crate::process::{Connection, Redis};
use crate::table::Nobody;

/// What is asked at once, at one time.
const CHUNK: usize = 50;
const CHUNKS: usize = 220;
/// What is asked of one Redis. Longer, and a time to live drawn at the beginning might lapse.
const SEED_COMMANDS: u64 = (CHUNK * CHUNKS) as u64;

/// Asks our own implementation, over the same bytes a client would send and receive.
struct Ours {
    keyspace: Model,
    session: Session,
    protocol: Protocol,
}

impl Ours {
    fn new(protocol: Protocol) -> Self {
        // Redis' own limit of a value, so that the same requests exceed it.
        let keyspace = Model::new().with_value_limit(512 << 20);
        Self { keyspace, session: Session::new(1, String::new(), String::new(), false, 0), protocol }
    }

    fn ask(&mut self, words: &Words, now: GroupTime) -> Frame {
        let mut bytes = BytesMut::new();
        encode::request(words, &mut bytes);
        self.ask_raw(&bytes, now)
    }

    fn ask_raw(&mut self, bytes: &[u8], now: GroupTime) -> Frame {
        let reply = match Parser::default().next(&mut BytesMut::from(bytes)) {
            Ok(args) => self.answer(args.expect("the request is complete"), now),
            Err(error) => Failure::from(error).into(),
        };
        let mut bytes = BytesMut::new();
        encode::reply(&reply, self.protocol, &mut bytes);
        Decoder::new().next(&mut bytes).unwrap().expect("a reply is complete")
    }

    /// What a node does with a request.
    fn answer(&mut self, args: Args, now: GroupTime) -> Reply {
        if self.session.is_collecting() {
            return match self.session.collect(args) {
                Collected::Answered(reply) => reply,
                Collected::Exec(mut transaction) => {
                    transaction.answer(|control| match self.session.answer(control, &Nobody) {
                        SessionAnswer::Reply(reply) => reply,
                        other => panic!("{other:?}"),
                    });
                    let atomic = transaction.atomic();
                    let done = atomic.map_or(Reply::Array(Vec::new()), |command| self.execute(&command, now));
                    transaction.conclude(done)
                }
                Collected::Now(control) => panic!("{control:?} is not about data"),
            };
        }
        match parsed(args) {
            // Nobody else does anything: waiting brings nothing.
            Ok(Request { body: Body::Data(command @ Command::Blocking(_)), .. }) => match self.execute(&command, now) {
                reply if Blocking::is_nothing(&reply) => Blocking::NOTHING,
                reply => reply,
            },
            Ok(Request { body: Body::Data(command), .. }) => self.execute(&command, now),
            Ok(Request { body: Body::Control(Control::Watch { keys }), .. }) => {
                let question = ObjectQuestion::Version;
                let version = |key: &Bytes| self.execute(&Command::Object { key: key.clone(), question }, now);
                let versions: Vec<Reply> = keys.iter().map(version).collect();
                self.session.watch(Session::watched(keys, versions).unwrap());
                Reply::Ok
            }
            Ok(Request { body: Body::Control(control), .. }) => match self.session.answer(&control, &Nobody) {
                SessionAnswer::Reply(reply) => reply,
                other => panic!("{other:?}"),
            },
            Err(failure) => failure.into(),
        }
    }

    /// Whether two answers to a search for places tell members that are equally far, and the same about each. Which of those that are
    /// comes first, Redis leaves to how it sorts.
    fn are_equally_far(&mut self, words: &Words, now: GroupTime, ours: &Frame, theirs: &Frame) -> bool {
        let (Frame::Array(ours), Frame::Array(theirs)) = (ours, theirs) else { return false };
        if !words[0].to_ascii_lowercase().starts_with(b"geo") || ours.len() != theirs.len() {
            return false;
        }
        let mut all = words.clone();
        if let Some(at) = all.iter().position(|word| word.eq_ignore_ascii_case(b"count")) {
            all.drain(at..(at + 2).min(all.len()));
        }
        all.retain(|word| !word.eq_ignore_ascii_case(b"any") && !word.to_ascii_lowercase().starts_with(b"with"));
        all.push(b"WITHDIST".to_vec());
        let Frame::Array(all) = self.ask(&all, now) else { return false };
        let distance = |row: &Frame| {
            let found = all.iter().find(|known| member(known).is_some() && member(known) == member(row))?;
            if let Frame::Array(known) = found { known.get(1).cloned() } else { None }
        };
        let is_as_told = |row: &Frame| ours.iter().all(|known| member(known) != member(row) || known == row);
        let mut rows = ours.iter().zip(theirs);
        rows.all(|(ours, theirs)| distance(ours).is_some() && distance(ours) == distance(theirs) && is_as_told(theirs))
    }

    fn execute(&mut self, command: &Command, now: GroupTime) -> Reply {
        let before = self.keyspace.changes();
        let reply = write(command, &mut self.keyspace, now);
        let changed = self.keyspace.changes() != before;
        self.keyspace.check();
        assert!(!changed || command.is_write(), "{command:?} is not a write and changed something");
        assert!(!changed || !matches!(reply, Reply::Error(_)), "{command:?} failed and changed something");
        reply
    }
}

/// The member that an element of an answer about places is about.
fn member(row: &Frame) -> Option<&Bytes> {
    match row {
        Frame::Bulk(member) => Some(member),
        Frame::Array(row) => row.first().and_then(Frame::as_bytes),
        _ => None,
    }
}

/// Understands a request, and checks that its keys are where the table says, and that it survives the way back to words.
fn parsed(args: Args) -> Result<Request, Failure> {
    let keys: Vec<_> = keys_of(&args).map(|keys| keys.cloned().collect()).unwrap_or_default();
    let request = Request::parse(args)?;
    if let Body::Data(command) = &request.body {
        assert_eq!(command.keys().cloned().collect::<Vec<_>>(), keys, "{command:?}");
        assert_eq!(Request::parse(command.to_args()).map(|again| again.body), Ok(Body::Data(command.clone())));
    }
    Ok(request)
}

/// How two replies to a command may differ.
fn agree(words: &Words, ours: &Frame, theirs: &Frame) -> bool {
    if ours == theirs {
        return true;
    }
    let name = words[0].to_ascii_lowercase();
    match (name.as_slice(), ours, theirs) {
        // Any key will do.
        (b"randomkey", Frame::Bulk(_), Frame::Bulk(_)) => true,
        // Sizes are those of each one's own memory.
        (b"memory", Frame::Int(ours), Frame::Int(theirs)) => *ours > 0 && *theirs > 0,
        // Redis does not ask here whether the key has lapsed.
        (b"memory", Frame::Null, Frame::Int(_)) => true,
        (b"object", Frame::Bulk(ours), Frame::Bulk(theirs)) => may_be_encoded(ours, theirs),
        // Redis reads the clock once for each command, we once for each chunk.
        (b"ttl" | b"expiretime", Frame::Int(ours), Frame::Int(theirs)) => *ours > 0 && ours.abs_diff(*theirs) <= 5,
        (b"pttl" | b"pexpiretime", Frame::Int(ours), Frame::Int(theirs)) => *ours > 0 && ours.abs_diff(*theirs) <= 5000,
        // Redis counts lapsed keys until somebody looks at them.
        (b"dbsize", Frame::Int(ours), Frame::Int(theirs)) => ours <= theirs,
        // Redis looks for the key before it reads the time, or the options.
        (b"getex", Frame::Error(_), Frame::Null) => true,
        (b"hscan" | b"sscan" | b"zscan", Frame::Error(_), Frame::Array(_)) => true,
        (_, Frame::Error(_), Frame::Error(theirs)) if looked_before(&name, theirs) => true,
        // Redis 7.0 looks for the key before it reads the range, later ones after.
        (b"bitcount", Frame::Error(_), Frame::Int(0)) | (b"bitpos", Frame::Error(_), Frame::Int(0 | -1)) => true,
        // Redis 7.0 goes on with the opposite of a rank that has none, which later ones refuse.
        (b"lpos", Frame::Error(ours), _) if ours.starts_with(b"ERR value is out of range, value must between") => true,
        // Newer ones take one word more, WITHSCORE.
        (b"zrank" | b"zrevrank", _, Frame::Error(_)) if words.len() > 3 => true,
        // Which ones is a matter of luck, how many is not.
        (b"hrandfield" | b"srandmember" | b"zrandmember", Frame::Bulk(_), Frame::Bulk(_)) => true,
        (b"hrandfield" | b"srandmember" | b"zrandmember", Frame::Array(ours), Frame::Array(theirs)) => {
            ours.len() == theirs.len()
        }
        // A cursor that neither has given out means something else to each.
        (b"scan", ..) if words[1] != b"0" => true,
        (b"hscan" | b"sscan" | b"zscan", Frame::Array(_), Frame::Array(_)) if words[2] != b"0" => true,
        (b"scan" | b"hscan" | b"sscan" | b"zscan", Frame::Array(ours), Frame::Array(theirs)) => {
            match (ours.as_slice(), theirs.as_slice()) {
                ([cursor, Frame::Array(ours)], [end, Frame::Array(theirs)]) => {
                    cursor == end && same_elements(&name, ours, theirs)
                }
                _ => false,
            }
        }
        (b"hgetall", Frame::Map(ours), Frame::Map(theirs)) => {
            ours.len() == theirs.len() && ours.iter().all(|pair| theirs.contains(pair))
        }
        (_, Frame::Array(ours), Frame::Array(theirs)) | (_, Frame::Set(ours), Frame::Set(theirs))
            if UNORDERED.contains(&name.as_slice()) =>
        {
            same_elements(&name, ours, theirs)
        }
        // Redis forgets a zero's sign in a small set and keeps it in a large one.
        ([b'z', ..] | [b'b', b'z', ..], ours, theirs) if is_zero(ours) && is_zero(theirs) => true,
        ([b'z', ..] | [b'b', b'z', ..], Frame::Array(ours), Frame::Array(theirs)) => {
            let pairs = ours.iter().zip(theirs);
            ours.len() == theirs.len() && pairs.into_iter().all(|(ours, theirs)| agree(words, ours, theirs))
        }
        _ => agree_about_more(words, &name, ours, theirs),
    }
}

/// How replies about what is sorted, located and estimated may differ.
fn agree_about_more(words: &Words, name: &[u8], ours: &Frame, theirs: &Frame) -> bool {
    match (name, ours, theirs) {
        // Patterns that might lead to another slot are refused.
        (b"sort" | b"sort_ro", Frame::Error(ours), _) => ours.ends_with(b"option of SORT denied in cluster mode."),
        // Redis 7.0 asks whether some number was too great or too small, which may be one that an earlier command has read.
        (b"sort" | b"sort_ro", Frame::Array(_), Frame::Error(theirs)) => theirs.starts_with(b"ERR One or more scores"),
        // Equals come in any order, and the members of a set that is not to be sorted.
        (b"sort" | b"sort_ro", Frame::Array(ours), Frame::Array(theirs)) => {
            has_ties(words) && same_but_for_ties(words, ours, theirs)
                || is_alphabetical(words) && same_up_to_zero_bytes(ours, theirs)
        }
        // Without a key Redis reads neither the radius nor its unit, for there is no member to measure from, and goes on.
        (b"georadiusbymember" | b"georadiusbymember_ro", Frame::Error(ours), theirs) => {
            is_about_radius(ours) && (matches!(theirs, Frame::Error(_)) || *theirs == Frame::Array(Vec::new()))
        }
        // Of several members to search from the last counts. Redis looks for the others, too.
        (b"geosearch" | b"geosearchstore", _, Frame::Error(theirs)) => {
            let members = words.iter().filter(|word| word.eq_ignore_ascii_case(b"frommember")).count();
            members > 1 && theirs.starts_with(b"ERR could not decode requested zset member")
        }
        // Redis remembers an estimate that was asked for; for us counting is a read.
        (b"get", Frame::Bulk(ours), Frame::Bulk(theirs)) => {
            let all_else = |value: &[u8]| Some((value.get(..8)?.to_vec(), value.get(16..)?.to_vec()));
            ours.starts_with(b"HYLL") && all_else(ours) == all_else(theirs)
        }
        _ => false,
    }
}

/// Whether Redis refuses what it found before it has read all of the request.
fn looked_before(name: &[u8], refusal: &[u8]) -> bool {
    let texts: [&[u8]; 2] = [b"WRONGTYPE", b"ERR could not decode requested zset member"];
    LOOK_BEFORE_THEY_READ.contains(&name) && texts.iter().any(|text| refusal.starts_with(text))
}

/// Where a key has the wrong type, or a member is missing, and the options make no sense, Redis tells the one and we the other.
const LOOK_BEFORE_THEY_READ: &[&[u8]] = &[
    b"hscan",
    b"sscan",
    b"zscan",
    b"getex",
    b"bitcount",
    b"bitpos",
    b"zunion",
    b"zinter",
    b"zdiff",
    b"zintercard",
    b"zunionstore",
    b"zinterstore",
    b"zdiffstore",
    b"geosearch",
    b"geosearchstore",
    b"georadius",
    b"georadius_ro",
    b"georadiusbymember",
    b"georadiusbymember_ro",
];

/// Commands whose answers are in no order.
const UNORDERED: &[&[u8]] =
    &[b"keys", b"hkeys", b"hvals", b"hgetall", b"smembers", b"sinter", b"sunion", b"sdiff", b"spop"];

/// Whether SORT has several right answers: elements stand for texts, which may be equal, or are those of what may be a set.
fn has_ties(words: &Words) -> bool {
    let is = |at: usize, word: &str| words[at].eq_ignore_ascii_case(word.as_bytes());
    let patterns = (2..words.len() - 1).filter(|at| is(*at, "by")).map(|at| words[at + 1].contains(&b'*'));
    let is_ordered = ["{t}integers", "{t}words", "{t}scored", "{t}sorted", "list", "z"].iter().any(|key| is(1, key));
    patterns.into_iter().any(|has_star| if has_star { is_alphabetical(words) } else { !is_ordered })
}

fn is_alphabetical(words: &Words) -> bool {
    words[2..].iter().any(|word| word.eq_ignore_ascii_case(b"alpha"))
}

/// Where texts are not stored Redis compares them up to a zero byte: those that differ behind it are equals.
fn same_up_to_zero_bytes(ours: &[Frame], theirs: &[Frame]) -> bool {
    let visible = |frame: &Frame| frame.as_bytes().map(|text| text.split(|byte| *byte == 0).next().map(<[u8]>::to_vec));
    ours.len() == theirs.len() && ours.iter().map(visible).eq(theirs.iter().map(visible))
}

/// What is told of single elements need not be the same if only some of them are told.
fn same_but_for_ties(words: &Words, ours: &[Frame], theirs: &[Frame]) -> bool {
    let is_limited = words.iter().any(|word| word.eq_ignore_ascii_case(b"limit"));
    let texts = |frames: &[Frame]| {
        let mut texts: Vec<_> = frames.iter().map(|frame| frame.as_bytes().cloned()).collect();
        texts.sort_unstable();
        texts
    };
    ours.len() == theirs.len() && (is_limited || texts(ours) == texts(theirs))
}

fn is_about_radius(refusal: &[u8]) -> bool {
    let texts: [&[u8]; 3] = [b"ERR need numeric radius", b"ERR radius cannot be", b"ERR unsupported unit provided"];
    texts.iter().any(|text| refusal.starts_with(text))
}

/// Redis remembers how a value came about: a short string that was appended to is raw, the sum of floats is no integer, what is
/// small stays what it was when it was large, and a set of integers what it was when it held others.
fn may_be_encoded(ours: &[u8], theirs: &[u8]) -> bool {
    let allowed: [(&[u8], &[u8]); 6] = [
        (b"int", b"raw"),
        (b"int", b"embstr"),
        (b"embstr", b"raw"),
        (b"listpack", b"hashtable"),
        (b"listpack", b"skiplist"),
        (b"intset", b"hashtable"),
    ];
    allowed.contains(&(ours, theirs))
}

/// In whatever order.
fn same_elements(name: &[u8], ours: &[Frame], theirs: &[Frame]) -> bool {
    match name {
        b"hscan" | b"hgetall" => pairs(ours) == pairs(theirs),
        b"zscan" => scored(ours) == scored(theirs),
        _ => sorted(ours) == sorted(theirs),
    }
}

fn sorted(frames: &[Frame]) -> Vec<&[u8]> {
    let mut keys: Vec<&[u8]> = frames.iter().map(|frame| frame.as_bytes().unwrap().as_ref()).collect();
    keys.sort_unstable();
    keys
}

fn is_zero(frame: &Frame) -> bool {
    matches!(frame.as_bytes().map(AsRef::as_ref), Some(b"0" | b"-0"))
}

/// Members with their scores; how a number is written depends on how large the set is.
fn scored(frames: &[Frame]) -> Vec<(&[u8], String)> {
    let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse::<f64>().unwrap() + 0.0;
    pairs(frames).into_iter().map(|[member, score]| (member, number(score).to_string())).collect()
}

fn pairs(frames: &[Frame]) -> Vec<[&[u8]; 2]> {
    let mut pairs: Vec<[&[u8]; 2]> = frames
        .chunks(2)
        .map(|pair| [pair[0].as_bytes().unwrap().as_ref(), pair[1].as_bytes().unwrap().as_ref()])
        .collect();
    pairs.sort_unstable();
    pairs
}

/// Redis' clock.
fn time_millis(connection: &mut Connection) -> u64 {
    let Frame::Array(parts) = connection.ask("TIME") else { panic!("TIME answers an array") };
    let number = |part: &Frame| -> u64 { std::str::from_utf8(part.as_bytes().unwrap()).unwrap().parse().unwrap() };
    number(&parts[0]) * 1000 + number(&parts[1]) / 1000
}

/// A number of the normal test, or another one that is wished for.
fn wished(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Compares what one seed brings after the other, beginning with `SIMPLEKV_SEED`, until it is `SIMPLEKV_COMMANDS` commands.
fn compare_all(protocol: Protocol, default: u64) {
    let first = wished("SIMPLEKV_SEED", default);
    let commands = wished("SIMPLEKV_COMMANDS", SEED_COMMANDS);
    let seeds = commands.div_ceil(SEED_COMMANDS).max(1);
    (first..first + seeds).for_each(|seed| compare(protocol, seed));
    let (number, compared) = (protocol.number(), seeds * SEED_COMMANDS);
    println!("RESP{number}: {compared} commands compared, seeds {first} to {}", first + seeds - 1);
}

fn compare(protocol: Protocol, seed: u64) {
    let redis = Redis::start();
    // Its own, for the other one may be in the middle of a transaction.
    let (mut connection, mut clock) = (redis.connect(), redis.connect());
    connection.ask(&format!("HELLO {}", protocol.number()));
    let mut ours = Ours::new(protocol);
    // The requests since MULTI.
    let mut collected: Vec<Words> = Vec::new();
    let mut commands = Commands::new(seed, time_millis(&mut clock));
    for chunk in 0..CHUNKS {
        let now = GroupTime(time_millis(&mut clock));
        let requests: Vec<Words> = (0..CHUNK).map(|_| commands.next()).collect();
        let replies = connection.ask_all(&requests);
        for (words, theirs) in requests.iter().zip(&replies) {
            let reply = ours.ask(words, now);
            let line: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
            let agreed = match (words[0].as_slice(), &reply, theirs) {
                (b"exec", Frame::Array(ours), Frame::Array(theirs)) => {
                    let replies = ours.iter().zip(theirs);
                    ours.len() == theirs.len()
                        && collected.iter().zip(replies).all(|(words, (ours, theirs))| agree(words, ours, theirs))
                }
                _ => agree(words, &reply, theirs) || ours.are_equally_far(words, now, &reply, theirs),
            };
            match (words[0].as_slice(), theirs) {
                (b"multi", Frame::Status(_)) | (b"exec" | b"discard", _) => collected.clear(),
                (_, Frame::Status(status)) if status == "QUEUED" => collected.push(words.clone()),
                _ => (),
            }
            assert!(agreed, "seed {seed}, chunk {chunk}: {line:?}\n  ours:  {reply:?}\n  Redis: {theirs:?}");
        }
    }
}

#[test]
fn bytes_that_are_no_request_are_refused_as_redis_refuses_them() {
    let redis = Redis::start();
    let mut ours = Ours::new(Protocol::Resp2);
    for bytes in [
        "*x\r\n",
        "*\r\n",
        "*01\r\n",
        "*+1\r\n",
        "*99999999999\r\n",
        "*1\r\n*1\r\n$4\r\nPING\r\n",
        "*1\r\nPING\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$600000000\r\n",
        "$4\r\nPING\r\n",
        "get \"k\r\n",
        "get \"k\"x\r\n",
        "get 'k\r\n",
        &"x".repeat(70_000),
    ] {
        let theirs = redis.connect().ask_raw(bytes.as_bytes());
        assert!(matches!(theirs, Frame::Error(_)));
        assert_eq!(ours.ask_raw(bytes.as_bytes(), GroupTime(1)), theirs, "{:?}", bytes.get(..80).unwrap_or(bytes));
    }
}

#[test]
fn lines_are_cut_into_words_as_redis_cuts_them() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    let mut ours = Ours::new(Protocol::Resp2);
    for line in [
        "set k v",
        "  SET\tk   v  ",
        r#"set k "a b""#,
        r#"set k "\x41\x4z\n\r\t\b\a\\\"\q""#,
        r"set k 'a\'b\n'",
        r#"set k """#,
        r#"set k pre"fix""#,
        "set k v\x0bw",
        "set k {}",
    ] {
        for line in [line, "get k"] {
            let bytes = format!("{line}\r\n");
            let theirs = connection.ask_raw(bytes.as_bytes());
            assert_eq!(ours.ask_raw(bytes.as_bytes(), GroupTime(1)), theirs, "{line}");
        }
    }
}

#[test]
fn replies_are_those_of_redis_in_resp2() {
    compare_all(Protocol::Resp2, 2);
}

#[test]
fn replies_are_those_of_redis_in_resp3() {
    compare_all(Protocol::Resp3, 3);
}
