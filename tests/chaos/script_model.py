"""skep's Lua scripts in Python, on memory: same keys and arguments in, same replies out.

Each function follows its `.lua` line by line; `test_conformance.py` runs the same histories through both and compares
every reply and everything that is stored. With a name of `SEEDED_BUGS` a script is wrong in a known way, for the test
of the checker.
"""

import re
from collections.abc import Callable
from typing import Any

import msgpack

from skep_shared.scripts import SCRIPT_NAMES

from .memory_redis import MemoryRedis, encoded

SEEDED_BUGS = (
    "emit without fence",
    "commit without fence",
    "commit in two steps",
    "no event id check",
    "submit not idempotent",
    "no cursor compare",
)
# Not a bug that can be seen: with fence and event ids in place, comparing the cursor too is a second lock on one door.
EQUIVALENT_BUG = "cursor compare alone left out"

Reply = list[Any]
_PENDING = re.compile(rb"^p:(\d+):(.*)$", re.DOTALL)
_DONE = re.compile(rb"^d:(\d+):(\d+):(\d+)$")
_REQUEST = re.compile(rb"(\d+):([A-Za-z]+)")


def _number(value: bytes | None) -> int:
    return int(value or 0)


class ScriptModel:
    """The scripts of one server."""

    def __init__(self, redis: MemoryRedis, bugs: frozenset[str] = frozenset()) -> None:
        self.redis = redis
        self.bugs = bugs
        self._scripts: dict[str, Callable[..., Reply]] = {name: getattr(self, f"_{name}") for name in SCRIPT_NAMES}

    def call(self, name: str, keys: list[bytes], args: list[bytes]) -> Reply:
        """Run a script."""
        return self._scripts[name](keys, args)

    def run(self, name: str, keys: tuple[Any, ...], args: tuple[Any, ...]) -> Reply:
        """Run a script with what the driver would be given."""
        return self._scripts[name]([encoded(key) for key in keys], [encoded(arg) for arg in args])

    def _is_stale(self, h: list[bytes | None], token: bytes, epoch: bytes) -> bool:
        return h[0] != token or h[1] != epoch

    def _post(self, marker: bytes, *flat: Any) -> None:
        self.redis.xadd(marker + b":mailbox", None, *flat)

    def _submit(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, cells, ids, waiting, sessions) = self.redis, keys
        prefix, sid, client, most, inline = args[0], args[1], args[2], int(args[3]), int(args[5])
        state, seq_text, cursor_text, last_text, owner = r.hmget(session, b"state", b"seq", b"cursor", b"last", b"owner")
        seq, cursor, last = _number(seq_text), _number(cursor_text), _number(last_text)
        fresh, known = 0, dict[bytes, bytes | None]()
        given = [(args[i], args[i + 1]) for i in range(6, len(args), 2)]
        for cell, _ in given:
            entry = r.hget(ids, cell)
            if "submit not idempotent" in self.bugs:
                entry = None
            if entry is not None:
                known[cell] = entry
            elif cell not in known:
                fresh += 1
                known[cell] = None
        if fresh:
            if state is not None and state != b"open":
                return [b"CLOSED"]
            if seq - cursor + fresh > most:
                return [b"FULL", seq - cursor]
        now = r.clock()
        marker = prefix + b":worker:" + (owner or b"")
        alive = bool(owner) and r.exists(marker)
        if fresh and state is None:
            r.hset(
                session,
                {
                    b"state": b"open", b"epoch": 0, b"cursor": 0, b"last": 0, b"owner": b"", b"token": b"",
                    b"losses": 0, b"options": args[4], b"created_at": now,
                },
            )  # fmt: skip
            r.zadd(sessions, now, sid)
        reply: Reply = [b"OK", last, 0]
        for cell, body in given:
            entry = known[cell]
            if entry is None:
                seq += 1
                known[cell] = entry = b"p:%d:%s" % (seq, client)
                r.xadd(cells, b"%d-0" % seq, b"c", cell, b"b", body, b"t", now)
                r.hset(ids, {cell: entry})
                if alive and len(body) <= inline:
                    self._post(marker, b"k", b"cell", b"s", sid, b"q", seq, b"c", cell, b"b", body, b"t", now)
                elif alive:
                    self._post(marker, b"k", b"wake", b"s", sid, b"q", seq)
                reply += [b"p", seq]
            elif pending := _PENDING.match(entry):
                known_seq, clients = pending.groups()
                if client and client not in clients.split(b","):
                    known[cell] = entry = b"p:%s:%s" % (known_seq, clients + b"," + client if clients else client)
                    r.hset(ids, {cell: entry})
                reply += [b"p", int(known_seq)]
            else:
                reply += [b"d", *map(int, _done(entry))]
        if fresh:
            r.hset(session, {b"seq": seq, b"active_at": now})
            if not alive:
                reply[2] = r.zadd(waiting, now, sid, "NX")
        return reply

    def _watch(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, ids), (cell, client) = self.redis, keys, args
        entry = r.hget(ids, cell)
        if entry is None:
            return [b"UNKNOWN"]
        pending = _PENDING.match(entry)
        if pending is None:
            return [b"DONE", *map(int, _done(entry))]
        seq, clients = pending.groups()
        if client and client not in clients.split(b","):
            r.hset(ids, {cell: b"p:%s:%s" % (seq, clients + b"," + client if clients else client)})
        last, cursor = r.hmget(session, b"last", b"cursor")
        return [b"PENDING", int(seq), _number(last), _number(cursor)]

    def _claim(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, waiting, own_marker, owned), (prefix, sid, wid, token) = self.redis, keys, args
        if not r.exists(own_marker):
            return [b"NOT_ALIVE"]
        state, owner, held, epoch_text, cursor, seq, last, losses_text, options, previous, holder, head, requests = r.hmget(
            session, b"state", b"owner", b"token", b"epoch", b"cursor", b"seq", b"last", b"losses", b"options",
            b"previous", b"holder", b"head", b"requests",
        )  # fmt: skip
        r.zrem(waiting, sid)
        if state is None:
            return [b"UNKNOWN"]
        if state == b"closed":
            return [b"CLOSED"]
        epoch, losses, previous = _number(epoch_text), _number(losses_text), previous or b""
        if not (owner == wid and held == token):
            marker = prefix + b":worker:" + (owner or b"")
            if owner and owner != wid and r.exists(marker):
                self._post(marker, b"k", b"wake", b"s", sid, b"q", seq)
                return [b"OWNED", owner]
            if owner:
                losses += 1
                r.srem(marker + b":sessions", sid)
            epoch, previous = epoch + 1, holder or b""
            r.hset(
                session,
                {
                    b"owner": wid, b"token": token, b"epoch": epoch, b"losses": losses, b"holder": wid,
                    b"previous": previous,
                },
            )  # fmt: skip
            r.sadd(owned, sid)
        return [
            b"OK", epoch, _number(cursor), _number(seq), _number(last), losses, previous, state, options, _number(head),
            requests or b"",
        ]  # fmt: skip

    def _emit(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, events), first = self.redis, keys, int(args[2])
        h = r.hmget(session, b"token", b"epoch", b"last")
        if self._is_stale(h, args[0], args[1]) and "emit without fence" not in self.bugs:
            return [b"FENCED", _number(h[1])]
        last, count = _number(h[2]), len(args) - 3
        if "no event id check" not in self.bugs:
            if last >= first + count - 1:
                return [b"DUP", last]
            if last != first - 1:
                return [b"GAP", last]
        for event in args[3:]:
            last += 1
            r.xadd(events, b"%d-0" % last, b"e", event)
        r.hset(session, {b"last": last})
        return [b"OK", last]

    def _commit(self, keys: list[bytes], args: list[bytes], steps: tuple[str, ...] = ("events", "cursor")) -> Reply:
        r, (session, events, cells, ids, checkpoints, blobs) = self.redis, keys
        prefix, sid, ttl, inline = args[0], args[1], int(args[6]), int(args[7])
        if not 1 <= ttl <= 2**40:
            raise ValueError(f"no reply TTL: {ttl}")
        h = r.hmget(session, b"token", b"epoch", b"last", b"cursor", b"seq")
        if self._is_stale(h, args[2], args[3]) and "commit without fence" not in self.bugs:
            return [b"FENCED", _number(h[1])]
        last, cursor, seq = _number(h[2]), _number(h[3]), _number(h[4])
        cursor_before, first = int(args[4]), int(args[5])
        parsed, written, i = [], 0, 8
        while i < len(args):
            n, m = int(args[i + 2]), int(args[i + 4])
            own = args[i + 5 : i + 5 + n]
            chunks = args[i + 5 + n : i + 5 + n + 2 * m]
            parsed.append((args[i], args[i + 1], args[i + 3], own, chunks))
            written, i = written + n, i + 5 + n + 2 * m
        count = len(parsed)
        final = first + written - 1
        writes_events = True
        if "no event id check" in self.bugs:
            if cursor >= cursor_before + count:
                return [b"DUP", last, cursor]
            if cursor != cursor_before or cursor + count > seq:
                return [b"GAP", last, cursor]
        elif "no cursor compare" in self.bugs:
            writes_events = last < final
            if writes_events and last != first - 1:
                return [b"GAP", last, cursor]
        elif EQUIVALENT_BUG in self.bugs:
            if last >= final:
                return [b"DUP", last, cursor]
            if last != first - 1:
                return [b"GAP", last, cursor]
        elif "commit in two steps" in self.bugs and steps == ("events",):
            if last >= final:
                return [b"DUP", last, cursor]
            if last != first - 1:
                return [b"GAP", last, cursor]
        elif "commit in two steps" in self.bugs and steps == ("cursor",):
            if cursor >= cursor_before + count:
                return [b"DUP", last, cursor]
            if cursor != cursor_before:
                return [b"GAP", last, cursor]
        else:
            if cursor >= cursor_before + count and last >= final:
                return [b"DUP", last, cursor]
            if cursor != cursor_before or last != first - 1 or cursor + count > seq:
                return [b"GAP", last, cursor]
        if steps == ("events",):
            for event in (event for _, _, _, own, _ in parsed for event in own):
                last += 1
                r.xadd(events, b"%d-0" % last, b"e", event)
            r.hset(session, {b"last": last})
            return [b"OK", last, cursor]
        if steps == ("cursor",):
            writes_events, last = False, last - written
        r.xtrim_minid(cells, b"%d-0" % (cursor + count + 1))
        for cell, cell_first, manifest, own, chunks in parsed:
            here, size = last + 1, sum(map(len, own))
            for event in own:
                last += 1
                if writes_events:
                    r.xadd(events, b"%d-0" % last, b"e", event)
            cursor += 1
            for j in range(0, len(chunks), 2):
                r.hset(blobs, {chunks[j]: chunks[j + 1]})
            if manifest:
                r.xadd(checkpoints, b"%d-0" % cursor, b"m", manifest)
                r.hset(session, {b"head": cursor})
            entry = r.hget(ids, cell)
            r.hset(ids, {cell: b"d:%d:%s:%d" % (cursor, cell_first, last)})
            pending = _PENDING.match(entry) if entry else None
            for client in filter(None, pending[2].split(b",") if pending else ()):
                reply: Reply = [b"c", cell, b"s", sid, b"q", cursor, b"f", cell_first, b"l", last]
                if int(cell_first) == here and size <= inline and len(own) <= 64:
                    for event in own:
                        reply += [b"e", event]
                key = prefix + b":client:" + client + b":replies"
                r.xadd(key, None, *reply)
                r.pexpire(key, ttl)
        done = {b"last": last, b"cursor": cursor, b"tail": parsed[-1][1], b"losses": 0, b"active_at": r.clock()}
        r.hset(session, done)
        return [b"OK", last, cursor]

    def _release(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, owned, waiting, events) = self.redis, keys
        sid, token, epoch, event = args[:4]
        h = r.hmget(session, b"token", b"epoch", b"owner", b"seq", b"cursor", b"last", b"released", b"state")
        if h[6] == token:
            return [b"DUP"]
        if self._is_stale(h, token, epoch):
            return [b"FENCED", _number(h[1])]
        pending, last = _number(h[3]) - _number(h[4]), _number(h[5])
        if event:
            if pending > 0:
                return [b"PENDING", pending]
            if last != int(args[4]) - 1:
                return [b"GAP", last]
        r.srem(owned, sid)
        gone = {b"owner": b"", b"token": b"", b"released": token}
        if event:
            r.xadd(events, b"%d-0" % (last + 1), b"e", event)
            r.hset(session, gone | {b"state": b"closed", b"last": last + 1})
        else:
            r.hset(session, gone)
            if args[5] == b"1" and pending > 0:
                r.hset(session, {b"losses": _number(r.hget(session, b"losses")) + 1})
            if pending > 0 or h[7] == b"closing":
                r.zadd(waiting, r.clock(), sid, "NX")
        return [b"OK", pending]

    def _heartbeat(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (marker, workers, waiting), (wid, lease_text, facts, patience) = self.redis, keys, args
        lease = int(lease_text)
        alive = r.pexpire(marker, lease)
        now = r.clock()
        r.hset(marker, {b"facts": facts, b"at": now})
        r.pexpire(marker, lease)
        r.zadd(workers, now, wid)
        return [now, alive, len(r.up_to(workers, now - lease)) + len(r.up_to(waiting, now - int(patience)))]

    def _leave(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (marker, workers, mailbox, owned) = self.redis, keys
        left = len(r.get(owned) or ())
        r.delete(marker, mailbox)
        if left == 0:
            r.zrem(workers, args[0])
        return [left]

    def _recover(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (workers, waiting), prefix = self.redis, keys, args[0]
        silence, page, patience = int(args[1]), int(args[2]), int(args[3])
        now, dead = r.clock(), 0
        for wid in r.up_to(workers, now - silence)[:page]:
            base = prefix + b":worker:" + wid
            if r.exists(base):
                continue
            dead += 1
            for sid in list(r.get(base + b":sessions") or ())[:page]:
                h = r.hmget(prefix + b":session:" + sid, b"owner", b"seq", b"cursor", b"state")
                if h[0] == wid and (h[1] != h[2] or h[3] == b"closing"):
                    r.zadd(waiting, now - patience, sid, "NX")
                r.srem(base + b":sessions", sid)
            if not r.get(base + b":sessions"):
                r.delete(base + b":mailbox")
                r.zrem(workers, wid)
        reply: Reply = [dead]
        for sid in r.up_to(waiting, now - patience)[:page]:
            r.zadd(waiting, now, sid, "XX")
            reply.append(sid)
        return reply

    def _control(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, ids, waiting) = self.redis, keys
        prefix, sid, kind, cell, about = args[:5]
        state, owner, last_seq, cursor, requests = r.hmget(session, b"state", b"owner", b"seq", b"cursor", b"requests")
        if state is None:
            return [b"UNKNOWN"]
        seq = b"0"
        if cell:
            entry = r.hget(ids, cell)
            if entry is None:
                return [b"UNKNOWN"]
            pending = _PENDING.match(entry)
            if pending is None:
                return [b"IDLE"]
            seq = pending[1]
        elif about == b"cell" and last_seq == cursor:
            return [b"IDLE"]
        is_kept = bool(cell) and kind in {b"interrupt", b"cancel"}
        if is_kept:
            wanted, kept = b" %s:%s" % (seq, kind), b""
            for number, name in _REQUEST.findall(requests or b""):
                request = b" %s:%s" % (number, name)
                if int(number) > _number(cursor) and request != wanted:
                    kept += request
            r.hset(session, {b"requests": kept + wanted})
        marker = prefix + b":worker:" + (owner or b"")
        if not owner or not r.exists(marker):
            if (about == b"cell" and not cell) or state == b"closed":
                return [b"IDLE"]
            return [b"KEPT" if is_kept else b"ABSENT", r.zadd(waiting, r.clock(), sid, "NX")]
        self._post(marker, b"k", kind, b"s", sid, b"q", seq, *args[5:])
        return [b"OK", owner]

    def _close(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, events, waiting), (prefix, sid) = self.redis, keys, args
        state, owner, seq, cursor, last_text, epoch_text = r.hmget(
            session, b"state", b"owner", b"seq", b"cursor", b"last", b"epoch"
        )
        if state is None:
            return [b"UNKNOWN"]
        last = _number(last_text)
        if state == b"closed":
            return [b"CLOSED", last]
        marker = prefix + b":worker:" + (owner or b"")
        now = r.clock()
        if owner and r.exists(marker):
            r.hset(session, {b"state": b"closing"})
            self._post(marker, b"k", b"close", b"s", sid, b"q", 0)
            return [b"CLOSING", last, 0]
        if seq == cursor:
            epoch = _number(epoch_text) + 1
            event = msgpack.packb({"kind": "session.closed", "epoch": epoch, "at": now})
            r.xadd(events, b"%d-0" % (last + 1), b"e", event)
            r.hset(
                session, {b"state": b"closed", b"owner": b"", b"token": b"", b"epoch": epoch, b"last": last + 1}
            )
            r.zrem(waiting, sid)
            if owner:
                r.srem(marker + b":sessions", sid)
            return [b"CLOSED", last + 1]
        r.hset(session, {b"state": b"closing"})
        return [b"CLOSING", last, r.zadd(waiting, now, sid, "NX")]

    def _purge(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r = self.redis
        state = r.hget(keys[0], b"state")
        if state is not None and state != b"closed":
            return [b"OPEN", state]
        r.delete(keys[0], keys[1], keys[2], keys[3], keys[6], keys[7])
        r.zrem(keys[4], args[0])
        r.zrem(keys[5], args[0])
        return [b"OK"]

    def _prune(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, blobs) = self.redis, keys
        h = r.hmget(session, b"token", b"epoch", b"head")
        if self._is_stale(h, args[0], args[1]):
            return [b"FENCED", _number(h[1])]
        if _number(h[2]) < int(args[2]):
            return [b"OK", 0]
        r.xtrim_minid(checkpoints, args[2] + b"-0")
        return [b"OK", sum(r.hdel(blobs, name) for name in args[3:])]

    def _rehead(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints) = self.redis, keys
        h = r.hmget(session, b"token", b"epoch", b"cursor", b"head")
        if self._is_stale(h, args[0], args[1]):
            return [b"FENCED", _number(h[1])]
        if h[2] != args[2]:
            return [b"GAP", _number(h[2])]
        entry_id = args[3] + b"-0"
        if not r.xrange(checkpoints, entry_id, entry_id):
            return [b"UNKNOWN"]
        r.hset(session, {b"head": args[3]})
        return [b"OK", _number(h[3])]

    def _confirm(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, waiting) = self.redis, keys
        h = r.hmget(session, b"token", b"epoch", b"seq")
        if self._is_stale(h, args[1], args[2]):
            return [b"FENCED", _number(h[1])]
        r.zrem(waiting, args[0])
        return [b"OK", _number(h[2])]

    def _copy_blobs(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r = self.redis
        found = {name: data for name in args if (data := r.hget(keys[0], name)) is not None}
        if found:
            r.hset(keys[1], found)
        return [b"OK", sum(name in found for name in args)]

    def _fork(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, blobs, sessions) = self.redis, keys
        sid, seq, manifest, options = args[:4]
        if r.exists(session):
            return [b"EXISTS"]
        missing = sum(r.hget(blobs, name) is None for name in args[4:])
        if missing:
            return [b"MISSING", missing]
        now = r.clock()
        r.hset(
            session,
            {
                b"state": b"open", b"epoch": 0, b"seq": seq, b"cursor": seq, b"last": 0, b"owner": b"", b"token": b"",
                b"losses": 0, b"options": options, b"head": seq, b"created_at": now, b"active_at": now,
            },
        )  # fmt: skip
        r.xadd(checkpoints, seq + b"-0", b"m", manifest)
        r.zadd(sessions, now, sid)
        return [b"OK"]


def _done(entry: bytes) -> tuple[bytes, ...]:
    found = _DONE.match(entry)
    assert found is not None, entry
    return found.groups()
