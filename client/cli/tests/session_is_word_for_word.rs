//! The program itself, in front of a router, in front of the client's mock cluster.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail there")]

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use simplekv_router::{Router, RouterConfig};
use simplekv_testing::MockCluster;

async fn router(cluster: &MockCluster) -> Router {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Router::start(RouterConfig::new(vec![cluster.address(1).to_string()], any, any)).await.unwrap()
}

/// Runs the program with these arguments and lines on its standard input.
async fn cli(address: SocketAddr, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simplekv-cli"));
    command.arg("--server").arg(address.to_string()).args(args);
    let input = input.to_owned();
    let run = move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that was given a command does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn said(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_the_readme_works() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let input = "set hello 1\nget hello\nexpire hello 200\nttl hello\ndel hello\nget hello\n";
    let output = cli(router.resp_address(), &[], input).await;
    assert_eq!(said(&output), ["OK", "1", "OK", "200", "OK", "record not found"]);
    assert!(output.status.success());
    let missing = cli(router.resp_address(), &[], "del hello\nexpire hello 1\nttl hello\n").await;
    assert_eq!(said(&missing), ["record not found"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_may_be_quoted_and_errors_do_not_end_them() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let input = "set a \"x y\\x21\"\n\nget a\nget \"a\nnosuch\nmget a b\nhelp get\nexit\nget a\n";
    let output = cli(router.resp_address(), &[], input).await;
    let said = said(&output);
    assert_eq!(said[..2], ["OK", "x y!"]);
    assert!(said[2].starts_with("invalid argument(s)"), "{said:?}");
    assert!(said[3].starts_with("(error) ERR unknown command 'nosuch'"), "{said:?}");
    assert_eq!(said[4..7], ["1) x y!", "2) (nil)", "GET key"]);
    assert!(!output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_is_run_and_its_error_is_the_exit_status() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let address = router.resp_address();
    let set = cli(address, &["set", "k", "-1"], "").await;
    assert_eq!((said(&set), set.status.code()), (vec!["OK".to_owned()], Some(0)));
    let typed = cli(address, &["--no-raw", "incr", "k"], "").await;
    assert_eq!(said(&typed), ["(integer) 0"]);
    let typed = cli(address, &["--no-raw", "get", "k"], "").await;
    assert_eq!(said(&typed), ["\"0\""]);
    let raw = cli(address, &["--raw", "mget", "k", "none"], "").await;
    assert_eq!(said(&raw), ["0", ""]);
    let missing = cli(address, &["get", "none"], "").await;
    assert_eq!((said(&missing), missing.status.code()), (vec!["record not found".to_owned()], Some(0)));
    let error = cli(address, &["get"], "").await;
    assert_eq!(said(&error), ["(error) ERR wrong number of arguments for 'get' command"]);
    assert_eq!(error.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_reaches_a_file_byte_for_byte() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let address = router.resp_address();
    let set = cli(address, &[], "set k \"\\xff\\x00 \\r\\n\\n\"\n").await;
    assert_eq!(said(&set), ["OK"]);
    assert_eq!(cli(address, &["get", "k"], "").await.stdout, b"\xff\x00 \r\n\n\n");
    assert_eq!(cli(address, &["-D", "", "get", "k"], "").await.stdout, b"\xff\x00 \r\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_with_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = cli(free, &["get", "k"], "").await;
    let said = said(&output).join("\n");
    assert!(said.starts_with(&format!("(error) cannot connect to {free}: ")), "{said}");
    assert!(said.contains("make run") && said.contains("--server"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_argument_may_come_from_the_input_and_a_command_be_repeated() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let address = router.resp_address();
    assert_eq!(said(&cli(address, &["-x", "append", "k"], "a b\n").await), ["4"]);
    assert_eq!(cli(address, &["-D", "", "get", "k"], "").await.stdout, b"a b\n");
    assert_eq!(said(&cli(address, &["-r", "3", "incr", "n"], "").await), ["1", "2", "3"]);
    let errors = cli(address, &["-r", "2", "incr", "k"], "").await;
    assert_eq!((said(&errors).len(), errors.status.code()), (2, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_told_everything_as_json() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let input =
        "hset h a 1 b \"\\xff\"\nhgetall h\nget none\nnosuch\nzadd z 1.5 m\nzscore z m\n:read any\n:read soon\n";
    let output = cli(router.resp_address(), &["--json"], input).await;
    assert_eq!(
        said(&output),
        [
            "2",
            r#"{"a":"1","b":{"base64":"/w=="}}"#,
            "null",
            r#"{"error":{"code":"ERR","message":"unknown command 'nosuch', with args beginning with: "}}"#,
            "1",
            "1.5",
            r#""reads are any from now on""#,
            "{\"error\":{\"code\":\"input\",\"message\":\"a read policy is linearizable, leader, quorum, session, bounded or any\\n\
             usage: :read [linearizable | leader | quorum | session [TOKEN] | bounded MS | any]\"}}",
        ]
    );
    assert_eq!(output.status.code(), Some(1));
    let list = cli(router.resp_address(), &["--json", "-2", "hgetall", "h"], "").await;
    assert_eq!((said(&list), list.status.code()), (vec![r#"["a","1","b",{"base64":"/w=="}]"#.to_owned()], Some(0)));
    let usage = cli(router.resp_address(), &["--json", "--raw", "get", "k"], "").await;
    assert_eq!((said(&usage).len(), usage.status.code()), (0, Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_brings_its_commands_to_every_group_and_counts_what_came_back() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let address = router.resp_address();
    let mut input: String = (0..1000).map(|i| format!("*3\r\n$3\r\nSET\r\n$3\r\n{:03}\r\n$1\r\nv\r\n", i)).collect();
    input.push_str("incr 007\nrpush list a b c");
    let output = cli(address, &["--pipe"], &input).await;
    assert_eq!((said(&output), output.status.code()), (vec!["errors: 1, replies: 1002".to_owned()], Some(1)));
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(complaints, format!("at byte {}: ERR value is not an integer or out of range\n", 1000 * 29 + 1));
    assert_eq!(said(&cli(address, &["mget", "000", "999"], "").await), ["1) v", "2) v"]);
    assert_eq!(said(&cli(address, &["llen", "list"], "").await), ["3"]);
    let json = cli(address, &["--json", "--pipe"], "set a 1\n").await;
    let told = r#"{"errors":0,"replies":1,"answered_bytes":8,"complete":true}"#;
    assert_eq!((said(&json), json.status.code()), (vec![told.to_owned()], Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_what_was_chosen_for_them() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let input =
        ":read\nget a\n:read bounded 100\nget b\n:session on\nget c\n:session show\n:session off\nget d\n:read never\n";
    let output = cli(router.resp_address(), &[], input).await;
    let said = said(&output);
    assert_eq!(said[0], "not chosen: what the server does by itself");
    assert_eq!(said[2], "reads are bounded=100ms from now on");
    assert_eq!(said[4], "reads are session from now on");
    assert!(said[6].starts_with("s1"), "{said:?}");
    assert_eq!(said[7], "reads are linearizable from now on");
    assert_eq!(said[9], "(error) a read policy is linearizable, leader, quorum, session, bounded or any");
    let policies: Vec<String> = cluster.seen_named("GET").iter().map(|seen| seen.policy.to_string()).collect();
    assert_eq!(policies, ["linearizable", "bounded=100ms", "session", "linearizable"]);
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_found_with_those_who_would_answer_for_it() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    // It stands for the first node: to whoever reads, a router looks like one that has everything. There is nobody at a port 0.
    let node = router(&cluster).await;
    let first = node.resp_address().to_string();
    cluster.change(|update| {
        update.nodes[0].resp = first.clone();
        update.nodes[1].resp = "127.0.0.1:0".to_owned();
    });
    let router = router(&cluster).await;
    // With the first answer the router knows the cluster.
    let output = cli(router.resp_address(), &[], "set foo 1\n:route foo\n:route\n").await;
    let said = said(&output);
    assert_eq!(said[1..4], ["key    foo", "slot   12182", &*format!("group  g1, epoch 1, led by {first}")]);
    assert_eq!(said[4], "reads  linearizable");
    assert!(said[5].starts_with(&format!("  n1   {first}")) && said[5].contains("leader    answers ("), "{said:?}");
    assert!(
        said[6].starts_with("  n2   127.0.0.1:0") && said[6].contains("follower  is not reached from here: "),
        "{said:?}"
    );
    assert_eq!(said[7], "(error) usage: :route KEY");
    let json = cli(router.resp_address(), &["--json", ":route", "foo"], "").await;
    let json = self::said(&json).concat();
    assert!(
        json.starts_with(&format!(r#"{{"slot":12182,"group":1,"epoch":1,"leader":"{first}","read":"linearizable","#)),
        "{json}"
    );
}
