//! `make run`: the whole cluster in one process.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use simplekv_resp::decode::Frame;
use simplekv_tests::{Process, RespConnection, Turn, free_ports, program, wait};

const LIMIT: Duration = Duration::from_secs(30);

fn local(dir: &Path, port: u16) -> Process {
    let args = ["--dir".to_owned(), dir.join("data").display().to_string(), "--port-base".to_owned(), port.to_string()];
    let mut process = Process::new("local", program("simplekv-local").unwrap(), args, &dir.join("local.log"));
    process.start().unwrap();
    process
}

/// Asks through the router until the answer is no error: a cluster needs a moment to elect its leaders.
async fn ask(port: u16, line: &str) -> Frame {
    wait::until("the router answers", async || {
        let mut router = RespConnection::open(&format!("127.0.0.1:{port}")).await.ok()?;
        router.ask(line).await.ok().filter(|answer| !matches!(answer, Frame::Error(_)))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_cleanly_and_data_survives() {
    let _turn = Turn::take().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [port] = free_ports();
    let mut process = local(dir.path(), port);
    assert_eq!(ask(port, "SET hello 1").await, Frame::Status("OK".into()));
    assert_eq!(ask(port, "SET {06S} 2").await, Frame::Status("OK".into()), "a key of slot 0");
    assert_eq!(ask(port, "SET {apX} 3").await, Frame::Status("OK".into()), "a key of slot 16383");
    assert!(process.interrupt(LIMIT).unwrap().success(), "{}", process.log());
    assert!(!process.log().contains("panicked"), "{}", process.log());

    process.start().unwrap();
    assert_eq!(ask(port, "GET hello").await, Frame::Bulk("1".into()));
    process.kill().unwrap();
    process.start().unwrap();
    assert_eq!(ask(port, "GET {06S}").await, Frame::Bulk("2".into()));
    assert_eq!(ask(port, "GET {apX}").await, Frame::Bulk("3".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named() {
    let _turn = Turn::take().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [port] = free_ports();
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut process = local(dir.path(), port);
    assert!(!process.ended(LIMIT).unwrap().success());
    assert!(process.log().contains(&port.to_string()), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_on_the_same_directory_is_refused_and_disturbs_nobody() {
    let _turn = Turn::take().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [port, other] = free_ports();
    let mut first = local(dir.path(), port);
    assert_eq!(ask(port, "SET hello 1").await, Frame::Status("OK".into()));
    let second_log = dir.path().join("second.log");
    let data = dir.path().join("data").display().to_string();
    let args = ["--dir".to_owned(), data, "--port-base".to_owned(), other.to_string()];
    let mut second = Process::new("second", program("simplekv-local").unwrap(), args, &second_log);
    second.start().unwrap();
    assert!(!second.ended(LIMIT).unwrap().success());
    let file = dir.path().join("data/metadata.json");
    let expected = format!("simplekv-local: {} is in use by another process", file.display());
    assert!(second.log().contains(&expected), "{}", second.log());
    assert_eq!(ask(port, "GET hello").await, Frame::Bulk("1".into()));
    assert!(first.is_running());
}
