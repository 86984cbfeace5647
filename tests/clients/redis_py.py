"""redis-py, before a router as before one Redis and before nodes as before a Redis Cluster.

usage: redis_py.py ROUTER NODE, both as HOST:PORT
"""

import asyncio
import functools
import sys
import threading
import time

import redis
import redis.asyncio
from redis.cache import CacheConfig, CacheFactory
from redis.cluster import ClusterNode, LoadBalancingStrategy, RedisCluster

EVERYBODY = LoadBalancingStrategy.ROUND_ROBIN


def everyday(r, p):
    """One connection and all sorts of data. Every key begins with `p`."""
    assert r.ping() and r.echo("hello") == "hello"
    assert r.set(f"{p}a", "1") and r.get(f"{p}a") == "1" and r.incr(f"{p}a") == 2
    assert r.expire(f"{p}a", 100) and 0 < r.ttl(f"{p}a") <= 100 and r.persist(f"{p}a") and r.ttl(f"{p}a") == -1
    assert r.set(f"{p}a", "x", nx=True) is None and r.set(f"{p}a", "5", get=True) == "2" and r.getdel(f"{p}a") == "5"
    keys = {f"{p}{i}": str(i) for i in range(200)}
    assert r.mset(keys) and r.mget(list(keys)) == list(keys.values()) and r.exists(*keys) == 200
    found = sorted(r.scan_iter(match=f"{p.replace('{', chr(92) + '{')}1?", count=50))
    assert found == [f"{p}{i}" for i in range(10, 20)], found
    assert r.delete(*keys) == 200 and r.get(f"{p}1") is None
    fields = {f"f{i}": str(i) for i in range(500)}
    assert r.hset(f"{p}h", mapping=fields) == 500 and r.hgetall(f"{p}h") == fields
    assert r.hincrby(f"{p}h", "f1", 41) == 42 and r.hmget(f"{p}h", "f1", "none") == ["42", None]
    assert len(dict(r.hscan_iter(f"{p}h", count=7))) == 500 and r.hdel(f"{p}h", *fields) == 500 and not r.exists(f"{p}h")
    assert r.rpush(f"{p}l", *range(100)) == 100 and r.lrange(f"{p}l", -2, -1) == ["98", "99"] and r.lpop(f"{p}l", 2) == ["0", "1"]
    assert r.linsert(f"{p}l", "before", "50", "x") == 99 and r.lindex(f"{p}l", 48) == "x" and r.lmove(f"{p}l", f"{p}l") == "2"
    assert r.sadd(f"{p}s", *range(50)) == 50 and r.smembers(f"{p}s") == {str(i) for i in range(50)} and r.sismember(f"{p}s", "7")
    assert len(r.spop(f"{p}s", 10)) == 10 and r.scard(f"{p}s") == 40 and len(list(r.sscan_iter(f"{p}s", count=5))) == 40
    assert r.zadd(f"{p}z", {f"m{i}": i / 2 for i in range(100)}) == 100 and r.zrank(f"{p}z", "m30") == 30
    assert pairs(r.zrange(f"{p}z", 1, 2, byscore=True, withscores=True)) == [("m2", 1.0), ("m3", 1.5), ("m4", 2.0)]
    assert r.zrevrange(f"{p}z", 0, 0) == ["m99"] and pairs(r.zpopmin(f"{p}z", 1)) == [("m0", 0.0)]
    assert r.zincrby(f"{p}z", 100, "m1") == 100.5 and len(list(r.zscan_iter(f"{p}z", count=9))) == 99
    assert r.setbit(f"{p}b", 7, 1) == 0 and r.bitcount(f"{p}b") == 1 and r.pfadd(f"{p}p", *range(100)) == 1
    assert abs(r.pfcount(f"{p}p") - 100) < 5 and r.geoadd(f"{p}g", (13.4, 52.5, "Berlin")) == 1
    assert refused(lambda: r.execute_command("NOSUCH", p), redis.ResponseError, "unknown command")
    assert refused(lambda: r.lpush(f"{p}b", "x"), redis.ResponseError, "WRONGTYPE")


def pairs(found):
    """RESP3 brings lists where RESP2 brings tuples."""
    return [tuple(pair) for pair in found]


def refused(ask, kind, text):
    try:
        ask()
    except kind as error:
        return text in str(error)
    return False


def pipelines(r, p):
    pipe = r.pipeline(transaction=False)
    for _ in range(500):
        pipe.incr(f"{p}counter")
    assert pipe.execute() == list(range(1, 501))


def transactions(r, t):
    """Within one slot: `t` is a hash tag."""
    pipe = r.pipeline(transaction=True)
    pipe.set(f"{t}a", 1).lpush(f"{t}b", "x").incr(f"{t}a").lpop(f"{t}a").expire(f"{t}b", 100)
    done = pipe.execute(raise_on_error=False)
    # A cluster's pipeline leaves replies as they came.
    assert done[0] in (True, "OK") and done[1:3] == [1, 2] and isinstance(done[3], redis.ResponseError) and done[4], done
    pipe = r.pipeline(transaction=True)
    pipe.watch(f"{t}a")
    before = int(pipe.get(f"{t}a"))
    r.incr(f"{t}a")
    pipe.multi()
    pipe.set(f"{t}a", before + 100)
    assert refused(pipe.execute, redis.WatchError, "")
    assert r.get(f"{t}a") == str(before + 1), "it was done though a watched key had changed"
    assert r.transaction(lambda pipe: (int(pipe.get(f"{t}a")), pipe.multi(), pipe.incr(f"{t}a")), f"{t}a") == [before + 2]


def waiting(r, other, t):
    assert list(r.blpop([f"{t}none", f"{t}b"], timeout=1)) == [f"{t}b", "x"]
    assert r.brpop(f"{t}none", timeout=0.05) is None and r.bzpopmin(f"{t}none", timeout=0.05) is None
    pushed = threading.Timer(0.1, lambda: other.rpush(f"{t}later", "y"))
    pushed.start()
    assert list(r.blpop(f"{t}later", timeout=20)) == [f"{t}later", "y"]
    pushed.join()
    assert r.rpush(f"{t}from", "z") == 1 and r.blmove(f"{t}from", f"{t}to", 1) == "z" and r.lrange(f"{t}to", 0, -1) == ["z"]


def channels(r, t):
    ps = r.pubsub()
    ps.subscribe(f"{t}news")
    ps.psubscribe(f"{t}n*")
    assert [ps.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
    assert r.publish(f"{t}news", "hello") >= 1
    heard = sorted((m["type"], m["data"]) for m in (ps.get_message(timeout=5) for _ in range(2)))
    assert heard == [("message", "hello"), ("pmessage", "hello")], heard
    ps.unsubscribe()
    ps.punsubscribe()
    assert sorted(ps.get_message(timeout=5)["type"] for _ in range(2)) == ["punsubscribe", "unsubscribe"]
    ps.close()


def locks(r, t):
    """By scripts, of which these are known."""
    lock, other = r.lock(f"{t}lock", timeout=100), r.lock(f"{t}lock", timeout=100)
    assert lock.acquire(blocking=False) and lock.owned() and not other.acquire(blocking=False)
    assert lock.extend(100) and 190 < r.ttl(f"{t}lock") <= 200 and lock.reacquire() and r.ttl(f"{t}lock") <= 100
    assert lock.extend(50, replace_ttl=True) and r.ttl(f"{t}lock") <= 50
    lock.release()
    assert not r.exists(f"{t}lock") and refused(lambda: other.extend(1), redis.exceptions.LockError, "")
    with r.lock(f"{t}lock", timeout=100) as held:
        r.set(f"{t}lock", "somebody else")
        assert not held.owned() and refused(held.reacquire, redis.exceptions.LockNotOwnedError, "")
        r.set(f"{t}lock", held.local.token)
    assert refused(lambda: r.eval("return 1", 0), redis.ResponseError, "scripts are not run here")


def copies(connect, other, t):
    """Kept by the client, until it hears that somebody else has changed the key."""
    cache, key = CacheFactory(CacheConfig()).get_cache(), f"{t}copied"
    with connect(protocol=3, decode_responses=True, cache=cache) as r:
        for value in ("1", "2", "3"):
            other.set(key, value)
            until(lambda: r.get(key) == value and cache.size > 0)
            assert [r.get(key) for _ in range(3)] == [value] * 3
        other.delete(key)
        until(lambda: r.get(key) is None)


def until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"


def one_redis(host, port, protocol):
    p, t = f"py{protocol}:", f"{{py{protocol}}}"
    with redis.Redis(host=host, port=port, protocol=protocol, decode_responses=True) as r:
        assert r.client_info()["resp"] == str(protocol or 3), "RESP3 unless it is told otherwise"
        everyday(r, p)
        pipelines(r, p)
        transactions(r, t)
        waiting(r, r, t)
        channels(r, t)
        locks(r, t)
        assert r.pipeline(transaction=True).ping().get(f"{p}none").publish(f"{t}news", "x").execute() == [True, None, 0]
        across = [f"{p}{i}" for i in range(50)]
        pipe = r.pipeline(transaction=True)
        for key in across:
            pipe.get(key)
        assert refused(pipe.execute, redis.exceptions.ClusterCrossSlotError, f"{p}0"), "it was done over several groups"
        assert r.client_setname(p) and r.client_getname() == p and r.client_id() > 0
        assert r.info()["redis_mode"] == "standalone" and r.dbsize() > 0 and r.config_get("maxmemory*") is not None
        # Database 0 is the only one, as in a Redis Cluster.
        assert refused(lambda: redis.Redis(host=host, port=port, db=1).get("a"), redis.ResponseError, "DB index")
        if protocol == 3:
            copies(functools.partial(redis.Redis, host=host, port=port), r, t)


def redis_cluster(host, port, protocol):
    p, t = f"pyc{protocol}:", f"{{pyc{protocol}}}"
    nodes = [ClusterNode(host, port)]
    with RedisCluster(startup_nodes=nodes, protocol=protocol, decode_responses=True) as r:
        everyday_of_cluster(r, t)
        for i in range(300):
            assert r.set(f"{p}{i}", i)
        assert [r.get(f"{p}{i}") for i in range(300)] == [str(i) for i in range(300)]
        assert r.mget_nonatomic([f"{p}{i}" for i in range(300)]) == [str(i) for i in range(300)]
        assert len(set(r.scan_iter(match=f"{p}*", count=50))) == 300
        pipe = r.pipeline()
        for i in range(300):
            pipe.incr(f"{p}{i}")
        assert pipe.execute() == [i + 1 for i in range(300)]
        transactions(r, t)
        waiting(r, r, t)
        across = lambda: r.execute_command("MGET", f"{p}1", f"{p}2", target_nodes=r.get_node_from_key(f"{p}1"))
        assert refused(across, redis.exceptions.ClusterCrossSlotError, "Keys in request don't hash to the same slot")
        ps = r.pubsub()
        ps.ssubscribe(f"{t}shard")
        assert ps.get_sharded_message(timeout=5)["type"] == "ssubscribe"
        assert r.spublish(f"{t}shard", "hello") == 1
        message = ps.get_sharded_message(timeout=5)
        assert (message["type"], message["data"]) == ("smessage", "hello"), message
        ps.close()
        assert r.delete(*[f"{p}{i}" for i in range(300)]) == 300
        if protocol == 3:
            copies(functools.partial(RedisCluster, startup_nodes=nodes), r, t)
    with RedisCluster(startup_nodes=nodes, protocol=protocol, decode_responses=True, load_balancing_strategy=EVERYBODY) as r:
        for i in range(100):
            assert r.set(f"{t}{i}", i) and r.get(f"{t}{i}") == str(i), "a follower has answered something old"


def everyday_of_cluster(r, t):
    """What is done to one slot is done as before one Redis."""
    assert r.set(f"{t}a", 1, ex=100) and r.incr(f"{t}a") == 2 and 0 < r.ttl(f"{t}a") <= 100 and r.delete(f"{t}a") == 1
    assert r.hset(f"{t}h", mapping={"a": 1, "b": 2}) == 2 and r.hgetall(f"{t}h") == {"a": "1", "b": "2"}
    assert r.mset({f"{t}1": 1, f"{t}2": 2}) and r.mget(f"{t}1", f"{t}2") == ["1", "2"]
    assert r.sadd(f"{t}s1", 1, 2) == 2 and r.sadd(f"{t}s2", 2, 3) == 2 and r.sinter(f"{t}s1", f"{t}s2") == {"2"}
    assert r.rename(f"{t}1", f"{t}3") and r.get(f"{t}3") == "1"


async def concurrently(host, port):
    async with redis.asyncio.Redis(host=host, port=port, decode_responses=True) as r:
        assert sorted(await asyncio.gather(*(r.incr("pya:n") for _ in range(100)))) == list(range(1, 101))
        popped = asyncio.create_task(r.blpop("pya:l", timeout=20))
        async with r.pubsub() as ps:
            await ps.subscribe("pya:c")
            assert (await ps.get_message(timeout=5))["type"] == "subscribe"
            await r.publish("pya:c", "hello")
            assert (await ps.get_message(timeout=5))["data"] == "hello"
        await r.rpush("pya:l", "x")
        assert list(await popped) == ["pya:l", "x"]
        async with r.pipeline(transaction=True) as pipe:
            assert await pipe.set("{pya}a", 1).incr("{pya}a").execute() == [True, 2]


async def cluster_concurrently(host, port):
    async with redis.asyncio.RedisCluster(host=host, port=port, decode_responses=True) as r:
        await asyncio.gather(*(r.set(f"pyac:{i}", i) for i in range(100)))
        assert await asyncio.gather(*(r.get(f"pyac:{i}") for i in range(100))) == [str(i) for i in range(100)]


def main():
    (router, router_port), (node, node_port) = (address.rsplit(":", 1) for address in sys.argv[1:3])
    for protocol in (None, 2, 3):
        one_redis(router, int(router_port), protocol)
        redis_cluster(node, int(node_port), protocol)
    asyncio.run(concurrently(router, int(router_port)))
    asyncio.run(cluster_concurrently(node, int(node_port)))
    print("fine")


if __name__ == "__main__":
    main()
