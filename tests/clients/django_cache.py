"""Django's cache backend for Redis and the sessions kept in it, before a router: what Django's own tests of a cache do.

usage: django_cache.py ROUTER, as HOST:PORT. The router does transactions per group (`redis.transactions`): SET_MANY is one.
"""

import sys
import time

import django
from django.conf import settings

settings.configure(
    CACHES={
        name: {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"redis://{sys.argv[1]}", **more}
        for name, more in {
            "default": {},
            "v2": {"VERSION": 2},
            "prefix": {"KEY_PREFIX": "prefix"},
            "short": {"TIMEOUT": 1},
            "for ever": {"TIMEOUT": None},
        }.items()
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    USE_TZ=True,
)
django.setup()

from django.contrib.sessions.backends.base import UpdateError  # noqa: E402
from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import cache, caches  # noqa: E402


def values():
    assert cache.set("key", "value") is None and cache.get("key") == "value"
    assert cache.get("none") is None and cache.get("none", "else") == "else"
    for value in ["", "ürk…", 0, -7, 2**70, 1.5, None, True, b"\x00\xff", [1, {"a": (2, 3)}], {"x" * 1000: "y" * 100_000}]:
        cache.set("value", value)
        assert cache.get("value", "nothing") == value, value
    assert cache.add("added", 1) and not cache.add("added", 2) and cache.get("added") == 1
    assert "added" in cache and cache.has_key("added") and "none" not in cache
    assert cache.delete("added") and not cache.delete("added") and "added" not in cache
    assert cache.get_or_set("made", lambda: "up") == "up" and cache.get_or_set("made", "again") == "up"


def numbers():
    cache.set("n", 41)
    assert cache.incr("n") == 42 and cache.incr("n", 10) == 52 and cache.decr("n", 2) == 50 and cache.incr("n", -50) == 0
    assert cache.get("n") == 0
    try:
        cache.incr("none")
    except ValueError:
        return
    raise AssertionError("there was nothing to be counted")


def many():
    everything = {f"many-{i}-ü": i for i in range(100)}
    assert cache.set_many(everything) == [] and cache.get_many([*everything, "none"]) == everything
    assert cache.set_many(everything, timeout=100) == [] and cache.get_many(everything) == everything
    cache.delete_many(list(everything)[:50])
    assert len(cache.get_many(everything)) == 50 and cache.set_many({}) == [] and cache.get_many([]) == {}
    assert cache.set_many({"at-once": 1}, timeout=0) == [] and cache.get("at-once") is None


def times():
    cache.set("gone", 1, timeout=0)
    cache.set("past", 1, timeout=-1)
    assert cache.get("gone") is None and cache.get("past") is None
    cache.set("brief", 1, timeout=1)
    cache.set("touched", 1, timeout=1)
    cache.set("for-ever", 1, timeout=1)
    cache.set("untouched", 1, timeout=None)
    caches["short"].set("short", 1)
    caches["for ever"].set("long", 1)
    assert cache.touch("touched", timeout=1000) and cache.touch("for-ever", timeout=None) and not cache.touch("none")
    deadline = time.monotonic() + 20
    while cache.get("brief") is not None or caches["short"].get("short") is not None:
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.05)
    assert [cache.get(key) for key in ("touched", "for-ever", "untouched", "long")] == [1, 1, 1, 1]
    assert cache.touch("touched", timeout=0) and cache.get("touched") is None


def versions():
    cache.set("v", 1)
    cache.set("v", 2, version=2)
    assert cache.get("v") == 1 and cache.get("v", version=2) == 2 and caches["v2"].get("v") == 2 and caches["prefix"].get("v") is None
    caches["prefix"].set("v", 3)
    assert cache.get("v") == 1 and cache.delete("v", version=2) and caches["v2"].get("v") is None
    assert cache.incr_version("v") == 2 and cache.get("v") is None and caches["v2"].get("v") == 1
    assert cache.decr_version("v", version=2) == 1 and cache.get("v") == 1
    assert cache.set_many({"a": 1, "b": 2}, version=3) == [] and cache.get_many(["a", "b"], version=3) == {"a": 1, "b": 2}


def sessions():
    session = SessionStore()
    session["user"] = {"id": 7}
    session.create()
    key = session.session_key
    again = SessionStore(key)
    assert again["user"] == {"id": 7} and SessionStore().exists(key)
    again["cart"] = [1, 2]
    again.set_expiry(100)
    again.save()
    assert SessionStore(key)["cart"] == [1, 2] and 0 < SessionStore(key).get_expiry_age() <= 100
    again.cycle_key()
    assert again.session_key != key and not SessionStore().exists(key) and SessionStore(again.session_key)["cart"] == [1, 2]
    stale = SessionStore(again.session_key)
    assert stale["cart"] == [1, 2]
    again.flush()
    assert again.session_key is None and not SessionStore().exists(stale.session_key)
    try:
        stale.save()
        raise AssertionError("a session that is gone was saved")
    except UpdateError:
        pass
    assert SessionStore("nosuchsession").load() == {}


def main():
    for story in (values, numbers, many, times, versions, sessions):
        story()
    cache.set_many({f"last-{i}": i for i in range(20)})
    assert cache.clear() and cache.get_many([f"last-{i}" for i in range(20)]) == {}
    print("fine")


main()
