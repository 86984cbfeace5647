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
assert r.rpush('py:l', *range(100)) == 100 and r.lrange('py:l', -2, -1) == ['98', '99'] and r.lpop('py:l', 2) == ['0', '1']
assert r.linsert('py:l', 'before', '50', 'x') == 99 and r.lindex('py:l', 48) == 'x' and r.lmove('py:l', 'py:l') == '2'
assert r.sadd('py:s', *range(50)) == 50 and r.smembers('py:s') == {str(i) for i in range(50)} and r.sismember('py:s', '7')
assert len(r.spop('py:s', 10)) == 10 and r.scard('py:s') == 40 and len(list(r.sscan_iter('py:s', count=5))) == 40
assert r.zadd('py:z', {f'm{i}': i / 2 for i in range(100)}) == 100 and r.zrank('py:z', 'm30') == 30
assert r.zrange('py:z', 1, 2, byscore=True, withscores=True) == [('m2', 1.0), ('m3', 1.5), ('m4', 2.0)]
assert r.zrevrange('py:z', 0, 0) == ['m99'] and r.zpopmin('py:z') == [('m0', 0.0)] and r.zincrby('py:z', 100, 'm1') == 100.5
p = r.pipeline(transaction=True)
p.set('{py}a', 1); p.lpush('{py}b', 'x'); p.incr('{py}a'); p.lpop('{py}a'); p.ping()
done = p.execute(raise_on_error=False)
assert done[:3] == [True, 1, 2] and 'WRONGTYPE' in str(done[3]) and done[4], done
p = r.pipeline()
p.watch('{py}a')
before = int(p.get('{py}a'))
r.incr('{py}a')
p.multi(); p.set('{py}a', before + 100)
try:
    p.execute(); raise SystemExit('a watched key had changed')
except redis.WatchError:
    assert r.get('{py}a') == str(before + 1)
assert r.transaction(lambda p: (int(p.get('{py}a')), p.multi(), p.incr('{py}a')), '{py}a') == [before + 2]
assert list(r.blpop(['{py}none', '{py}b'], timeout=1)) == ['{py}b', 'x'] and r.brpop('{py}none', timeout=0.05) is None
ps = r.pubsub()
ps.subscribe('{py}news'); ps.psubscribe('{py}n*')
assert [ps.get_message(timeout=5)['type'] for _ in range(2)] == ['subscribe', 'psubscribe']
assert r.publish('{py}news', 'hello') >= 1
assert sorted(ps.get_message(timeout=5)['type'] for _ in range(2)) == ['message', 'pmessage']
ps.close()
across = [f'py:{i}' for i in range(50)]
p = r.pipeline(transaction=True)
for key in across: p.get(key)
try:
    p.execute(); raise SystemExit('a transaction over several groups was accepted')
except redis.exceptions.ClusterCrossSlotError as e:
    assert 'py:0' in str(e), e
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

    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-python/bin/python");
    let output = Command::new(&python).args(["-c", PYTHON, &router.resp]).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; run deploy/setup-test-machine", python.display()));
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "fine", "{complained}");
}
