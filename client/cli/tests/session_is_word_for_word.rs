//! The program itself, in front of a router, in front of the client's mock cluster.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail there")]

#[path = "../../tests/mock_cluster/mod.rs"]
mod mock_cluster;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use mock_cluster::MockCluster;
use simplekv_router::{Router, RouterConfig};

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
    let raw = cli(address, &["--raw", "incr", "k"], "").await;
    assert_eq!(said(&raw), ["(integer) 0"]);
    let raw = cli(address, &["--raw", "get", "k"], "").await;
    assert_eq!(said(&raw), ["\"0\""]);
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
