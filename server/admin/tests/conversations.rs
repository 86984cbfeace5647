//! The program against a node that answers as it is told to: what is printed, what is sent, how it ends.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use simplekv_proto::v1;
use simplekv_proto::v1::admin_server::{Admin, AdminServer};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A cluster of so many nodes, before or after `init`.
#[derive(Debug)]
struct FakeNode {
    status: Arc<Mutex<v1::StatusReply>>,
    /// How often loads or jobs were asked for.
    asked: Mutex<u64>,
    /// The slots that were ordered to be moved last.
    ordered: Mutex<Option<v1::MoveSlotsRequest>>,
}

#[tonic::async_trait]
impl Admin for FakeNode {
    async fn init(&self, request: Request<v1::InitRequest>) -> Result<Response<v1::InitReply>, Status> {
        let groups = request.into_inner().groups;
        if groups.iter().any(|group| group.replicas.len() > 3) {
            return Err(Status::invalid_argument("a group has at most three replicas here"));
        }
        let mut status = self.status.lock().unwrap();
        status.cluster_id = vec![7; 16].into();
        status.topology.as_mut().unwrap().groups = groups
            .iter()
            .map(|group| v1::Group {
                id: group.id,
                leader: *group.replicas.first().unwrap(),
                in_sync: group.replicas.clone(),
                replicas: group.replicas.clone(),
                min_in_sync: group.min_in_sync,
                ..Default::default()
            })
            .collect();
        let groups = groups.iter().map(|group| group.id).collect();
        Ok(Response::new(v1::InitReply { cluster_id: vec![7; 16].into(), groups }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        Ok(Response::new(self.status.lock().unwrap().clone()))
    }

    async fn add_group(&self, _: Request<v1::AddGroupRequest>) -> Result<Response<v1::AddGroupReply>, Status> {
        Ok(Response::new(v1::AddGroupReply { group: 3 }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderReply>, Status> {
        match request.into_inner().to {
            9 => Err(Status::failed_precondition("n9 is not in sync")),
            to => Ok(Response::new(v1::TransferLeaderReply { leader: to, epoch: 5 })),
        }
    }

    async fn recover_group(
        &self,
        request: Request<v1::RecoverGroupRequest>,
    ) -> Result<Response<v1::RecoverGroupReply>, Status> {
        let request = request.into_inner();
        let replica = |node, fate: &str, log_end| v1::Remnant {
            node,
            fate: fate.to_owned(),
            answers: log_end > 0,
            last_epoch: 4,
            log_end,
            high_watermark: log_end,
            candidate: log_end > 0,
            ..Default::default()
        };
        let mut reply = v1::RecoverGroupReply {
            revision: 77,
            epoch: 4,
            min_in_sync: 2,
            replicas: vec![replica(1, "ended", 120), replica(2, "ended", 100), replica(3, "replaced", 0)],
            ..Default::default()
        };
        if !request.lost.contains(&3) {
            reply.obstacle = "n3 came back with another disk".to_owned();
            reply.advice = "simplekv-admin recover-group g1 --lost n3".to_owned();
            return Ok(Response::new(reply));
        }
        if request.accept_data_loss && (request.expected, request.to) != (77, 1) {
            return Err(Status::failed_precondition("that is not what was shown"));
        }
        let done = request.accept_data_loss;
        (reply.chosen, reply.new_epoch, reply.new_lineage, reply.new_min_in_sync, reply.done) = (1, 5, 1, 2, done);
        reply.losses = vec!["what n3 had acknowledged is lost".to_owned()];
        Ok(Response::new(reply))
    }

    async fn set_recovery(
        &self,
        request: Request<v1::SetRecoveryRequest>,
    ) -> Result<Response<v1::SetRecoveryReply>, Status> {
        match request.into_inner().group {
            1 => Ok(Response::new(v1::SetRecoveryReply {})),
            group => Err(Status::not_found(format!("there is no group g{group}"))),
        }
    }

    async fn explain(&self, _: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        std::future::pending().await
    }

    async fn replicas(&self, _: Request<v1::ReplicasRequest>) -> Result<Response<v1::ReplicasReply>, Status> {
        Err(Status::unimplemented("only other nodes ask"))
    }

    async fn move_slots(&self, request: Request<v1::MoveSlotsRequest>) -> Result<Response<v1::MoveSlotsReply>, Status> {
        let request = request.into_inner();
        if ![0, 7].contains(&request.slot_map_version) {
            return Err(Status::failed_precondition("the slot map has changed: plan again"));
        }
        *self.ordered.lock().unwrap() = Some(request);
        Ok(Response::new(v1::MoveSlotsReply { job: "j1".to_owned() }))
    }

    /// A job is done when it has been looked at twice.
    async fn jobs(&self, _: Request<v1::JobsRequest>) -> Result<Response<v1::JobsReply>, Status> {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        let Some(ordered) = self.ordered.lock().unwrap().clone() else {
            return Ok(Response::new(v1::JobsReply::default()));
        };
        let total = ordered.parts.iter().flat_map(|part| &part.slots).map(|span| span.last - span.first + 1).sum();
        let ended = *asked >= 2;
        let progress = v1::MoveProgressStatus {
            slots_scanned: 3,
            records: 1200,
            bytes: 2_000_000,
            elapsed_ms: 500,
            ..Default::default()
        };
        let on_its_way = v1::Move {
            slots: ordered.parts.first().map(|part| part.slots.clone()).unwrap_or_default(),
            source: 1,
            target: 2,
            state: "copy".to_owned(),
            progress: Some(progress),
            ..Default::default()
        };
        let job = v1::Job {
            name: "j1".to_owned(),
            asked: ordered.asked,
            parts: ordered.parts,
            begun_ms: 1_000,
            ended_ms: if ended { 3_500 } else { 0 },
            done: ended,
            slots_total: total,
            slots_done: if ended { total } else { 0 },
            moves: if ended { Vec::new() } else { vec![on_its_way] },
            ..Default::default()
        };
        Ok(Response::new(v1::JobsReply { jobs: vec![job], slot_map_version: 8 }))
    }

    async fn change_job(&self, request: Request<v1::ChangeJobRequest>) -> Result<Response<v1::ChangeJobReply>, Status> {
        match request.into_inner().job.as_str() {
            "j1" => Ok(Response::new(v1::ChangeJobReply {})),
            job => Err(Status::not_found(format!("there is no job {job}"))),
        }
    }

    async fn load(&self, request: Request<v1::LoadRequest>) -> Result<Response<v1::LoadReply>, Status> {
        let request = request.into_inner();
        let hot = |key: &'static [u8], rate| v1::HotKey {
            key: key.into(),
            rate,
            excess: 2.0,
            nodes: vec![v1::NodeRate { node: 1, rate: rate - 100.0 }, v1::NodeRate { node: 2, rate: 100.0 }],
        };
        let all = [hot(b"hot", 1200.0), hot(b"two\nlines", 300.0)];
        let reads = all.into_iter().take(usize::try_from(request.keys).unwrap()).collect();
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        let slot = |slot, per_question: u64| v1::SlotLoad {
            slot,
            reads: 1_000 + *asked * per_question,
            writes: 5,
            keys: u64::from(slot) + 1,
            bytes: 2048,
        };
        let slots = if request.slots { vec![slot(7, 10), slot(9, 40)] } else { Vec::new() };
        Ok(Response::new(v1::LoadReply { slots, reads, writes: Vec::new(), unreachable: vec![3] }))
    }
}

/// A node of a cluster of `count` that has not been created; returns its address and what it answers to `status`.
async fn fake_node(count: u32) -> (String, Arc<Mutex<v1::StatusReply>>) {
    let nodes = (1..=count).map(|id| v1::Node { id, live: true, admin: format!("n{id}:1"), ..Default::default() });
    let topology = v1::TopologyUpdate {
        slots: vec![v1::SlotOwner { first: 0, last: 16383, group: 1 }],
        nodes: nodes.collect(),
        ..Default::default()
    };
    let reply = v1::StatusReply { topology: Some(topology), metadata_reachable: true, ..Default::default() };
    let status = Arc::new(Mutex::new(reply));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service =
        AdminServer::new(FakeNode { status: Arc::clone(&status), asked: Mutex::default(), ordered: Mutex::default() });
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, status)
}

async fn admin(server: &str, line: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simplekv-admin"));
    let command = command.args(["--server", server]).args(line.split(' ')).env_remove("NO_COLOR").kill_on_drop(true);
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn init_spreads_groups_over_the_named_nodes() {
    let (node, status) = fake_node(6).await;
    assert_eq!(admin(&node, "health").await.0, 3, "before init");
    let (code, said, _) = admin(&node, "init --groups 2 --nodes n1-n6").await;
    let id = "07".repeat(16);
    assert_eq!((code, said), (0, format!("created cluster {id}\n  g1 on n1, n2, n3\n  g2 on n4, n5, n6\n")));
    assert_eq!(admin(&node, "health").await, (0, "healthy\n".to_owned(), String::new()));

    let (code, _, complaint) = admin(&node, "init --groups 2 --nodes 1-3").await;
    assert_eq!(code, 4);
    assert_eq!(
        complaint,
        format!(
            "error: cluster {id} exists already\n  now:  nothing was changed\n  \
             next: look at it with `simplekv-admin status`; --if-needed accepts a cluster that exists\n"
        )
    );
    let (code, said, _) = admin(&node, "init --groups 2 --nodes 1-3 --if-needed --json").await;
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &document["created"], &document["groups"][1]["id"]), (0, &false.into(), &"g2".into()));
    assert_eq!(status.lock().unwrap().topology.as_ref().unwrap().groups.len(), 2);
}

#[tokio::test]
async fn init_needs_enough_nodes() {
    let (node, _) = fake_node(3).await;
    let (code, _, complaint) = admin(&node, "init --groups 1 --nodes n1,n2 --replicas 3").await;
    assert_eq!(code, 2);
    assert!(complaint.contains("3 replicas need as many nodes, and 2 were named"), "{complaint}");
    assert_eq!(admin(&node, "init --group g1=n1,n2,n3,n4").await.0, 2, "the node's refusal");
    assert_eq!(admin(&node, "init --groups 0 --nodes n1").await.0, 2);
}

#[tokio::test]
async fn init_takes_the_nodes_that_run_and_mixes_their_zones() {
    let (node, status) = fake_node(7).await;
    for (node, zone) in status.lock().unwrap().topology.as_mut().unwrap().nodes.iter_mut().zip("aabbcca".chars()) {
        node.zone = zone.to_string();
        node.live = node.id != 7;
    }
    let (code, said, complaint) = admin(&node, "init --groups 2").await;
    assert_eq!(code, 0, "{complaint}");
    assert!(said.ends_with("\n  g1 on n1, n3, n5\n  g2 on n2, n4, n6\n"), "{said}");

    let (node, _) = fake_node(2).await;
    let (code, _, complaint) = admin(&node, "init --groups 1").await;
    assert_eq!(code, 4);
    assert!(complaint.contains("3 replicas need as many nodes, and 2 have registered and run"), "{complaint}");
    assert_eq!(admin(&node, "init --groups 1 --replicas 2").await.0, 0);
}

#[tokio::test]
async fn a_success_that_cannot_be_printed_is_not_called_a_failure_to_start() {
    let (node, status) = fake_node(1).await;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_simplekv-admin"));
    command.args(["--server", &node, "init", "--groups", "1", "--nodes", "n1"]);
    let child = command.stdout(full).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let Output { status: code, stderr, .. } = child.wait_with_output().await.unwrap();
    let complaint = String::from_utf8(stderr).unwrap();
    assert_eq!(code.code(), Some(1));
    assert!(complaint.contains("cannot print the answer") && complaint.contains("the command itself succeeded"));
    assert!(!status.lock().unwrap().cluster_id.is_empty());
}

#[tokio::test]
async fn changes_are_reported_and_refusals_explained() {
    let (node, _) = fake_node(3).await;
    assert_eq!(admin(&node, "transfer-leader g1 --to n2").await.1, "g1 is led by n2 since epoch 5\n");
    let (code, said, complaint) = admin(&node, "transfer-leader g1 --to n9").await;
    assert_eq!((code, said.as_str()), (4, ""));
    assert!(complaint.starts_with("error: n9 is not in sync\n  now:  nothing was changed\n  next: "), "{complaint}");
    assert_eq!(
        admin(&node, "add-group --replicas n1,n2,n3").await.1,
        "created g3 on n1, n2, n3; it owns no slots yet\n"
    );
}

#[tokio::test]
async fn a_recovery_tells_what_it_costs_and_is_done_only_as_it_was_shown() {
    let (node, _) = fake_node(3).await;
    let (code, said, complaint) = admin(&node, "recover-group g1 --dry-run").await;
    assert_eq!(code, 4);
    assert!(said.contains("other disk, unaccounted for") && !said.contains("go on with"), "{said}");
    assert_eq!(
        complaint,
        "error: n3 came back with another disk\n  now:  nothing was changed\n  \
         next: simplekv-admin recover-group g1 --lost n3\n"
    );
    let (code, said, _) = admin(&node, "recover-group g1 --lost n3 --dry-run").await;
    let shown = "\
g1  lineage 0  epoch 4  min in sync 2

NODE  IN-SYNC REPLICA              LINEAGE  LAST EPOCH  LOG END  COMMITTED  KEYS  POSSIBLE
n1    lost data, accounted for           0           4      120        120     0  yes
n2    lost data, accounted for           0           4      100        100     0  yes
n3    other disk, unaccounted for        ?           ?        ?          ?     ?  no

g1 would go on with the log of n1: lineage 1, epoch 5; a write needs 2 in-sync replicas
what that costs:
  - what n3 had acknowledged is lost
Nothing was changed.
";
    assert_eq!((code, said.as_str()), (0, shown));

    // Without a terminal nobody can be asked.
    let (code, said, complaint) = admin(&node, "recover-group g1 --lost n3").await;
    assert_eq!((code, said.as_str()), (2, shown));
    assert!(complaint.contains("--accept-data-loss"), "{complaint}");

    let (code, said, complaint) = admin(&node, "recover-group g1 --lost n3 --accept-data-loss --json").await;
    assert_eq!(code, 0, "{complaint}");
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&document["done"], &document["chosen"]), (&true.into(), &"n1".into()));
    assert_eq!(document["replicas"][2]["log_end"], serde_json::Value::Null);
    assert_eq!(admin(&node, "set-recovery g1 longest").await.1, "g1 recovers by `longest` from now on\n");
    assert_eq!(admin(&node, "set-recovery g9 manual").await.0, 1);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_not_waited_for_for_ever() {
    let (node, _) = fake_node(1).await;
    let (code, _, complaint) = admin(&node, "explain group g1 --timeout 200ms").await;
    assert_eq!(code, 6);
    assert!(complaint.contains("did not answer within 200ms"), "{complaint}");
}

#[tokio::test]
async fn watching_ends_when_the_cluster_is_healthy() {
    let (node, _) = fake_node(1).await;
    let watching = tokio::spawn({
        let node = node.clone();
        async move { admin(&node, "health --watch --exit-when-healthy --json --timeout 30s").await }
    });
    assert_eq!(admin(&node, "init --groups 1 --nodes n1").await.0, 0);
    let (code, said, _) = watching.await.unwrap();
    assert_eq!(code, 0);
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["health"], "healthy");
    let (code, _, complaint) = admin(&fake_node(1).await.0, "health --exit-when-healthy --timeout 700ms").await;
    assert_eq!(code, 6, "{complaint}");
}

#[tokio::test]
async fn json_is_one_document_and_errors_stay_on_stderr() {
    let (node, _) = fake_node(2).await;
    for line in ["status", "list-groups", "list-nodes", "slots", "find-slot foo", "health"] {
        let (code, said, complaint) = admin(&node, &format!("{line} --json")).await;
        assert!(code == 0 || (line == "health" && code == 3), "{line}: {complaint}");
        serde_json::from_str::<serde_json::Value>(&said).unwrap_or_else(|error| panic!("{line}: {error}: {said}"));
    }
    let (code, said, complaint) = admin(&node, "slots --group g9 --json").await;
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(complaint.contains("there is no group g9"), "{complaint}");
}

#[tokio::test]
async fn hot_keys_are_shown_with_who_is_asked_for_them() {
    let (node, _) = fake_node(3).await;
    let (code, said, complaint) = admin(&node, "hot-keys").await;
    assert_eq!((code, complaint.as_str()), (0, ""));
    assert_eq!(
        said,
        "      OPS/S  AT MOST LESS   SLOT  NODES           KEY\n\
         read   1200             2   6093  n1:1100,n2:100  hot\n\
         read    300             2  15810  n1:200,n2:100   two\\nlines\n\
         without what is asked of n3, which did not answer\n"
    );
    let (code, said, _) = admin(&node, "hot-keys --limit 1 --json").await;
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, document["reads"].as_array().unwrap().len()), (0, 1));
    assert_eq!((&document["reads"][0]["key_base64"], &document["unreachable"][0]), (&"aG90".into(), &"n3".into()));
    assert_eq!(admin(&node, "hot-keys --limit 0").await.0, 2);
}

#[tokio::test]
async fn hot_slots_are_what_was_asked_between_two_looks() {
    let (node, _) = fake_node(3).await;
    let (code, said, complaint) = admin(&node, "hot-slots --over 10ms --json").await;
    assert_eq!((code, complaint.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    let reads: Vec<(u64, u64)> = document["slots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slot| (slot["slot"].as_u64().unwrap(), slot["reads"].as_u64().unwrap()))
        .collect();
    assert_eq!(reads, [(9, 40), (7, 10)]);
    let (code, said, _) = admin(&node, "hot-slots --over 10ms --by keys --limit 1").await;
    assert_eq!((code, said.lines().nth(1).map(|line| line.starts_with("   9"))), (0, Some(true)), "{said}");
    assert_eq!(admin(&node, "hot-slots --by heat").await.0, 2);
}

/// What groups there are, and the slot map's version.
fn two_groups(status: &Mutex<v1::StatusReply>) {
    let group = |id| v1::Group { id, leader: id, ..Default::default() };
    let mut status = status.lock().unwrap();
    let topology = status.topology.as_mut().unwrap();
    (topology.groups, topology.slot_map_version) = (vec![group(1), group(2)], 7);
}

#[tokio::test]
async fn slots_are_moved_by_the_cluster_and_followed_from_here() {
    let (node, status) = fake_node(2).await;
    two_groups(&status);
    let (code, said, told) = admin(&node, "migrate-slot 5,10-13 --to g2").await;
    let end = "job    j1\nasked  migrate-slot 5,10-13 --to g2\nstate  done\nslots  5 of 5\ntook   2500 ms\n";
    assert_eq!((code, said.as_str()), (0, end), "{told}");
    assert!(told.contains("j1 goes on by itself"), "{told}");
    assert!(
        told.contains("0 %  0 of 5 slots; 5,10-13 g1 to g2: copy, 3 of 5, 1200 records, 2.0 MB, 4.0 MB/s"),
        "{told}"
    );
    let (code, said, _) = admin(&node, "migrations list").await;
    assert_eq!(
        (code, said.lines().nth(1).unwrap().split_whitespace().take(5).collect::<Vec<_>>().join(" ")),
        (0, "j1 done 5 of 5".to_owned())
    );
    assert_eq!(admin(&node, "migrations pause j1").await.1, "j1 is paused\n");
    let (code, _, complaint) = admin(&node, "migrations cancel j9").await;
    assert_eq!(code, 1, "{complaint}");
    assert!(complaint.contains("there is no job j9"), "{complaint}");
}

#[tokio::test]
async fn a_plan_is_made_shown_and_carried_out_only_as_long_as_it_fits() {
    let (node, status) = fake_node(2).await;
    two_groups(&status);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plan.json").display().to_string();
    let (code, said, _) = admin(&node, &format!("rebalance --dry-run --out {file}")).await;
    assert_eq!(code, 0);
    assert!(said.contains("8192-16383   8192  g1    g2"), "{said}");
    assert!(said.ends_with("8192 slots, for version 7 of the slot map\n"), "{said}");
    assert_eq!(admin(&node, &format!("plan show {file}")).await.1, said);
    assert_eq!(admin(&node, &format!("plan verify {file}")).await.0, 0);
    assert_eq!(
        admin(&node, &format!("plan apply {file} --detach")).await.1,
        "ordered as j1; follow it with `simplekv-admin migrations watch j1`\n"
    );

    status.lock().unwrap().topology.as_mut().unwrap().slot_map_version = 8;
    let (code, _, complaint) = admin(&node, &format!("plan verify {file}")).await;
    assert_eq!(code, 4);
    assert!(complaint.contains("for version 7 of the slot map, which is at 8 by now"), "{complaint}");
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(admin(&node, &format!("plan apply {file}")).await.0, 2);
}

#[tokio::test]
async fn a_group_is_not_removed_if_nobody_can_take_its_slots() {
    let (node, status) = fake_node(2).await;
    two_groups(&status);
    let (code, said, _) = admin(&node, "remove-group g1 --dry-run").await;
    assert_eq!(code, 0);
    assert!(said.contains("  16384  g1    g2") && said.ends_with("; then g1 is removed\n"), "{said}");
    status.lock().unwrap().topology.as_mut().unwrap().groups.truncate(1);
    let (code, _, complaint) = admin(&node, "remove-group g1").await;
    assert_eq!(code, 4);
    assert!(complaint.contains("g1 is the only group"), "{complaint}");
}
