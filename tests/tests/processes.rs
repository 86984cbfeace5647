//! The harness itself: what it says about processes is true.

use std::time::Duration;

use simplekv_tests::{Process, free_ports, wait};

const LIMIT: Duration = Duration::from_secs(5);

fn shell(script: &str, dir: &tempfile::TempDir) -> Process {
    let mut process = Process::new("shell", "sh".into(), ["-c", script], &dir.path().join("log"));
    process.start().expect("sh is there");
    process
}

#[test]
fn a_killed_process_is_gone_and_a_restarted_one_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell("sleep 100", &dir);
    let first = process.pid().unwrap();
    process.kill().unwrap();
    assert!(!process.is_running());
    process.start().unwrap();
    assert!(process.is_running());
    assert_ne!(process.pid().unwrap(), first);
    assert!(process.start().is_err(), "it runs already");
}

#[test]
fn a_stopped_process_may_say_goodbye() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done", &dir);
    while !process.log().contains("ready") {
        std::thread::yield_now();
    }
    assert_eq!(process.stop(LIMIT).unwrap().code(), Some(3));
    assert_eq!(process.log(), "ready\nbye\n");
}

#[test]
fn a_paused_process_does_nothing_until_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell("echo one; while :; do sleep 0.01; echo more; done", &dir);
    while !process.log().contains("more") {
        std::thread::yield_now();
    }
    process.pause().unwrap();
    assert!(process.ended(Duration::from_millis(50)).is_err(), "paused is not ended");
    let before = process.log();
    assert!(process.ended(Duration::from_millis(50)).is_err());
    assert_eq!(process.log(), before);
    process.resume().unwrap();
    while process.log() == before {
        std::thread::yield_now();
    }
}

#[test]
fn ports_are_not_handed_out_twice() {
    let [a, b, c] = free_ports();
    assert!(a != b && b != c && a != c);
}

#[tokio::test]
async fn waiting_ends_with_the_reason() {
    let never = wait::at_most(Duration::from_millis(50), "pigs fly", async || None::<()>).await;
    assert_eq!(never.unwrap_err().to_string(), "waited for 50ms until pigs fly");
    assert_eq!(wait::until("something is seen", async || Some(7)).await, 7);
}
