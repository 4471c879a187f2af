"""The same calls to the model of the scripts and to the real ones, so that the model can't drift.

Histories are random, with arguments that mostly fit: tokens and epochs of the current owner or of one before, event
numbers and cursors around the right ones. The real scripts run on a real server with one change: TIME is read from a
key, so that both see the same clock, and what a lease or a TTL ends, ends for both at once.
"""

from typing import Any

import msgpack
from redis import Redis
from redis.exceptions import ResponseError

from skep_shared.broker.scripts import Scripts

from .memory_redis import Hash, Items, Members, MemoryRedis, Scores, ServerError, Stream, Text
from .random_calls import START_MS, Call, Histories
from .script_base import Reply
from .script_model import ScriptModel

CLOCK_KEY = "clock"
_TIME = "redis.call('TIME')"
TEXTS = {
    name: source.text.replace(_TIME, f"redis.call('HMGET', '{CLOCK_KEY}', 's', 'u')")
    for name, source in Scripts.sources.items()
}


class RealServer:
    """A real redis-server that is given the time."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        client.flushall()

    def set_clock(self, ms: int) -> None:
        self.client.hset(CLOCK_KEY, mapping={"s": ms // 1000, "u": ms % 1000 * 1000})

    def run(self, call: Call) -> Reply:
        name, keys, args = call
        try:
            reply: Reply = self.client.eval(TEXTS[name], len(keys), *keys, *args)
        except ResponseError:
            return [b"ERROR"]
        return reply

    def dump(self) -> dict[bytes, Any]:
        found = {}
        for key in (*self.client.keys("c:*"), *self.client.keys("arq:*")):
            match self.client.type(key):
                case b"string":
                    found[key] = _unpacked(self.client.get(key))
                case b"list":
                    found[key] = self.client.lrange(key, 0, -1)
                case b"hash":
                    found[key] = self.client.hgetall(key)
                case b"set":
                    found[key] = self.client.smembers(key)
                case b"zset":
                    found[key] = dict(self.client.zrange(key, 0, -1, withscores=True))
                case b"stream":
                    # Past the driver's parser, which makes a dict of fields that may repeat.
                    entries = self.client.eval("return redis.call('XRANGE', KEYS[1], '-', '+')", 1, key)
                    found[key] = [_entry(key, entry_id, flat) for entry_id, flat in entries]
        return found


class ModelServer:
    """The model, with a clock of its own."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.redis = MemoryRedis(lambda: self.now_ms)
        self.scripts = ScriptModel(self.redis)

    def run(self, call: Call) -> Reply:
        try:
            return self.scripts.run(*call)
        except ServerError:
            return [b"ERROR"]

    def expired(self) -> list[bytes]:
        """Return the keys whose time has come, and drop them."""
        gone = [key for key, end in self.redis.ends.items() if end <= self.now_ms]
        for key in gone:
            self.redis.get(key)
        return gone

    def dump(self) -> dict[bytes, Any]:
        found: dict[bytes, Any] = {}
        for key in list(self.redis.data):
            value = self.redis.get(key)
            if isinstance(value, Stream):
                found[key] = [_entry(key, b"%d-%d" % i, flat) for i, flat in zip(value.ids, value.entries, strict=True)]
            elif isinstance(value, Members):
                found[key] = set(value)
            elif isinstance(value, Hash | Scores):
                found[key] = dict(value)
            elif isinstance(value, Items):
                found[key] = list(value)
            elif isinstance(value, Text):
                found[key] = _unpacked(bytes(value))
        return found


def _entry(key: bytes, entry_id: bytes, flat: Any) -> tuple[Any, ...]:
    """Return an entry to compare: without the id where the server makes it, and packed maps by content."""
    fields = tuple(_unpacked(part) for part in flat)
    return fields if key.endswith((b":mailbox", b":replies")) else (entry_id, *fields)


def _unpacked(part: bytes) -> Any:
    return msgpack.unpackb(part) if part[:1] in b"\x80\x81\x82\x83\x84\x85" and part else part


def compare(seed: int, client: Redis, calls: int) -> None:
    """Run one history through both. Raises AssertionError where they part."""
    real, model = RealServer(client), ModelServer()
    histories = Histories(seed, model.redis)
    trail: list[Call] = []
    for number in range(calls):
        model.now_ms += histories.wait_ms()
        real.set_clock(model.now_ms)
        for key in model.expired():
            client.delete(key)
        call = histories.draw()
        trail.append(call)
        expected, actual = model.run(call), real.run(call)
        where = f"seed {seed}, call {number}: {call}"
        assert expected == actual, f"{where}\nmodel {expected}\nredis {actual}"
        histories.note(call, actual)
        if number % 10 == 9 or number == calls - 1:
            ours, theirs = model.dump(), real.dump()
            apart = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
            assert not apart, f"{where}\n" + "\n".join(
                f"{k!r}\nmodel {ours.get(k)}\nredis {theirs.get(k)}" for k in apart
            )
