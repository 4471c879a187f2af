"""Redis's data types in memory, as far as skep's scripts and clients use them.

Everything is bytes, as in Redis; a key whose collection is empty is gone. Time is whatever `clock` says (milliseconds).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

StreamId = tuple[int, int]


class Hash(dict[bytes, bytes]):
    """Field -> value."""


class Members(dict[bytes, None]):
    """A set that keeps its order, so that a run can be repeated."""


class Scores(dict[bytes, float]):
    """A sorted set: member -> score."""


class Items(list[bytes]):
    """A list."""


class Text(bytes):
    """A string."""


class Stream:
    """Entries in order of their ids; trimming keeps the last id."""

    def __init__(self) -> None:
        self.ids: list[StreamId] = []
        self.entries: list[tuple[bytes, ...]] = []
        self.last: StreamId = (0, 0)

    def copy(self) -> "Stream":
        copied = Stream()
        copied.ids, copied.entries, copied.last = self.ids[:], self.entries[:], self.last
        return copied


class ServerError(Exception):
    """An error reply; what a script wrote before it stays written."""


def encoded(value: Any) -> bytes:
    """Return what the driver sends for a value."""
    if type(value) is bytes:
        return value
    if isinstance(value, str):
        return value.encode()
    return repr(value).encode()


def stream_id(text: bytes, *, missing_seq: int = 0) -> StreamId:
    """Read an id."""
    ms, dash, seq = text.partition(b"-")
    return int(ms), int(seq) if dash else missing_seq


def id_text(entry_id: StreamId) -> bytes:
    """Write an id."""
    return b"%d-%d" % entry_id


class MemoryRedis:
    """One server's keys, and the commands on them."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.data: dict[bytes, Any] = {}
        self.ends: dict[bytes, float] = {}
        self.on_xadd: Callable[[bytes], None] = lambda _: None

    def snapshot(self) -> tuple[dict[bytes, Any], dict[bytes, float]]:
        """Copy everything."""
        copied = {k: v.copy() if isinstance(v, Stream) else type(v)(v) for k, v in self.data.items()}
        return copied, dict(self.ends)

    def restore(self, snapshot: tuple[dict[bytes, Any], dict[bytes, float]]) -> None:
        """Go back to a copy, which must not be used again."""
        self.data, self.ends = snapshot

    def get(self, key: bytes) -> Any:
        """Return what the key holds, or None; a key whose time has come is gone."""
        if key in self.ends and self.ends[key] <= self.clock():
            del self.ends[key]
            self.data.pop(key, None)
        return self.data.get(key)

    def made(self, key: bytes, kind: Callable[[], Any]) -> Any:
        """Return what the key holds, made if there is nothing."""
        value = self.get(key)
        if value is None:
            value = self.data[key] = kind()
        return value

    def exists(self, key: bytes) -> bool:
        return self.get(key) is not None

    def delete(self, *keys: bytes) -> int:
        count = 0
        for key in keys:
            count += self.exists(key)
            self.data.pop(key, None)
            self.ends.pop(key, None)
        return count

    def pexpire(self, key: bytes, ms: float) -> int:
        if not self.exists(key):
            return 0
        self.ends[key] = self.clock() + ms
        return 1

    def pttl(self, key: bytes) -> float:
        """PTTL, of a key that has an end."""
        return self.ends[key] - self.clock() if self.exists(key) else -2

    def _drop_empty(self, key: bytes, value: Any) -> None:
        if not value:
            self.delete(key)

    # --- strings and lists

    def psetex(self, key: bytes, ms: int, value: bytes) -> None:
        """PSETEX."""
        self.data[key] = Text(value)
        self.ends[key] = self.clock() + ms

    def lpush(self, key: bytes, value: bytes) -> None:
        """LPUSH."""
        self.made(key, Items).insert(0, value)

    def ltrim(self, key: bytes, last: int) -> None:
        """LTRIM key 0 last."""
        del self.made(key, Items)[last + 1 :]

    # --- hashes

    def hget(self, key: bytes, field: bytes) -> bytes | None:
        value = self.get(key)
        return None if value is None else value.get(field)

    def hmget(self, key: bytes, *fields: bytes) -> list[bytes | None]:
        value = self.get(key) or {}
        return [value.get(field) for field in fields]

    def hset(self, key: bytes, fields: dict[bytes, Any]) -> None:
        self.made(key, Hash).update({name: encoded(value) for name, value in fields.items()})

    def hdel(self, key: bytes, field: bytes) -> int:
        value = self.get(key)
        if value is None or field not in value:
            return 0
        del value[field]
        self._drop_empty(key, value)
        return 1

    # --- sets and sorted sets

    def sadd(self, key: bytes, member: bytes) -> None:
        self.made(key, Members)[member] = None

    def srem(self, key: bytes, member: bytes) -> None:
        value = self.get(key)
        if value is not None:
            value.pop(member, None)
            self._drop_empty(key, value)

    def zadd(self, key: bytes, score: float, member: bytes, mode: str = "") -> int:
        value = self.get(key)
        is_there = value is not None and member in value
        if (mode == "NX" and is_there) or (mode == "XX" and not is_there):
            return 0
        self.made(key, Scores)[member] = score
        return int(not is_there)

    def zrem(self, key: bytes, member: bytes) -> None:
        value = self.get(key)
        if value is not None:
            value.pop(member, None)
            self._drop_empty(key, value)

    def up_to(self, key: bytes, score: float) -> list[bytes]:
        """ZRANGEBYSCORE key -inf score."""
        value = self.get(key) or {}
        return [member for found, member in sorted((s, m) for m, s in value.items() if s <= score)]

    def beyond(self, key: bytes, score: float) -> list[bytes]:
        """ZRANGEBYSCORE key (score +inf."""
        value = self.get(key) or {}
        return [member for found, member in sorted((s, m) for m, s in value.items() if s > score)]

    # --- streams

    def xadd(self, key: bytes, entry_id: bytes | None, *flat: Any) -> bytes:
        stream = self.get(key) or Stream()
        if entry_id is None:
            now = self.clock()
            new = (now, 0) if now > stream.last[0] else (stream.last[0], stream.last[1] + 1)
        else:
            new = stream_id(entry_id)
            if new <= stream.last:
                raise ServerError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
        self.data[key] = stream
        stream.ids.append(new)
        stream.entries.append(tuple(map(encoded, flat)))
        stream.last = new
        self.on_xadd(key)
        return id_text(new)

    def xtrim_minid(self, key: bytes, entry_id: bytes) -> int:
        stream = self.get(key)
        if stream is None:
            return 0
        count = bisect_left(stream.ids, stream_id(entry_id))
        del stream.ids[:count]
        del stream.entries[:count]
        return count

    def xdel(self, key: bytes, entry_id: bytes) -> int:
        stream = self.get(key)
        wanted = stream_id(entry_id)
        if stream is None or wanted not in stream.ids:
            return 0
        at = stream.ids.index(wanted)
        del stream.ids[at], stream.entries[at]
        return 1

    def xrange(
        self, key: bytes, low: bytes = b"-", high: bytes = b"+", count: int | None = None
    ) -> list[tuple[bytes, tuple[bytes, ...]]]:
        stream = self.get(key)
        if stream is None:
            return []
        if low.startswith(b"("):
            start = bisect_right(stream.ids, stream_id(low[1:]))
        else:
            start = 0 if low == b"-" else bisect_left(stream.ids, stream_id(low))
        end = len(stream.ids) if high == b"+" else bisect_right(stream.ids, stream_id(high, missing_seq=2**63))
        if count is not None:
            end = min(end, start + count)
        return [(id_text(stream.ids[i]), stream.entries[i]) for i in range(start, end)]

    def xread(self, key: bytes, after: bytes, count: int) -> list[tuple[bytes, tuple[bytes, ...]]]:
        stream = self.get(key)
        if stream is None:
            return []
        start = bisect_right(stream.ids, stream_id(after))
        return [(id_text(stream.ids[i]), stream.entries[i]) for i in range(start, min(len(stream.ids), start + count))]
