//! Clients that know nothing of slots, before the router.

use std::path::Path;

use simplekv_tests::{Cluster, Shape};
use tokio::process::Command;

use crate::redis;

/// redis-py with its default protocol: one connection, then many commands in one pipeline.
const PYTHON: &str = "
import sys, redis
host, port = sys.argv[1].rsplit(':', 1)
r = redis.Redis(host=host, port=int(port), decode_responses=True)
assert r.ping()
assert r.execute_command('HELLO')['proto'] == 3, 'it has not asked for RESP3'
assert r.set('py:a', '1') and r.get('py:a') == '1'
assert r.incr('py:a') == 2
assert r.expire('py:a', 100) and 0 < r.ttl('py:a') <= 100
keys = {f'py:{i}': str(i) for i in range(200)}
assert r.mset(keys) and r.mget(list(keys)) == list(keys.values())
p = r.pipeline(transaction=False)
for i in range(500): p.incr('py:counter')
assert p.execute() == list(range(1, 501))
assert sorted(k for k in r.scan_iter(match='py:1?') ) == sorted(k for k in keys if len(k) == 5 and k[3] == '1')
fields = {f'f{i}': str(i) for i in range(500)}
assert r.hset('py:h', mapping=fields) == 500 and r.hgetall('py:h') == fields
assert r.hincrby('py:h', 'f1', 41) == 42 and r.hmget('py:h', 'f1', 'none') == ['42', None]
assert len(dict(r.hscan_iter('py:h', count=7))) == 500 and r.hdel('py:h', *fields) == 500 and not r.exists('py:h')
assert r.delete(*keys) == 200 and r.get('py:1') is None
try:
    r.execute_command('NOSUCH'); raise SystemExit('an unknown command was accepted')
except redis.ResponseError as e:
    assert 'unknown command' in str(e), e
print('fine')
";

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_redis_benchmark_and_redis_py_work_unchanged() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    for (line, answer) in
        [("SET hello 1", "OK"), ("GET hello", "1"), ("INCR hello", "2"), ("EXPIRE hello 200", "1"), ("DEL hello", "1")]
    {
        assert_eq!(redis("redis-cli", &router.resp, line).await.trim(), answer, "{line}");
    }
    // MSET writes ten keys at a time: a tenth of the requests.
    for (tests, requests) in [("ping,set,get,incr", 200_000), ("hset", 100_000), ("mset", 20_000)] {
        let load = format!("-t {tests} -n {requests} -c 50 -P 16 -r 100000 -q");
        let said = redis("redis-benchmark", &router.resp, &load).await;
        for test in tests.split(',') {
            assert!(said.contains(&test.to_uppercase()), "{said}");
        }
        assert!(!said.to_lowercase().contains("error"), "{said}");
    }

    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-python/bin/python");
    let output = Command::new(&python).args(["-c", PYTHON, &router.resp]).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; run deploy/setup-test-machine", python.display()));
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "fine", "{complained}");
}
