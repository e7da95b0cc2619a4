"""Uses a server as programs do: client.py HOST PORT. It ends with status 0 if all
was as Redis would have it."""

import sys
import threading

import redis


def main(host, port):
    r = redis.Redis(host=host, port=port)
    other = redis.Redis(host=host, port=port)
    assert r.ping()
    r.flushall()

    # Strings, with bytes of all values.
    every = bytes(range(256))
    assert r.set(every, every) is True
    assert r.get(every) == every
    assert r.get("nothing") is None
    assert r.set("greeting", "hello", nx=True) is True
    assert r.set("greeting", "no", nx=True) is None
    assert r.set("greeting", "hello", get=True) == b"hello"
    assert r.append("greeting", " world") == 11
    assert r.getrange("greeting", -5, -1) == b"world"
    assert r.setrange("greeting", 6, "there") == 11
    assert r.mset({"a": 1, "b": 2}) is True
    assert r.mget("a", "b", "c") == [b"1", b"2", None]
    assert r.incrby("counter", 41) == 41
    assert r.incr("counter") == 42
    assert r.incrbyfloat("ratio", 0.5) == 0.5
    assert r.getdel("ratio") == b"0.5"
    try:
        r.incr("greeting")
        raise AssertionError("a greeting was counted")
    except redis.ResponseError as e:
        assert str(e) == "value is not an integer or out of range", e

    # Keys that end.
    r.set("session", "x", ex=1000)
    assert 900 < r.ttl("session") <= 1000
    assert r.getex("session", persist=True) == b"x"
    assert r.ttl("session") == -1
    assert r.expireat("session", 1)
    assert not r.exists("session")
    assert r.rename("greeting", "farewell")
    assert r.keys("*are*") == [b"farewell"]
    assert r.type("a") == b"string"

    # A pipeline, and one that is a transaction.
    p = r.pipeline(transaction=False)
    for i in range(1000):
        p.set(f"many:{i}", i)
    assert p.execute() == [True] * 1000
    assert len(set(r.scan_iter("many:*", count=100))) == 1000
    p = r.pipeline()
    assert p.set("t", 1).incr("t").get("t").execute() == [True, 2, b"2"]

    # Counting by threads, with WATCH: none of it is lost.
    def count(pipe):
        n = int(pipe.get("n") or 0)
        pipe.multi()
        pipe.set("n", n + 1)

    threads = [threading.Thread(target=lambda: [r.transaction(count, "n") for _ in range(20)]) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert r.get("n") == b"80", r.get("n")

    # A lock, as the library makes one. (It is given up by a script, which there is not.)
    assert r.set("lock", "mine", nx=True, px=100_000)
    assert not other.set("lock", "other's", nx=True, px=100_000)

    # Databases.
    three = redis.Redis(host=host, port=port, db=3)
    three.set("t", "of 3")
    assert r.get("t") == b"2"
    assert three.dbsize() == 1
    three.flushdb()
    assert r.exists("t")

    info = r.info()
    assert info["redis_mode"] == "standalone" and info["loading"] == 0, info
    assert r.config_get("maxclients")["maxclients"]
    assert r.client_setname("worker") and r.client_getname() == "worker"
    assert any(c["name"] == "worker" for c in r.client_list())
    assert r.time()[0] > 1_000_000_000


main(sys.argv[1], int(sys.argv[2]))
