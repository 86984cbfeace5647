//! The README's first session, word for word, against what `make run` starts.

use simplekv_tests::{Process, RespConnection, Turn, free_ports, program, wait};
use tokio::process::Command;

const README: &str = include_str!("../../../README.md");
/// The prompt of the README; the test's cluster has another port.
const PROMPT: &str = "127.0.0.1:7379> ";

/// The prompts' lines with what stands below them, console by console.
fn sessions() -> Vec<Vec<(&'static str, Vec<&'static str>)>> {
    let blocks = README.split("```console\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let session = |(block, _): (&'static str, _)| {
        let mut session: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in block.lines() {
            match line.strip_prefix(PROMPT) {
                Some(command) => session.push((command, Vec::new())),
                None => session.last_mut().into_iter().for_each(|(_, answer)| answer.push(line)),
            }
        }
        session
    };
    blocks.map(session).filter(|session| !session.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_session_of_the_readme_is_true() {
    let _turn = Turn::take().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [port] = free_ports();
    let data = dir.path().join("data").display().to_string();
    let args = ["--dir".to_owned(), data, "--port-base".to_owned(), port.to_string()];
    let mut local = Process::new("local", program("simplekv-local").unwrap(), args, &dir.path().join("local.log"));
    local.start().unwrap();
    wait::until("the cluster answers", async || {
        let mut router = RespConnection::open(&format!("127.0.0.1:{port}")).await.ok()?;
        matches!(router.ask("EXISTS hello").await.ok()?, simplekv_resp::decode::Frame::Int(0)).then_some(())
    })
    .await;

    let [redis_cli, own_cli] = &sessions()[..] else { panic!("the README has two sessions") };
    assert!(redis_cli.len() >= 5 && own_cli.len() >= 4);
    let own = program("simplekv-cli").unwrap().display().to_string();
    // Its replies look as on a terminal only when it is told so.
    for (session, program, flags) in [(redis_cli, "redis-cli".to_owned(), &["--no-raw"][..]), (own_cli, own, &[])] {
        for (command, expected) in session {
            let mut process = Command::new(&program);
            process.args(flags).args(["-p", &port.to_string()]).args(command.split(' ')).kill_on_drop(true);
            let output = process.output().await.unwrap_or_else(|error| panic!("{program}: {error}"));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(&said.lines().collect::<Vec<_>>(), expected, "{program}: {command}");
        }
    }
}
