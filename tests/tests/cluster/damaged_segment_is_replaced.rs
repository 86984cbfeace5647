//! A replica whose files have been damaged notices, tells, and is filled again by the others.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use simplekv_tests::{Cluster, Shape};
use simplekv_types::{GroupId, NodeId};

use crate::client;

const KEYS: u32 = 3000;
/// Well within what has been flushed.
const PLACE: u64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_below_the_flushed_end() {
    survives_damage(|segment| {
        let file = fs::File::options().read(true).write(true).open(segment).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, PLACE).unwrap();
        file.write_all_at(&[byte[0] ^ 1], PLACE).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_below_the_flushed_end() {
    survives_damage(|segment| fs::File::options().write(true).open(segment).unwrap().set_len(PLACE).unwrap()).await;
}

async fn survives_damage(damage: impl Fn(&Path)) {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    // One by one: each is flushed, and many frames lie before the damage.
    for batch in 0..KEYS / 100 {
        kv.mset((0..100).map(|n| (format!("k{}", batch * 100 + n), n.to_string()))).await.unwrap();
    }
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let victim = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != leader).unwrap();
    cluster.node(victim).stop().unwrap();
    damage(&segment(cluster.node(victim).disk()));
    cluster.node(victim).process.start().unwrap();
    cluster.healthy().await.unwrap();

    // What the damaged node holds now shows when it alone answers.
    cluster.admin().unwrap().run(&format!("transfer-leader g1 --to {victim}")).await.unwrap();
    let values = kv.mget((0..KEYS).map(|n| format!("k{n}"))).await.unwrap();
    for (n, value) in (0..KEYS).zip(values) {
        assert_eq!(value.as_deref(), Some((n % 100).to_string().as_bytes()), "k{n}");
    }
    // By the node itself, or by the leader, to whom it had acknowledged more than it has now.
    let told = cluster.nodes.iter().any(|node| {
        let log = node.process.log();
        log.to_lowercase().contains("corrupt") || log.contains("StorageLied")
    });
    assert!(told, "nobody told of the damage");
}

/// The only segment below this directory that is large enough.
fn segment(dir: &Path) -> PathBuf {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else if entry.path().extension().is_some_and(|ext| ext == "log")
                && entry.metadata().unwrap().len() > 2 * PLACE
            {
                found.push(entry.path());
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
