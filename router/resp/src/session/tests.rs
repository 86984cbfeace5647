use bytes::Bytes;

use super::*;
use crate::facts::{ClusterFacts, InfoFacts, Mode};
use crate::parser::Args;
use crate::slow_log::SlowLog;

#[derive(Default)]
pub(super) struct Process {
    clients: Arc<Clients>,
    slow_log: Option<SlowLog>,
    password: Option<&'static str>,
    cluster: Option<ClusterFacts>,
}

impl Facts for Process {
    fn now_micros(&self) -> u64 {
        1_700_000_000_000_123
    }

    fn mode(&self) -> Mode {
        if self.cluster.is_some() { Mode::Cluster } else { Mode::Standalone }
    }

    fn role(&self) -> RoleFacts {
        RoleFacts::default()
    }

    fn info(&self) -> InfoFacts {
        InfoFacts::default()
    }

    fn cluster(&self) -> Option<ClusterFacts> {
        self.cluster.clone()
    }

    fn check(&self, credentials: &Credentials) -> Verdict {
        match self.password {
            None => Verdict::NotNeeded,
            Some(password)
                if credentials.password == password
                    && credentials.user.as_ref().is_none_or(|user| user == "default") =>
            {
                Verdict::Accepted
            }
            Some(_) => Verdict::Refused,
        }
    }

    fn clients(&self) -> Option<&Clients> {
        Some(&self.clients)
    }

    fn slow_log(&self) -> Option<&SlowLog> {
        self.slow_log.as_ref()
    }
}

fn session(process: &Process) -> Session {
    Session::new(7, "10.0.0.9:5000".into(), "10.0.0.1:7379".into(), process.password.is_some(), process.now_micros())
}

fn parse(line: &str) -> Request {
    let args: Args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Request::parse(args).unwrap()
}

fn ask(session: &mut Session, process: &Process, line: &str) -> Reply {
    let request = parse(line);
    if let Err(failure) = session.admit(request.spec) {
        return failure.into();
    }
    let Body::Control(control) = request.body else { panic!("{line} is about data") };
    match session.answer(&control, process) {
        Answer::Reply(reply) | Answer::Close(reply) => reply,
        Answer::NotMine => panic!("{line} is not the session's"),
    }
}

fn error(text: &'static str) -> Reply {
    Reply::Error(Failure::command(text))
}

fn field<'a>(reply: &'a Reply, name: &'static str) -> &'a Reply {
    let Reply::Map(pairs) = reply else { panic!("{reply:?}") };
    &pairs.iter().find(|(key, _)| *key == Reply::fixed(name)).unwrap().1
}

#[test]
fn hello_chooses_the_protocol() {
    let process = Process::default();
    let mut session = session(&process);
    let reply = ask(&mut session, &process, "hello 3 setname me");
    assert_eq!(field(&reply, "version"), &Reply::fixed("7.4.0"));
    assert_eq!(field(&reply, "proto"), &Reply::Int(3));
    assert_eq!(field(&reply, "id"), &Reply::Int(7));
    assert_eq!(field(&reply, "mode"), &Reply::fixed("standalone"));
    assert_eq!(session.protocol(), Protocol::Resp3);
    assert_eq!(ask(&mut session, &process, "client getname"), Reply::text("me"));
    assert_eq!(ask(&mut session, &process, "reset"), Reply::Status("RESET"));
    assert_eq!(session.protocol(), Protocol::Resp2);
    assert_eq!(ask(&mut session, &process, "client getname"), Reply::Null);
}

#[test]
fn nothing_is_answered_before_authentication() {
    let process = Process { password: Some("secret"), ..Process::default() };
    let mut session = session(&process);
    assert_eq!(ask(&mut session, &process, "ping"), Reply::Error(NO_AUTH));
    assert_eq!(ask(&mut session, &process, "hello 3"), Reply::Error(NO_AUTH_HELLO));
    assert_eq!(session.protocol(), Protocol::Resp2);
    assert_eq!(ask(&mut session, &process, "auth wrong"), Reply::Error(WRONG_PASSWORD));
    assert_eq!(ask(&mut session, &process, "hello 3 auth default wrong"), Reply::Error(WRONG_PASSWORD));
    assert!(!session.is_authenticated());
    assert!(matches!(ask(&mut session, &process, "hello 3 auth default secret"), Reply::Map(_)));
    assert_eq!(ask(&mut session, &process, "ping"), Reply::Status("PONG"));
    ask(&mut session, &process, "reset");
    assert_eq!(ask(&mut session, &process, "ping"), Reply::Error(NO_AUTH));
    assert_eq!(ask(&mut session, &process, "auth secret"), Reply::Ok);
    assert_eq!(ask(&mut session, &process, "acl whoami"), Reply::text("default"));
}

#[test]
fn a_password_nobody_asked_for_is_refused() {
    let process = Process::default();
    let mut session = session(&process);
    assert_eq!(ask(&mut session, &process, "auth secret"), Reply::Error(NO_PASSWORD_SET));
    assert_eq!(ask(&mut session, &process, "auth alice secret"), Reply::Error(WRONG_PASSWORD));
}

#[test]
fn a_user_without_a_password_may_give_any() {
    let process = Process::default();
    let mut session = session(&process);
    assert_eq!(ask(&mut session, &process, "auth default secret"), Reply::Ok);
    assert!(matches!(ask(&mut session, &process, "hello 3 auth default secret"), Reply::Map(_)));
    assert_eq!(session.protocol(), Protocol::Resp3);
    assert_eq!(ask(&mut session, &process, "hello 2 auth alice secret"), Reply::Error(WRONG_PASSWORD));
    assert_eq!(ask(&mut session, &process, "acl whoami"), Reply::text("default"));
}

/// As Redis 7 answers.
#[test]
fn reset_is_heard_in_the_silence_it_ends_but_not_when_it_is_skipped() {
    let process = Process::default();
    let mut session = session(&process);
    for (line, heard) in [
        ("client reply off", false),
        ("client reply skip", false),
        ("reset", true),
        ("ping", true),
        ("client reply skip", false),
        ("reset", false),
        ("ping", true),
    ] {
        assert_eq!(session.hears(Some(&parse(line))), heard, "{line}");
        if line == "reset" {
            ask(&mut session, &process, line);
        }
    }
}

#[test]
fn replies_are_withheld_as_the_client_wishes() {
    let process = Process::default();
    let mut session = session(&process);
    let lines = [
        ("ping", true),
        ("client reply skip", false),
        ("ping", false),
        ("ping", true),
        ("client reply off", false),
        ("ping", false),
        ("client reply skip", false),
        ("ping", false),
        ("client reply on", true),
        ("ping", true),
    ];
    for (at, (line, heard)) in lines.into_iter().enumerate() {
        assert_eq!(session.hears(Some(&parse(line))), heard, "{at}: {line}");
    }
    session.hears(Some(&parse("client reply skip")));
    assert!(!session.hears(None), "an error is a reply as well");
    assert!(session.hears(None));
}

#[test]
fn what_clients_ask_when_they_connect_is_answered() {
    let process = Process::default();
    let mut session = session(&process);
    let status = |name| Reply::Status(name);
    for (line, reply) in [
        ("PING", status("PONG")),
        ("ping hi", Reply::fixed("hi")),
        ("echo hi", Reply::fixed("hi")),
        ("select 0", Reply::Ok),
        ("select 1", error("ERR DB index is out of range")),
        ("client setinfo lib-name x", Reply::Ok),
        ("client setinfo LIB-VER 1.2", Reply::Ok),
        ("client setname n", Reply::Ok),
        ("client id", Reply::Int(7)),
        ("client no-evict on", Reply::Ok),
        ("client no-touch off", Reply::Ok),
        ("time", Reply::Array(vec![Reply::fixed("1700000000"), Reply::fixed("123")])),
        ("role", Reply::Array(vec![Reply::fixed("master"), Reply::Int(0), Reply::Array(vec![])])),
        ("module list", Reply::Array(vec![])),
        ("acl whoami", Reply::fixed("default")),
        ("slowlog get", Reply::Array(vec![])),
        ("slowlog len", Reply::Int(0)),
        ("slowlog reset", Reply::Ok),
        ("latency latest", Reply::Array(vec![])),
        ("latency reset", Reply::Int(0)),
        ("config get DATABASES", Reply::Map(vec![(Reply::fixed("databases"), Reply::fixed("1"))])),
        ("config get nosuch", Reply::Map(vec![])),
        (
            "config set save x",
            error("ERR CONFIG SET failed (possibly related to argument 'save') - can't set immutable config"),
        ),
        ("config set maxmemory 0", Reply::Ok),
        ("config set nosuch 1", error("ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'")),
        ("config resetstat", Reply::Ok),
        ("asking", Reply::Ok),
        ("cluster slots", error("ERR This instance has cluster support disabled")),
        ("readonly", error("ERR This instance has cluster support disabled")),
    ] {
        assert_eq!(ask(&mut session, &process, line), reply, "{line}");
    }
    assert_eq!(session.answer(&Control::Quit, &process), Answer::Close(Reply::Ok));
}

#[test]
fn a_node_lets_clients_read_followers() {
    let process = Process { cluster: Some(ClusterFacts::default()), ..Process::default() };
    let mut session = session(&process);
    assert_eq!(ask(&mut session, &process, "readonly"), Reply::Ok);
    assert!(session.reads_followers());
    assert_eq!(ask(&mut session, &process, "readwrite"), Reply::Ok);
    assert!(!session.reads_followers());
    let Body::Control(control) = parse("cluster countkeysinslot 5").body else { unreachable!() };
    assert_eq!(session.answer(&control, &process), Answer::NotMine);
}

#[test]
fn a_connection_chooses_who_may_answer_it() {
    let process = Process { cluster: Some(ClusterFacts::default()), ..Process::default() };
    let mut session = session(&process);
    assert_eq!(session.read_policy(), None);
    let bounded = |millis| ReadPolicy::Bounded { max_lag: std::time::Duration::from_millis(millis) };
    for (line, policy) in [
        ("client read any", ReadPolicy::Any),
        ("CLIENT READ Leader", ReadPolicy::Leader),
        ("client read linearizable", ReadPolicy::Linearizable),
        ("client read quorum", ReadPolicy::Quorum),
        ("client read bounded 250", bounded(250)),
        ("client read bounded 2s", bounded(2000)),
        ("client read session", ReadPolicy::SESSION),
    ] {
        assert_eq!(ask(&mut session, &process, line), Reply::Ok, "{line}");
        assert_eq!(session.read_policy(), Some(policy), "{line}");
    }
    ask(&mut session, &process, "readonly");
    assert_eq!((session.read_policy(), session.reads_followers()), (None, true), "the last word counts");
}

#[test]
fn a_connections_token_goes_from_one_to_the_next() {
    let process = Process::default();
    let mut first = session(&process);
    assert_eq!(ask(&mut first, &process, "client token"), Reply::text("s1"));
    let mut seen = SessionToken::new();
    seen.merge(&"s1-g1.5.0.3.1042".parse().unwrap());
    seen.positions().iter().for_each(|position| first.observe(*position));
    assert_eq!(ask(&mut first, &process, "client token"), Reply::text("s1-g1.5.0.3.1042"));

    let mut second = session(&process);
    second.merge(&"s1-g2.5.0.1.7".parse().unwrap());
    assert_eq!(ask(&mut second, &process, "client read session s1-g1.5.0.3.1042"), Reply::Ok);
    assert_eq!(ask(&mut second, &process, "client token"), Reply::text("s1-g1.5.0.3.1042-g2.5.0.1.7"));
    ask(&mut second, &process, "reset");
    assert_eq!((second.read_policy(), second.token().is_empty()), (None, true));
}

#[test]
fn what_is_no_read_policy_is_refused() {
    for (line, text) in [
        ("client read maybe", "ERR a read policy is linearizable, leader, quorum, session, bounded or any"),
        ("client read bounded", "ERR `bounded` needs a time of at least a millisecond, like `bounded=100ms`"),
        ("client read bounded 0", "ERR `bounded` needs a time of at least a millisecond, like `bounded=100ms`"),
        ("client read bounded soon", "ERR `bounded` needs a time of at least a millisecond, like `bounded=100ms`"),
        ("client read session s2", "ERR a session token begins with `s1`"),
        ("client read session s1-g1", "ERR each part of a session token is `g<group>.<slots>.<lineage>.<epoch>.<end>`"),
        ("client read session s1 s1", "ERR syntax error"),
        ("client read any 5", "ERR syntax error"),
        ("client read", "ERR wrong number of arguments for 'client|read' command"),
        ("client token x", "ERR wrong number of arguments for 'client|token' command"),
    ] {
        let refused = Request::parse(parse_words(line)).unwrap_err();
        assert_eq!(crate::error_text(&refused), text, "{line}");
    }
}

/// A connection that others see, and whether it was told to end.
fn seated(process: &Process, id: u64) -> (crate::clients::Seat, Session, Arc<std::sync::atomic::AtomicBool>) {
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tell = {
        let ended = Arc::clone(&ended);
        Box::new(move |order| ended.store(order == crate::clients::Order::End, std::sync::atomic::Ordering::Relaxed))
    };
    let (address, local) = (format!("10.0.0.9:{id}"), "10.0.0.1:7379".to_owned());
    let seat = process.clients.seat(KnownClient::new(id, address, local, process.now_micros(), tell));
    let session = Session::of(Arc::clone(seat.client()), false);
    (seat, session, ended)
}

fn lines(reply: Reply) -> Vec<String> {
    let Reply::Text(text) = reply else { panic!("{reply:?}") };
    String::from_utf8(text.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn connections_are_listed_with_what_is_known_about_them() {
    let process = Process::default();
    let (_one, mut one, _) = seated(&process, 3);
    let (_two, mut two, _) = seated(&process, 7);
    one.subscribe(Naming::Channel, &[Bytes::from_static(b"c")]);
    ask(&mut two, &process, "client setinfo lib-name lib");
    ask(&mut two, &process, "client setname me");
    ask(&mut two, &process, "client no-evict on");
    let list = lines(ask(&mut two, &process, "client list"));
    assert_eq!(
        list,
        [
            "id=3 addr=10.0.0.9:3 laddr=10.0.0.1:7379 fd=-1 name= age=0 idle=0 flags=P db=0 sub=1 psub=0 ssub=0 multi=-1 watch=0 \
             qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=NULL user=default \
             redir=-1 resp=2 lib-name= lib-ver=",
            "id=7 addr=10.0.0.9:7 laddr=10.0.0.1:7379 fd=-1 name=me age=0 idle=0 flags=e db=0 sub=0 psub=0 ssub=0 multi=-1 watch=0 \
             qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client|list \
             user=default redir=-1 resp=2 lib-name=lib lib-ver=",
        ]
    );
    let ids = |session: &mut Session, line| -> Vec<String> {
        let ids = lines(ask(session, &process, line)).into_iter();
        ids.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(ids(&mut two, "client list id 3 9"), ["id=3"]);
    assert_eq!(ids(&mut two, "client list type pubsub"), ["id=3"]);
    assert_eq!(ids(&mut two, "client list type normal"), ["id=7"]);
    assert!(ids(&mut two, "client list type replica").is_empty());
    one.unsubscribe(Naming::Channel, &[]);
    ask(&mut one, &process, "multi");
    one.collect(parse_words("get k"));
    let collecting = lines(ask(&mut two, &process, "client list id 3")).remove(0);
    assert!(collecting.contains(" flags=x ") && collecting.contains(" multi=1 "), "{collecting}");
}

#[test]
fn connections_are_ended_by_what_is_known_about_them() {
    let process = Process::default();
    let (_one, _session, one_ended) = seated(&process, 3);
    let (_two, mut two, two_ended) = seated(&process, 7);
    let is_ended = |ended: &std::sync::atomic::AtomicBool| ended.swap(false, std::sync::atomic::Ordering::Relaxed);
    let mut kill = |line: &str| {
        let Body::Control(control) = parse(line).body else { panic!("{line}") };
        two.answer(&control, &process)
    };
    let reply = Answer::Reply;
    for (line, answer, ends_one) in [
        ("client kill 10.0.0.9:3", reply(Reply::Ok), true),
        ("client kill 10.0.0.9:4", reply(error("ERR No such client")), false),
        ("client kill id 3", reply(Reply::Int(1)), true),
        ("client kill id 3 addr 10.0.0.9:7", reply(Reply::Int(0)), false),
        ("client kill laddr 10.0.0.1:7379", reply(Reply::Int(1)), true),
        ("client kill user default", reply(Reply::Int(1)), true),
        ("client kill user nobody", reply(error("ERR No such user 'nobody'")), false),
        ("client kill type normal skipme no", Answer::Close(Reply::Int(2)), true),
        ("client kill maxage 1", reply(Reply::Int(0)), false),
        ("client kill 10.0.0.9:7", Answer::Close(Reply::Ok), false),
    ] {
        assert_eq!(kill(line), answer, "{line}");
        assert_eq!(is_ended(&one_ended), ends_one, "{line}");
        assert!(!is_ended(&two_ended), "{line}: it ends by itself, once it has answered");
    }
}

#[test]
fn the_slow_log_is_asked_and_set() {
    let process = Process { slow_log: Some(SlowLog::new(10_000, 128)), ..Process::default() };
    let mut session = session(&process);
    let log = process.slow_log.as_ref().unwrap();
    for line in ["get a", "get b"] {
        let took = std::time::Duration::from_millis(12);
        log.keep(&parse_words(line), took, session.client(), process.now_micros());
    }
    let entry = Reply::Array(vec![
        Reply::Int(1),
        Reply::Int(1_700_000_000),
        Reply::Int(12_000),
        Reply::Array(vec![Reply::fixed("get"), Reply::fixed("b")]),
        Reply::fixed("10.0.0.9:5000"),
        Reply::fixed(""),
    ]);
    let setting = |name: &'static str, value: &'static str| Reply::Map(vec![(Reply::fixed(name), Reply::fixed(value))]);
    for (line, reply) in [
        ("slowlog len", Reply::Int(2)),
        ("slowlog get 1", Reply::Array(vec![entry])),
        ("config get slowlog-log*", setting("slowlog-log-slower-than", "10000")),
        ("config set slowlog-log-slower-than 0 slowlog-max-len 1", Reply::Ok),
        ("config get slowlog-log*", setting("slowlog-log-slower-than", "0")),
        ("slowlog len", Reply::Int(1)),
        ("slowlog reset", Reply::Ok),
        ("slowlog get -1", Reply::Array(vec![])),
        (
            "config set slowlog-max-len 1000000",
            error(
                "ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - argument must be between 0 and 10000 \
                 inclusive",
            ),
        ),
    ] {
        assert_eq!(ask(&mut session, &process, line), reply, "{line}");
    }
}

#[test]
fn the_table_answers_for_itself() {
    let process = Process::default();
    let mut session = session(&process);
    let Reply::Array(rows) = ask(&mut session, &process, "command") else { panic!("an array") };
    assert_eq!(Reply::Int(i64::try_from(rows.len()).unwrap()), ask(&mut session, &process, "command count"));
    let flags = Reply::Set(vec![Reply::Status("readonly"), Reply::Status("fast")]);
    let Reply::Array(infos) = ask(&mut session, &process, "command info GET nosuch") else { panic!("an array") };
    let Reply::Array(get) = &infos[0] else { panic!("an array") };
    assert_eq!(get[..6], [Reply::fixed("get"), Reply::Int(2), flags, Reply::Int(1), Reply::Int(1), Reply::Int(1)]);
    assert_eq!((get.len(), &infos[1]), (10, &Reply::NullArray));
    let Reply::Map(docs) = ask(&mut session, &process, "command docs set nosuch") else { panic!("a map") };
    assert_eq!(docs.len(), 1);
    assert_eq!(field(&docs[0].1, "group"), &Reply::fixed("string"));
    let keys = |line| match Request::parse(parse_words(line)).map(|request| request.body) {
        Ok(Body::Control(control)) => {
            Session::new(1, String::new(), String::new(), false, 0).answer(&control, &Process::default())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        keys("command getkeys mset a 1 b 2"),
        Answer::Reply(Reply::Array(vec![Reply::fixed("a"), Reply::fixed("b")]))
    );
    assert_eq!(keys("command getkeys nosuch a"), Answer::Reply(error("ERR Invalid command specified")));
    assert_eq!(keys("command getkeys ping"), Answer::Reply(error("ERR The command has no key arguments")));
    assert_eq!(
        keys("command getkeys get"),
        Answer::Reply(error("ERR Invalid number of arguments specified for command"))
    );
    let used = |key: &'static str, flags: &[&'static str]| {
        Reply::Array(vec![Reply::fixed(key), Reply::Set(flags.iter().copied().map(Reply::Status).collect())])
    };
    for (line, expected) in [
        ("command getkeysandflags set a b", vec![used("a", &["OW", "update"])]),
        ("command getkeysandflags set a b get", vec![used("a", &["RW", "access", "update"])]),
        ("command getkeysandflags bitfield a get u8 0", vec![used("a", &["RO", "access"])]),
        (
            "command getkeysandflags rename a b",
            vec![used("a", &["RW", "access", "delete"]), used("b", &["OW", "update"])],
        ),
        (
            "command getkeysandflags zunionstore d 2 a b",
            vec![used("d", &["OW", "update"]), used("a", &["RO", "access"]), used("b", &["RO", "access"])],
        ),
        ("command getkeysandflags sort a store b", vec![used("a", &["RO", "access"]), used("b", &["OW", "update"])]),
        ("command getkeysandflags eval x 0", vec![]),
    ] {
        assert_eq!(keys(line), Answer::Reply(Reply::Array(expected)), "{line}");
    }
    assert_eq!(keys("command getkeys ssubscribe a"), Answer::Reply(error("ERR The command has no key arguments")));
    assert_eq!(keys("command getkeys zunion 0 a"), Answer::Reply(error("ERR Invalid arguments specified for command")));
    let Reply::Array(names) = ask(&mut session, &process, "command list filterby pattern client|set*") else {
        panic!("an array")
    };
    assert_eq!(names, [Reply::fixed("client|setinfo"), Reply::fixed("client|setname")]);
    let Reply::Array(help) = ask(&mut session, &process, "object help") else { panic!("an array") };
    assert_eq!(help[1], Reply::fixed("ENCODING key"));
}

fn parse_words(line: &str) -> Args {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}
