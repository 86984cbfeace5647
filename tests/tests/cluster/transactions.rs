//! Several commands as one, while the leader dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use simplekv_types::GroupId;

const ACCOUNTS: usize = 6;
const MONEY: i64 = 1000;
const TRANSFERS: usize = 400;
const TRANSFERRERS: usize = 3;

async fn ask_all(connection: &mut RespConnection, requests: &[&str]) -> Vec<Frame> {
    for request in requests {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        connection.push(&words);
    }
    connection.send().await.unwrap();
    let mut replies = Vec::with_capacity(requests.len());
    for request in requests {
        replies.push(connection.receive().await.unwrap().unwrap_or_else(|| panic!("no answer to {request}")));
    }
    replies
}

fn number(frame: &Frame) -> i64 {
    match frame {
        Frame::Int(number) => *number,
        Frame::Bulk(text) => std::str::from_utf8(text).unwrap().parse().unwrap(),
        other => panic!("no number: {other:?}"),
    }
}

/// Moves money from one account to another, now by two commands in one transaction, now by what was read while it was watched.
async fn transfer(connection: &mut RespConnection, turn: usize) {
    let (from, to, amount) = (turn % ACCOUNTS, (turn * 7 + 1) % ACCOUNTS, turn % 50);
    if from == to {
        return;
    }
    let last = if turn.is_multiple_of(2) {
        let (take, give) = (format!("DECRBY account:{from} {amount}"), format!("INCRBY account:{to} {amount}"));
        ask_all(connection, &["MULTI", &take, &give, "EXEC"]).await.pop().unwrap()
    } else {
        let (from, to) = (format!("account:{from}"), format!("account:{to}"));
        let watch = format!("WATCH {from} {to}");
        let read = ask_all(connection, &[&watch, &format!("GET {from}"), &format!("GET {to}")]).await;
        let (has, other) = (number(&read[1]) - amount as i64, number(&read[2]) + amount as i64);
        let (take, give) = (format!("SET {from} {has}"), format!("SET {to} {other}"));
        ask_all(connection, &["MULTI", &take, &give, "EXEC"]).await.pop().unwrap()
    };
    assert!(matches!(last, Frame::Array(_) | Frame::Null), "a transfer was refused: {last:?}");
}

async fn sum(connection: &mut RespConnection) -> i64 {
    let gets: Vec<String> = (0..ACCOUNTS).map(|account| format!("GET account:{account}")).collect();
    let requests: Vec<&str> = ["MULTI"].into_iter().chain(gets.iter().map(String::as_str)).chain(["EXEC"]).collect();
    let Some(Frame::Array(all)) = ask_all(connection, &requests).await.pop() else { panic!("no array") };
    all.iter().map(number).sum()
}

/// Whoever looks sees each transfer done or not begun, whichever leader did it.
#[tokio::test(flavor = "multi_thread")]
async fn money_is_neither_made_nor_lost_while_leaders_die() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let mut connection = RespConnection::open(&router.resp).await.unwrap();
    for account in 0..ACCOUNTS {
        ask_all(&mut connection, &[&format!("SET account:{account} {MONEY}")]).await;
    }
    let transferrers: Vec<_> = (0..TRANSFERRERS)
        .map(|number| {
            let address = router.resp.clone();
            tokio::spawn(async move {
                let mut connection = RespConnection::open(&address).await.unwrap();
                for turn in 0..TRANSFERS {
                    transfer(&mut connection, turn * TRANSFERRERS + number).await;
                }
            })
        })
        .collect();
    let done = Arc::new(AtomicBool::new(false));
    let (address, over) = (router.resp.clone(), Arc::clone(&done));
    let reader = tokio::spawn(async move {
        let mut connection = RespConnection::open(&address).await.unwrap();
        let mut sums = 0;
        while !over.load(Ordering::Relaxed) {
            assert_eq!(sum(&mut connection).await, MONEY * ACCOUNTS as i64);
            sums += 1;
        }
        sums
    });
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    cluster.node(leader).process.kill().unwrap();
    for transferrer in transferrers {
        transferrer.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 0, "somebody looked");
    assert_eq!(sum(&mut connection).await, MONEY * ACCOUNTS as i64);
}

/// Two groups: a router refuses what belongs to both, unless it is told to do each group's part by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_cuts_transactions_only_if_it_is_told_to() {
    let cluster = Cluster::start(&Shape { groups: vec![vec![1], vec![2]], ..Shape::one_node() }).await.unwrap();
    // Slots 12182 and 1044.
    let across = ["MULTI", "SET foo 1", "MSET foo2 2 foo 3", "INCR foo2", "LPUSH foo x", "EXEC"];
    let careful = cluster.router().await.unwrap();
    let mut connection = RespConnection::open(&careful.resp).await.unwrap();
    let refused = ask_all(&mut connection, &across).await.pop().unwrap();
    assert!(matches!(&refused, Frame::Error(text) if text.starts_with(b"CROSSSLOT ")), "{refused:?}");
    assert_eq!(ask_all(&mut connection, &["EXISTS foo foo2"]).await, [Frame::Int(0)]);
    drop(careful);

    let told = cluster.router_with(&vec![("redis", "transactions", "per-group".into())]).await.unwrap();
    let mut connection = RespConnection::open(&told.resp).await.unwrap();
    let Some(Frame::Array(done)) = ask_all(&mut connection, &across).await.pop() else { panic!("it was refused") };
    let ok = Frame::Status("OK".into());
    assert_eq!(done[..3], [ok.clone(), ok.clone(), Frame::Int(3)]);
    assert!(matches!(&done[3], Frame::Error(text) if text.starts_with(b"WRONGTYPE ")), "{done:?}");
    let values = Frame::Array(vec![Frame::Bulk("3".into()), Frame::Bulk("3".into())]);
    assert_eq!(ask_all(&mut connection, &["MGET foo foo2"]).await, *std::slice::from_ref(&values));

    // What is watched keeps all of it from being done, also what belongs to the other group.
    let mut other = RespConnection::open(&told.resp).await.unwrap();
    assert_eq!(ask_all(&mut connection, &["WATCH foo2"]).await, *std::slice::from_ref(&ok));
    assert_eq!(ask_all(&mut other, &["SET foo2 changed"]).await, *std::slice::from_ref(&ok));
    assert_eq!(ask_all(&mut connection, &["MULTI", "SET foo 9", "SET foo2 9", "EXEC"]).await[3], Frame::Null);
    assert_eq!(ask_all(&mut connection, &["GET foo", "SET foo2 3"]).await, [Frame::Bulk("3".into()), ok]);

    // What cannot be cut, or is watched in both, is refused as a whole.
    for transaction in [
        ["UNWATCH", "MULTI", "SET foo 9", "RENAME foo foo2", "EXEC"],
        ["WATCH foo foo2", "MULTI", "SET foo 9", "SET foo2 9", "EXEC"],
        ["UNWATCH", "MULTI", "SET foo 9", "MSETNX foo 1 foo2 2", "EXEC"],
    ] {
        let refused = ask_all(&mut connection, &transaction).await.pop().unwrap();
        assert!(
            matches!(&refused, Frame::Error(text) if text.starts_with(b"CROSSSLOT ")),
            "{transaction:?}: {refused:?}"
        );
    }
    assert_eq!(ask_all(&mut connection, &["MGET foo foo2"]).await, [values]);
}
