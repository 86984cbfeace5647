//! The typed views, against nodes whose commands are the real ones.

mod mock_cluster;

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use mock_cluster::{MockCluster, Verdict};
use simplekv_client::{Aggregate, Client, End, Error, Key, ReadPolicy, Reply};

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn sorted(mut values: Vec<Bytes>) -> Vec<Bytes> {
    values.sort();
    values
}

async fn one_node() -> (MockCluster, Client) {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    (cluster, kv)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_two_ends_and_a_middle() {
    let (_cluster, kv) = one_node().await;
    let list = kv.list("jobs");
    assert_eq!(list.rpush(["a"]).if_present().await.unwrap(), 0, "there is none");
    assert_eq!(list.rpush(["b", "c"]).await.unwrap(), 2);
    assert_eq!(list.lpush(["a", "z"]).await.unwrap(), 4);
    assert_eq!(list.range(0, -1).await.unwrap(), ["z", "a", "b", "c"]);
    assert_eq!(list.lpop().await.unwrap(), Some(b("z")));
    assert_eq!((list.len().await.unwrap(), list.get(-1).await.unwrap()), (3, Some(b("c"))));
    assert_eq!(list.insert_before("b", "x").await.unwrap(), Some(4));
    assert_eq!(list.insert_after("c", "b").await.unwrap(), Some(5));
    assert_eq!(list.insert_after("none", "b").await.unwrap(), None);
    assert_eq!(list.position("b").await.unwrap(), Some(2));
    assert_eq!(list.position("b").rank(-1).await.unwrap(), Some(4));
    assert_eq!(list.position("b").many(0).await.unwrap(), [2, 4]);
    assert_eq!(list.position("b").many(0).looking_at(3).await.unwrap(), [2]);
    assert_eq!(list.position("none").await.unwrap(), None);
    list.set(1, "y").await.unwrap();
    assert!(matches!(list.set(99, "y").await, Err(Error::Server(_))));
    assert_eq!(list.remove("b").last(1).await.unwrap(), 1);
    list.trim(0, 2).await.unwrap();
    assert_eq!(list.range(0, -1).await.unwrap(), ["a", "y", "b"]);
    assert_eq!(list.rpop_many(2).await.unwrap(), ["b", "y"]);
    assert_eq!(list.rpop().await.unwrap(), Some(b("a")));
    assert!(list.lpop_many(2).await.unwrap().is_empty());
    assert_eq!(list.lpop().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn elements_go_from_list_to_list() {
    let (_cluster, kv) = one_node().await;
    let (from, to) = (kv.list("{l}from"), kv.list("{l}to"));
    from.rpush(["a", "b", "c"]).await.unwrap();
    assert_eq!(from.move_to("{l}to", End::Left, End::Right).await.unwrap(), Some(b("a")));
    assert_eq!(to.move_to("{l}none", End::Left, End::Left).await.unwrap(), Some(b("a")));
    assert_eq!(to.move_to("{l}none", End::Left, End::Left).await.unwrap(), None);
    assert!(matches!(from.move_to("elsewhere", End::Left, End::Left).await, Err(Error::CrossSlot { .. })));
    let lists = kv.lists(["{l}to", "{l}from"]);
    assert_eq!(lists.lpop().count(9).await.unwrap(), Some((Key::from("{l}from"), vec![b("b"), b("c")])));
    assert_eq!(lists.rpop().await.unwrap(), None);
    assert!(matches!(kv.lists(["a", "b"]).lpop().await, Err(Error::CrossSlot { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_gets_what_comes() {
    let cluster = MockCluster::start(3, &[&[1], &[2], &[3]]);
    let kv = cluster.client().await;
    let waiter = kv.clone();
    let waiting = tokio::spawn(async move { waiter.list("jobs").wait_lpop(Duration::MAX).await });
    let waiter = kv.clone();
    let anywhere =
        tokio::spawn(async move { waiter.lists(["one", "two", "three"]).wait_rpop(Duration::from_secs(30)).await });
    let waiter = kv.clone();
    let scores = tokio::spawn(async move { waiter.zset("scores").wait_pop_max(Duration::from_secs(30)).await });
    kv.list("jobs").rpush(["a", "b"]).await.unwrap();
    kv.list("three").rpush(["c", "d"]).await.unwrap();
    kv.zset("scores").add([("low", 1.0), ("high", 2.0)]).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Some(b("a")));
    assert_eq!(anywhere.await.unwrap().unwrap(), Some((Key::from("three"), vec![b("d")])));
    assert_eq!(scores.await.unwrap().unwrap(), Some((b("high"), 2.0)));

    let soon = Duration::from_millis(20);
    assert_eq!(kv.list("none").wait_rpop(soon).await.unwrap(), None, "the time is up");
    assert_eq!(kv.list("none").wait_move_to("none", End::Left, End::Right, soon).await.unwrap(), None);
    assert_eq!(kv.zset("none").wait_pop_min(soon).await.unwrap(), None);
    kv.set("text", "v").await.unwrap();
    assert!(matches!(kv.list("text").wait_lpop(Duration::MAX).await, Err(Error::WrongType)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_has_fields() {
    let (_cluster, kv) = one_node().await;
    let hash = kv.hash("user:1");
    assert!(hash.set("name", "alice").await.unwrap());
    assert!(!hash.set("name", "bob").await.unwrap());
    assert_eq!(hash.set_all([("visits", "1"), ("name", "carol")]).await.unwrap(), 1);
    assert!(!hash.set_if_absent("visits", "7").await.unwrap());
    assert_eq!(hash.get("name").await.unwrap(), Some(b("carol")));
    assert_eq!(hash.get("none").await.unwrap(), None);
    assert_eq!(hash.get_many(["visits", "none"]).await.unwrap(), [Some(b("1")), None]);
    assert_eq!(hash.incr("visits", 41).await.unwrap(), 42);
    assert_eq!(hash.incr_float("weight", 0.25).await.unwrap(), 0.25);
    assert!(matches!(hash.incr("name", 1).await, Err(Error::Server(_))));
    assert_eq!((hash.len().await.unwrap(), hash.value_len("name").await.unwrap()), (3, 5));
    assert!(hash.contains("name").await.unwrap() && !hash.contains("none").await.unwrap());
    assert_eq!(hash.del(["weight", "none"]).await.unwrap(), 1);
    let all = HashMap::from([(b("name"), b("carol")), (b("visits"), b("42"))]);
    assert_eq!(hash.get_all().await.unwrap(), all);
    assert_eq!(sorted(hash.fields().await.unwrap()), ["name", "visits"]);
    assert_eq!(sorted(hash.values().await.unwrap()), ["42", "carol"]);
    assert!(all.contains_key(&hash.random().await.unwrap().unwrap()));
    assert_eq!(hash.random_many(-5).await.unwrap().len(), 5);
    assert_eq!(hash.random_with_values(9).await.unwrap().into_iter().collect::<HashMap<_, _>>(), all);
    assert!(kv.hash("none").get_all().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_are_asked_and_combined() {
    let (_cluster, kv) = one_node().await;
    let set = kv.set_of("{s}a");
    assert_eq!(set.add(["1", "2", "3", "2"]).await.unwrap(), 3);
    assert_eq!(kv.set_of("{s}b").add(["2", "3", "4"]).await.unwrap(), 3);
    assert!(set.contains("1").await.unwrap());
    assert_eq!(set.contains_each(["1", "9"]).await.unwrap(), [true, false]);
    assert_eq!(set.len().await.unwrap(), 3);
    assert_eq!(sorted(set.members().await.unwrap()), ["1", "2", "3"]);
    assert_eq!(sorted(set.inter(["{s}b"]).await.unwrap()), ["2", "3"]);
    assert_eq!(set.union(["{s}b"]).await.unwrap().len(), 4);
    assert_eq!(set.diff(["{s}b"]).await.unwrap(), ["1"]);
    assert_eq!(set.inter_len(["{s}b"], 0).await.unwrap(), 2);
    assert_eq!(set.inter_len(["{s}b"], 1).await.unwrap(), 1);
    assert_eq!(set.union(["{s}b"]).store_in("{s}c").await.unwrap(), 4);
    assert!(set.move_to("{s}c", "1").await.unwrap());
    assert_eq!(set.remove(["2", "9"]).await.unwrap(), 1);
    assert_eq!(set.random().await.unwrap(), Some(b("3")));
    assert_eq!(set.random_many(-3).await.unwrap(), ["3", "3", "3"]);
    assert_eq!(set.pop().await.unwrap(), Some(b("3")));
    assert_eq!(kv.set_of("{s}c").pop_many(9).await.unwrap().len(), 4);
    assert!(matches!(set.inter(["elsewhere"]).await, Err(Error::CrossSlot { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sorted_set_is_in_order() {
    let (_cluster, kv) = one_node().await;
    let zset = kv.zset("{z}scores");
    assert_eq!(zset.add([("a", 1.0), ("b", 2.0), ("c", f64::INFINITY)]).await.unwrap(), 3);
    assert_eq!(zset.add([("a", 0.5), ("d", 4.0)]).if_present().if_greater().counting_changed().await.unwrap(), 0);
    assert_eq!(zset.add([("a", 9.0), ("d", 4.0)]).if_absent().await.unwrap(), 1);
    assert_eq!(zset.add([("d", 3.0)]).if_less().counting_changed().await.unwrap(), 1);
    assert_eq!(zset.incr("d", 0.5).await.unwrap(), 3.5);
    assert_eq!((zset.len().await.unwrap(), zset.score("d").await.unwrap()), (4, Some(3.5)));
    assert_eq!(zset.scores(["c", "none"]).await.unwrap(), [Some(f64::INFINITY), None]);
    assert_eq!((zset.rank("b").await.unwrap(), zset.rev_rank("b").await.unwrap()), (Some(1), Some(2)));
    assert_eq!(zset.rank_with_score("b").await.unwrap(), Some((1, 2.0)));
    assert_eq!(zset.rev_rank_with_score("none").await.unwrap(), None);
    assert_eq!(zset.range(0, -1).await.unwrap(), ["a", "b", "d", "c"]);
    assert_eq!(zset.range(0, 1).rev().with_scores().await.unwrap(), [(b("c"), f64::INFINITY), (b("d"), 3.5)]);
    assert_eq!(zset.range_by_score(2.0..=3.5).await.unwrap(), ["b", "d"]);
    let open = (Bound::Excluded(2.0), Bound::Unbounded);
    assert_eq!(zset.range_by_score(open).rev().limit(1, 5).await.unwrap(), ["d"]);
    assert_eq!(zset.count_by_score(..2.0).await.unwrap(), 1);
    assert_eq!(zset.range_by_score(1.0..3.0).store_in("{z}low").await.unwrap(), 2);
    assert_eq!(zset.random_many(9).await.unwrap().len(), 4);
    assert_eq!(zset.random_with_scores(-2).await.unwrap().len(), 2);
    assert_eq!(zset.remove(["a", "none"]).await.unwrap(), 1);
    assert_eq!(zset.pop_max().await.unwrap(), Some((b("c"), f64::INFINITY)));
    assert_eq!(zset.pop_min_many(5).await.unwrap(), [(b("b"), 2.0), (b("d"), 3.5)]);
    assert_eq!(zset.pop_min().await.unwrap(), None);
    assert!(zset.pop_max_many(2).await.unwrap().is_empty());
    let sets = kv.zsets(["{z}scores", "{z}low"]);
    assert_eq!(sets.pop_max().count(5).await.unwrap(), Some((Key::from("{z}low"), vec![(b("b"), 2.0), (b("a"), 1.0)])));
    assert_eq!(sets.pop_min().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sorted_sets_are_cut_and_combined() {
    let (_cluster, kv) = one_node().await;
    let names = kv.zset("{z}names");
    names.add(["ada", "bob", "cid", "dan", "eve"].map(|name| (name, 0.0))).await.unwrap();
    assert_eq!(names.range_by_member("b".."dan").await.unwrap(), ["bob", "cid"]);
    assert_eq!(names.range_by_member::<&str>(..).rev().limit(0, 1).await.unwrap(), ["eve"]);
    assert_eq!(names.count_by_member("bob"..).await.unwrap(), 4);
    assert_eq!(names.remove_by_member(..="ada").await.unwrap(), 1);
    assert_eq!(names.remove_range(-1, -1).await.unwrap(), 1);
    assert_eq!(names.remove_by_score(1.0..).await.unwrap(), 0);
    let other = kv.zset("{z}other");
    other.add([("bob", 2.0), ("zoe", 3.0)]).await.unwrap();
    assert_eq!(names.inter(["{z}other"]).with_scores().await.unwrap(), [(b("bob"), 2.0)]);
    assert_eq!(names.diff(["{z}other"]).await.unwrap(), ["cid", "dan"]);
    assert_eq!(names.inter_len(["{z}other"], 0).await.unwrap(), 1);
    let united = names.union(["{z}other"]).weights([1.0, 0.5]).aggregate(Aggregate::Max);
    assert_eq!(
        united.clone().with_scores().await.unwrap(),
        [(b("cid"), 0.0), (b("dan"), 0.0), (b("bob"), 1.0), (b("zoe"), 1.5)]
    );
    assert_eq!(united.store_in("{z}union").await.unwrap(), 4);
    assert_eq!(kv.zset("{z}union").random().await.unwrap().map(|name| name.len()), Some(3));
    assert!(matches!(names.union(["{z}other"]).weights([1.0]).await, Err(Error::Server(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_shows_every_element() {
    let (cluster, kv) = one_node().await;
    let fields: Vec<(String, String)> = (0..500).map(|i| (format!("f{i}"), i.to_string())).collect();
    kv.hash("h").set_all(fields.iter().map(|(field, value)| (field, value))).await.unwrap();
    kv.set_of("s").add(fields.iter().map(|(field, _)| field)).await.unwrap();
    kv.zset("z").add(fields.iter().map(|(field, value)| (field, value.parse().unwrap()))).await.unwrap();

    let expected: BTreeSet<Bytes> = fields.iter().map(|(field, _)| field.clone().into()).collect();
    let pairs: Vec<(Bytes, Bytes)> = kv.hash("h").scan().count(20).stream().try_collect().await.unwrap();
    assert!(pairs.iter().all(|(field, value)| field[1..] == value[..]));
    assert_eq!(pairs.into_iter().map(|(field, _)| field).collect::<BTreeSet<_>>(), expected);
    assert!(cluster.seen_named("HSCAN").len() >= 20, "it came in pieces");
    let members: BTreeSet<Bytes> = kv.set_of("s").scan().stream().try_collect().await.unwrap();
    assert_eq!(members, expected);
    let scored: Vec<(Bytes, f64)> = kv.zset("z").scan().read(ReadPolicy::Leader).stream().try_collect().await.unwrap();
    assert_eq!(scored.iter().map(|(_, score)| score).sum::<f64>(), f64::from((0..500).sum::<i32>()));
    let some: BTreeSet<Bytes> = kv.set_of("s").scan().prefix("f49").stream().try_collect().await.unwrap();
    assert_eq!(some.len(), 11);
    let some: Vec<Bytes> = kv.set_of("s").scan().matching("f[12]?").stream().try_collect().await.unwrap();
    assert_eq!(some.len(), 20);
    let none: Vec<Bytes> = kv.set_of("none").scan().stream().try_collect().await.unwrap();
    assert!(none.is_empty());
    let wrong: Result<Vec<Bytes>, Error> = kv.set_of("h").scan().stream().try_collect().await;
    assert!(matches!(wrong, Err(Error::WrongType)));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_those_of_all_requests() {
    let cluster = MockCluster::start(3, &[&[1, 2, 3]]);
    let kv = cluster.client().await;
    let id = kv.request_id("jobs").unwrap();
    for _ in 0..2 {
        assert_eq!(kv.list("jobs").rpush(["once"]).request_id(id).await.unwrap(), 1, "the same write");
    }
    kv.list("jobs").len().read(ReadPolicy::Leader).await.unwrap();
    assert_eq!(cluster.seen_named("LLEN").last().unwrap().policy, ReadPolicy::Leader);
    cluster.script(|_| Verdict::Ignore);
    let asked = kv.hash("h").len().no_retry().timeout(Duration::from_millis(20)).await;
    assert!(matches!(asked, Err(Error::Timeout { attempts: 1, .. })), "{asked:?}");
    let asked = kv.list("jobs").lpop().timeout(Duration::from_millis(20)).await;
    assert!(matches!(&asked, Err(Error::OutcomeUnknown { .. })), "{asked:?}");
    cluster.script(|_| Verdict::Answer(Reply::Ok));
    for error in [kv.list("jobs").len().await.unwrap_err(), kv.zset("z").range(0, 1).await.map(|_| 0).unwrap_err()] {
        assert!(matches!(error, Error::Unexpected { .. }), "{error}");
    }
}
