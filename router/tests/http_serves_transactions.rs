//! `/v1/execute` as programs of the in-memory store know it.

mod harness;

use std::time::Duration;

use harness::http::{Reply, ask, ask_with};
use harness::mock_cluster::{MockCluster, Verdict, key_of_group};
use harness::{Redis, router, router_with};
use serde_json::{Value, json};
use simplekv_client::{Failure, GroupId};
use simplekv_router::{Limits, Router};

const EXECUTE: &str = "POST /v1/execute";

fn get(key: &str) -> Value {
    json!({"cmd_type": "get", "key": key})
}

fn set(key: &str, value: &str) -> Value {
    json!({"cmd_type": "set", "key": key, "value": value})
}

async fn execute(router: &Router, headers: &[(&str, &str)], commands: &[Value]) -> Reply {
    ask_with(router, EXECUTE, headers, json!({"commands": commands}).to_string().as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_groups_commands_are_one_frame_in_their_order() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let (here, also_here, there) = (key_of_group(1, 2, 0), key_of_group(1, 2, 1), key_of_group(2, 2, 0));
    let commands =
        [get(&here), set(&there, "1"), set(&here, "2"), get(&here), set(&also_here, "3"), get(&there), set(&here, "")];
    let answer = execute(&router, &[], &commands).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"results": ["", "1", "2", "2", "3", "1", ""]})));
    assert_eq!(answer.header("simplekv-atomic"), "per-group");
    let frames: Vec<(u32, usize)> = cluster.seen_named("ATOMIC").iter().map(|op| (op.node, op.args.len())).collect();
    assert_eq!(frames.len(), 2, "one for each group: {frames:?}");
    assert_eq!(frames.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [1, 2], "in the order of the commands");
    assert_eq!(execute(&router, &[], &[get(&here), get("none")]).await.json(), json!({"results": ["", ""]}));
    assert_eq!(execute(&router, &[], &[]).await.json(), json!({"results": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_requires_all_or_nothing_is_told_where_it_cannot_be_had() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let (here, also_here, there) = (key_of_group(1, 2, 0), key_of_group(1, 2, 1), key_of_group(2, 2, 0));
    let required = [("SimpleKV-Atomic", "required")];
    let answer = execute(&router, &required, &[set(&here, "1"), set(&also_here, "2")]).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"results": ["1", "2"]})));
    assert_eq!(answer.header("simplekv-atomic"), "required");
    let answer = execute(&router, &required, &[set(&here, "3"), set(&there, "4")]).await;
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert_eq!(answer.status, 409, "{error}");
    assert!(error.contains(&format!("'{here}'")) && error.contains(&format!("'{there}'")), "{error}");
    assert_eq!(cluster.seen_named("ATOMIC").len(), 1, "nothing was sent");
    let answer = execute(&router, &[("SimpleKV-Atomic", "maybe")], &[get(&here)]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("could not bind request: SimpleKV-Atomic"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_not_begun() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    for (body, error) in [
        ("{}", "empty request"),
        (r#"{"commands":[{"cmd_type":"set","key":"a","value":"b"},{"cmd_type":"del","key":"a"}]}"#, "unknown command"),
    ] {
        let answer = ask(&router, EXECUTE, body.as_bytes()).await;
        assert_eq!((answer.status, answer.json()), (400, json!({"error": error})), "{body}");
    }
    let answer = ask(&router, EXECUTE, b"{").await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].as_str().unwrap().starts_with("could not bind request: "), "{}", answer.text());
    let answer = ask_with(&router, EXECUTE, &[("X-SimpleKV-Session", "s9")], b"{}").await;
    assert_eq!(answer.status, 400);
    assert_eq!(ask(&router, "GET /v1/execute", b"").await.status, 405);
    assert!(cluster.seen_named("ATOMIC").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_says_so_and_whether_others_were_done() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let limits = Limits { request_timeout: Duration::from_millis(300), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    let (here, there) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    let mut redis = Redis::connect(&router).await;
    assert_eq!(redis.ask("RPUSH list a").await, "1");
    let answer = execute(&router, &[], &[get("list")]).await;
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert_eq!(answer.status, 500);
    assert!(error.starts_with("could not execute command: 'list': "), "{error}");
    assert!(!error.contains("were done"), "there were no others: {error}");

    cluster.script(|op| {
        if op.node == 2 { Verdict::Refuse(Failure::NoLeader { group: GroupId(2) }) } else { Verdict::Serve }
    });
    let answer = execute(&router, &[], &[set(&here, "1"), set(&there, "2")]).await;
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert_eq!(answer.status, 500);
    assert!(error.starts_with("could not execute command: "), "{error}");
    assert!(error.ends_with(" (others of the commands were done)"), "{error}");
    let answer = execute(&router, &[], &[set(&there, "2"), set(&here, "1")]).await;
    assert!(!answer.text().contains("others of the commands were done"), "{}", answer.text());
}
