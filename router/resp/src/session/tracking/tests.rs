use crate::control::Control;
use crate::encode;
use crate::parser::Args;
use crate::session::{Answer, Session};
use crate::{Body, Request};

use super::*;

fn session() -> Session {
    Session::new(7, "10.0.0.9:5000".into(), "10.0.0.1:7379".into(), false, 0)
}

fn text(reply: &Reply, protocol: Protocol) -> String {
    let mut out = bytes::BytesMut::new();
    encode::reply(reply, protocol, &mut out);
    String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_owned()
}

/// What the session answers, as a driver asks it. Connections 7 and 9 exist.
fn ask(session: &mut Session, line: &str) -> String {
    let args: Args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let reply = match Request::parse(args).and_then(|request| session.admit(request.spec).map(|()| request.body)) {
        Err(failure) => Reply::Error(failure),
        Ok(Body::Control(Control::Client(crate::control::ClientCommand::Tracking(request)))) => {
            session.track(&request, |id| id == 9).map_or_else(Reply::Error, |_| Reply::Ok)
        }
        Ok(Body::Control(control)) => match session.answer(&control, &super::super::tests::Process::default()) {
            Answer::Reply(reply) | Answer::Close(reply) => reply,
            Answer::NotMine => panic!("{line} is the driver's"),
        },
        Ok(Body::Data(_)) => Reply::Bool(session.tracks_reads()),
    };
    text(&reply, session.protocol())
}

/// Texts and their order are those of redis-server 7.0.15.
#[test]
fn options_that_contradict_each_other_are_refused_as_redis_does() {
    let mut session = session();
    for (line, answer) in [
        ("CLIENT TRACKING MAYBE", "-ERR syntax error"),
        ("CLIENT TRACKING ON FOO", "-ERR syntax error"),
        ("CLIENT TRACKING ON REDIRECT", "-ERR syntax error"),
        ("CLIENT TRACKING ON REDIRECT x", "-ERR value is not an integer or out of range"),
        ("CLIENT TRACKING ON REDIRECT 0", "-ERR The client ID you want redirect to does not exist"),
        ("CLIENT TRACKING ON REDIRECT -9", "-ERR The client ID you want redirect to does not exist"),
        ("CLIENT TRACKING OFF REDIRECT 8", "-ERR The client ID you want redirect to does not exist"),
        ("CLIENT TRACKING ON REDIRECT 9 REDIRECT 9", "-ERR A client can only redirect to a single other client"),
        ("CLIENT TRACKING ON PREFIX a", "-ERR PREFIX option requires BCAST mode to be enabled"),
        ("CLIENT TRACKING ON BCAST OPTIN", "-ERR OPTIN and OPTOUT are not compatible with BCAST"),
        ("CLIENT TRACKING ON OPTIN OPTOUT", "-ERR You can't specify both OPTIN mode and OPTOUT mode"),
        (
            "CLIENT TRACKING ON BCAST PREFIX a PREFIX ab",
            "-ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap.",
        ),
        (
            "CLIENT CACHING YES",
            "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ),
        (
            "CLIENT CACHING MAYBE",
            "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ),
        ("CLIENT TRACKING ON OPTIN", "+OK"),
        (
            "CLIENT TRACKING ON OPTOUT",
            "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a \
             different mode.",
        ),
        (
            "CLIENT TRACKING ON BCAST",
            "-ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a \
             different mode.",
        ),
        ("CLIENT CACHING NO", "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."),
        ("CLIENT CACHING MAYBE", "-ERR syntax error"),
    ] {
        assert_eq!(ask(&mut session, line), answer, "{line}");
    }
}

#[test]
fn the_terms_are_told_as_they_are() {
    let mut session = session();
    let info = "CLIENT TRACKINGINFO";
    assert_eq!(ask(&mut session, info), "*6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0");
    assert_eq!(ask(&mut session, "CLIENT GETREDIR"), ":-1");
    assert_eq!(ask(&mut session, "CLIENT TRACKING ON REDIRECT 9 NOLOOP"), "+OK");
    assert_eq!(ask(&mut session, info), "*6 $5 flags *2 $2 on $6 noloop $8 redirect :9 $8 prefixes *0");
    assert_eq!(ask(&mut session, "CLIENT GETREDIR"), ":9");
    let line = session.client().line(0);
    assert!(line.contains(" flags=t ") && line.contains(" redir=9 "), "{line}");
    assert_eq!(ask(&mut session, "CLIENT TRACKING ON"), "+OK", "what is not said again is not so any more");
    assert_eq!(ask(&mut session, info), "*6 $5 flags *1 $2 on $8 redirect :0 $8 prefixes *0");
    ask(&mut session, "CLIENT TRACKING OFF");
    assert_eq!(ask(&mut session, "CLIENT TRACKING ON BCAST PREFIX b PREFIX a"), "+OK");
    let overlaps = ask(&mut session, "CLIENT TRACKING ON BCAST PREFIX ab");
    assert!(overlaps.contains("'ab' overlaps with an existing prefix 'a'"), "{overlaps}");
    assert_eq!(ask(&mut session, "CLIENT TRACKING ON BCAST PREFIX c"), "+OK");
    assert_eq!(ask(&mut session, info), "*6 $5 flags *2 $2 on $5 bcast $8 redirect :0 $8 prefixes *3 $1 a $1 b $1 c");
    assert_eq!(ask(&mut session, "RESET"), "+RESET");
    assert_eq!(session.tracking(), None);
}

#[test]
fn caching_is_about_the_next_request_that_is_not_about_clients() {
    let mut session = session();
    let reads =
        ["GET a", "CLIENT CACHING YES", "CLIENT GETREDIR", "GET a", "GET a", "CLIENT CACHING YES", "PING", "GET a"];
    ask(&mut session, "CLIENT TRACKING ON OPTIN");
    let heard = reads.map(|line| ask(&mut session, line));
    assert_eq!(heard, [":0", "+OK", ":0", ":1", ":0", "+OK", "+PONG", ":0"]);
    ask(&mut session, "CLIENT TRACKING OFF");
    ask(&mut session, "CLIENT TRACKING ON OPTOUT");
    let heard = ["GET a", "CLIENT CACHING NO", "GET a", "GET a"].map(|line| ask(&mut session, line));
    assert_eq!(heard, [":1", "+OK", ":0", ":1"]);
    assert_eq!(ask(&mut session, "CLIENT CACHING NO"), "+OK");
    let info = ask(&mut session, "CLIENT TRACKINGINFO");
    assert!(info.starts_with("*6 $5 flags *3 $2 on $6 optout $10 caching-no"), "{info}");
}

#[test]
fn caching_before_a_transaction_is_about_all_of_it() {
    let mut session = session();
    ask(&mut session, "CLIENT TRACKING ON OPTIN");
    ask(&mut session, "CLIENT CACHING YES");
    ask(&mut session, "MULTI");
    let words = |line: &str| line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect::<Args>();
    session.collect(words("GET a"));
    assert!(matches!(session.collect(words("EXEC")), crate::Collected::Exec(_)));
    assert!(session.tracks_reads());
    assert_eq!(ask(&mut session, "GET a"), ":0");
}

#[test]
fn changes_are_pushed_in_the_newer_protocol_and_said_in_a_channel_of_the_older() {
    let mut session = session();
    let two = Stale::Keys([Bytes::from("a"), Bytes::from("b")].into());
    ask(&mut session, "CLIENT TRACKING ON");
    assert_eq!(
        (session.stale(&two), session.stale_of_others(&two)),
        (None, None),
        "it could not tell them from answers"
    );
    session.subscribe(simplekv_types::Naming::Channel, &[Bytes::from("__redis__:invalidate")]);
    assert_eq!(session.stale(&two), None);
    let said = session.stale_of_others(&Stale::Everything).expect("it listens");
    assert_eq!(text(&said, Protocol::Resp2), "*3 $7 message $20 __redis__:invalidate $-1");
    let said = session.stale_of_others(&two).expect("it listens");
    let channel = "$20 __redis__:invalidate";
    assert_eq!(
        text(&said, Protocol::Resp2),
        format!("*3 $7 message {channel} *1 $1 a *3 $7 message {channel} *1 $1 b")
    );

    session.unsubscribe(simplekv_types::Naming::Channel, &[]);
    ask(&mut session, "HELLO 3");
    let pushed =
        |session: &Session, stale: &Stale| text(&session.stale(stale).expect("it may be told"), Protocol::Resp3);
    assert_eq!(pushed(&session, &two), ">2 $10 invalidate *1 $1 a >2 $10 invalidate *1 $1 b");
    assert_eq!(pushed(&session, &Stale::Everything), ">2 $10 invalidate _");
    ask(&mut session, "CLIENT TRACKING OFF");
    ask(&mut session, "CLIENT TRACKING ON BCAST");
    assert_eq!(pushed(&session, &two), ">2 $10 invalidate *2 $1 a $1 b");
}

#[test]
fn that_nobody_can_be_told_any_more_is_told_whoever_tracks() {
    let mut session = session();
    ask(&mut session, "HELLO 3");
    ask(&mut session, "CLIENT TRACKING ON REDIRECT 9");
    assert_eq!(session.lost_redirect(8), None, "it has been told otherwise meanwhile");
    let told = session.lost_redirect(9).expect("it can be told");
    assert_eq!(text(&told, Protocol::Resp3), ">2 $21 tracking-redir-broken :9");
    let info = ask(&mut session, "CLIENT TRACKINGINFO");
    assert!(info.contains("$15 broken_redirect"), "{info}");
}
