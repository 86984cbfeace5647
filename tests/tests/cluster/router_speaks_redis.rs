//! Clients that know nothing of slots, before the router.

use simplekv_tests::{Cluster, Shape};

use crate::{default_load, redis};

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_and_redis_benchmark_work_unchanged() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    for (line, answer) in
        [("SET hello 1", "OK"), ("GET hello", "1"), ("INCR hello", "2"), ("EXPIRE hello 200", "1"), ("DEL hello", "1")]
    {
        assert_eq!(redis("redis-cli", &router.resp, line).await.trim(), answer, "{line}");
    }
    default_load(&router.resp, "").await;
    // MSET writes ten keys at a time: a tenth of the requests.
    let lists = "lpush,rpush,lpop,rpop,lpush,lrange_100,lrange_300,lrange_500,lrange_600";
    let loads = [
        ("ping,set,get,incr", 200_000),
        ("hset", 100_000),
        ("mset", 20_000),
        ("sadd,spop,zadd,zpopmin", 50_000),
        (lists, 5000),
    ];
    for (tests, requests) in loads {
        let load = format!("-t {tests} -n {requests} -c 50 -P 16 -r 100000 -q");
        let said = redis("redis-benchmark", &router.resp, &load).await;
        for test in tests.split(',') {
            assert!(said.contains(&test.to_uppercase()), "{said}");
        }
        assert!(!said.to_lowercase().contains("error"), "{said}");
    }
}
