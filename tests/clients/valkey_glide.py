"""valkey-glide, before a router as before one Redis and before nodes as before a cluster.

usage: valkey_glide.py ROUTER NODE, both as HOST:PORT
"""

import asyncio
import sys

from glide import (
    Batch,
    ClusterBatch,
    ClusterScanCursor,
    ConditionalChange,
    ExpirySet,
    ExpiryType,
    GlideClient,
    GlideClientConfiguration,
    GlideClusterClient,
    GlideClusterClientConfiguration,
    NodeAddress,
    ProtocolVersion,
    RangeByIndex,
    ReadFrom,
    RequestError,
)


def address(text):
    host, port = text.rsplit(":", 1)
    return [NodeAddress(host, int(port))]


async def everyday(client, t):
    """All sorts of data, within one slot: `t` is a hash tag."""
    assert await client.ping() == b"PONG"
    assert await client.set(f"{t}a", "1") == "OK" and await client.get(f"{t}a") == b"1" and await client.incr(f"{t}a") == 2
    assert await client.set(f"{t}a", "x", conditional_set=ConditionalChange.ONLY_IF_DOES_NOT_EXIST) is None
    assert await client.set(f"{t}e", "x", expiry=ExpirySet(ExpiryType.SEC, 100)) == "OK" and 0 < await client.ttl(f"{t}e") <= 100
    assert await client.mset({f"{t}1": "1", f"{t}2": "2"}) == "OK" and await client.mget([f"{t}1", f"{t}2"]) == [b"1", b"2"]
    assert await client.hset(f"{t}h", {"f": "1", "g": "2"}) == 2 and await client.hgetall(f"{t}h") == {b"f": b"1", b"g": b"2"}
    assert await client.rpush(f"{t}l", ["a", "b", "c"]) == 3 and await client.lrange(f"{t}l", 0, -1) == [b"a", b"b", b"c"]
    assert await client.sadd(f"{t}s", ["a", "b"]) == 2 and await client.smembers(f"{t}s") == {b"a", b"b"}
    assert await client.zadd(f"{t}z", {"a": 1.5, "b": 2}) == 2
    assert await client.zrange_withscores(f"{t}z", RangeByIndex(0, -1)) == {b"a": 1.5, b"b": 2.0}
    assert await client.exists([f"{t}1", f"{t}2", f"{t}none"]) == 2 and await client.delete([f"{t}1", f"{t}2"]) == 2
    assert await refused(client.lpush(f"{t}a", ["x"])) == "WRONGTYPE"
    assert await client.custom_command(["OBJECT", "ENCODING", f"{t}a"]) == b"int"


async def refused(asked):
    try:
        return f"not refused: {await asked}"
    except RequestError as error:
        return str(error).split(":")[0].split(" ")[0]


async def batches(client, kind, t):
    """Pipelines and transactions."""
    pipeline = kind(is_atomic=False)
    for _ in range(100):
        pipeline.incr(f"{t}n")
    assert await client.exec(pipeline, raise_on_error=True) == list(range(1, 101))
    transaction = kind(is_atomic=True).set(f"{t}n", "5").incr(f"{t}n").lpop(f"{t}n").get(f"{t}n")
    done = await client.exec(transaction, raise_on_error=False)
    assert done[:2] == ["OK", 6] and "WRONGTYPE" in str(done[2]).upper() and done[3] == b"6", done
    assert await client.watch([f"{t}n"]) == "OK"
    assert await client.set(f"{t}n", "7") == "OK"
    assert await client.exec(kind(is_atomic=True).set(f"{t}n", "8"), raise_on_error=True) is None, "a watched key had changed"
    assert await client.get(f"{t}n") == b"7"


async def waiting(client, other, t):
    assert await client.rpush(f"{t}w", ["x"]) == 1 and await client.blpop([f"{t}none", f"{t}w"], 1) == [f"{t}w".encode(), b"x"]
    assert await client.brpop([f"{t}none"], 0.05) is None
    popped = asyncio.create_task(client.blpop([f"{t}later"], 20))
    await asyncio.sleep(0.1)
    assert await other.rpush(f"{t}later", ["y"]) == 1
    assert await popped == [f"{t}later".encode(), b"y"]


async def one_redis(router, protocol):
    Modes = GlideClientConfiguration.PubSubChannelModes
    heard = asyncio.Queue()
    wanted = GlideClientConfiguration.PubSubSubscriptions(
        channels_and_patterns={Modes.Exact: {"glide:news"}, Modes.Pattern: {"glide:n*"}},
        callback=lambda message, queue: queue.put_nowait(message),
        context=heard,
    )
    client = await GlideClient.create(GlideClientConfiguration(router, protocol=protocol))
    other = await GlideClient.create(GlideClientConfiguration(router, protocol=protocol, client_name="other", database_id=0))
    listener = await GlideClient.create(GlideClientConfiguration(router, pubsub_subscriptions=wanted))
    t = f"{{glide{protocol.value}}}"
    await everyday(client, t)
    await batches(client, Batch, t)
    await waiting(client, other, t)
    across = {f"glide{protocol.value}:{i}": str(i) for i in range(50)}
    assert await client.mset(across) == "OK" and await client.mget(list(across)) == [v.encode() for v in across.values()]
    cursor, keys = "0", set()
    while True:
        cursor, page = await client.scan(cursor, match=f"glide{protocol.value}:*", count=10)
        keys.update(page)
        if cursor == b"0":
            break
    assert keys == {key.encode() for key in across}
    assert await other.client_getname() == b"other" and await client.client_id() > 0
    assert await client.publish("hello", "glide:news") >= 1
    messages = [await asyncio.wait_for(heard.get(), 20) for _ in range(2)]
    assert sorted((m.channel, m.message, m.pattern or b"") for m in messages) == [
        (b"glide:news", b"hello", b""),
        (b"glide:news", b"hello", b"glide:n*"),
    ], messages
    for each in (client, other, listener):
        await each.close()


async def cluster(node, protocol):
    Modes = GlideClusterClientConfiguration.PubSubChannelModes
    heard = asyncio.Queue()
    wanted = GlideClusterClientConfiguration.PubSubSubscriptions(
        channels_and_patterns={Modes.Exact: {"glidec:news"}, Modes.Sharded: {"glidec:shard"}},
        callback=lambda message, queue: queue.put_nowait(message),
        context=heard,
    )
    client = await GlideClusterClient.create(GlideClusterClientConfiguration(node, protocol=protocol))
    other = await GlideClusterClient.create(
        GlideClusterClientConfiguration(node, protocol=protocol, read_from=ReadFrom.PREFER_REPLICA)
    )
    listener = await GlideClusterClient.create(GlideClusterClientConfiguration(node, pubsub_subscriptions=wanted))
    t = f"{{glidec{protocol.value}}}"
    await everyday(client, t)
    await batches(client, ClusterBatch, t)
    await waiting(client, other, t)
    across = {f"glidec{protocol.value}:{i}": str(i) for i in range(300)}
    assert await client.mset(across) == "OK" and await other.mget(list(across)) == [v.encode() for v in across.values()]
    pipeline = ClusterBatch(is_atomic=False)
    for key in across:
        pipeline.incr(key)
    assert await client.exec(pipeline, raise_on_error=True) == [int(value) + 1 for value in across.values()]
    cursor, keys = ClusterScanCursor(), set()
    while not cursor.is_finished():
        cursor, page = await client.scan(cursor, match=f"glidec{protocol.value}:*", count=100)
        keys.update(page)
    assert keys == {key.encode() for key in across}
    assert await client.publish("hello", "glidec:news") >= 0
    assert await client.publish("hello", "glidec:shard", sharded=True) >= 1
    messages = [await asyncio.wait_for(heard.get(), 20) for _ in range(2)]
    assert sorted((m.channel, m.message) for m in messages) == [(b"glidec:news", b"hello"), (b"glidec:shard", b"hello")], messages
    assert await client.delete(list(across)) == 300
    for each in (client, other, listener):
        await each.close()


async def main():
    router, node = map(address, sys.argv[1:3])
    for protocol in (ProtocolVersion.RESP3, ProtocolVersion.RESP2):
        await one_redis(router, protocol)
        await cluster(node, protocol)
    print("fine")


if __name__ == "__main__":
    asyncio.run(main())
