"""skep's Lua scripts in Python, on memory: same keys and arguments in, same replies out.

Each function follows its `.lua` line by line; `test_conformance.py` runs the same histories through both and compares
every reply and everything that is stored. With a name of `SEEDED_BUGS` a script is wrong in a known way, for the test
of the checker.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import msgpack

from skep_shared.scripts import Scripts

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
        self._scripts: dict[str, Callable[..., Reply]] = {name: getattr(self, f"_{name}") for name in Scripts.sources}

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
        prefix, sid, client, most, inline, riding = *args[:3], int(args[3]), int(args[5]), int(args[6])
        state, seq_text, cursor_text, last_text, owner = r.hmget(
            session, b"state", b"seq", b"cursor", b"last", b"owner"
        )
        seq, cursor, last = _number(seq_text), _number(cursor_text), _number(last_text)
        fresh, known = 0, dict[bytes, bytes | None]()
        given = [(args[i], args[i + 1]) for i in range(7, len(args), 2)]
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
                riding = riding - 1 if len(body) <= inline else -1
                if alive and riding >= 0:
                    self._post(marker, b"k", b"cell", b"s", sid, b"q", seq, b"c", cell, b"b", body, b"t", now)
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
            if alive and riding < 0:
                self._post(marker, b"k", b"wake", b"s", sid, b"q", seq)
            if alive:
                r.sadd(marker + b":sessions", sid)
            else:
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

    def _compare(self, keys: list[bytes], args: list[bytes]) -> Reply:
        reply: Reply = []
        for place, session in enumerate(keys):
            h = self.redis.hmget(session, b"seq", b"cursor", b"last", b"token", b"state")
            known = args[place * 4 : place * 4 + 4]
            *mark, token, state = [value or default for value, default in zip(h, (b"0",) * 3 + (b"",) * 2, strict=True)]
            if [*mark, token] != known or state == b"closing":
                reply.append([place + 1, *map(int, mark), token, state])
        return reply

    def _claim(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, waiting, own_marker, owned), (prefix, sid, wid, token, has_store) = self.redis, keys, args
        if not r.exists(own_marker):
            return [b"NOT_ALIVE"]
        state, owner, held, epoch_text, cursor, seq, last, losses_text = r.hmget(
            session, b"state", b"owner", b"token", b"epoch", b"cursor", b"seq", b"last", b"losses"
        )
        options, previous, holder, head, requests, created, origins, said = r.hmget(
            session, b"options", b"previous", b"holder", b"head", b"requests", b"created_at", b"origins", b"said"
        )
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
                r.sadd(marker + b":sessions", sid)
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
            if has_store == b"1":
                r.hset(session, {b"stored": 1})
        r.sadd(owned, sid)
        return [
            b"OK", epoch, _number(cursor), _number(seq), _number(last), losses, previous, state, options, _number(head),
            requests or b"", created or b"0", origins or b"", said or b"",
        ]  # fmt: skip

    def _emit(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, events), first = self.redis, keys, int(args[2])
        h = r.hmget(session, b"token", b"epoch", b"last")
        if self._is_stale(h, args[0], args[1]) and "emit without fence" not in self.bugs:
            return [b"FENCED", _number(h[1])]
        last, count = _number(h[2]), len(args) - 4
        if "no event id check" not in self.bugs:
            if last >= first + count - 1:
                return [b"DUP", last]
            if last != first - 1:
                return [b"GAP", last]
        for event in args[4:]:
            last += 1
            r.xadd(events, b"%d-0" % last, b"e", event)
        r.hset(session, {b"last": last, b"said": args[3]})
        return [b"OK", last]

    def _commit(  # noqa: PLR0915 - one script, one function
        self, keys: list[bytes], args: list[bytes], steps: tuple[str, ...] = ("events", "cursor")
    ) -> Reply:
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
        elif EQUIVALENT_BUG in self.bugs or ("commit in two steps" in self.bugs and steps == ("events",)):
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
            pending = [_PENDING.match(r.hget(ids, cell) or b"") for cell, *_ in parsed]
            fits = [found and int(found[1]) for found in pending] == list(range(cursor + 1, cursor + 1 + count))
            fits = fits and all(self._has_chunks(blobs, chunks) for *_, chunks in parsed)
            if cursor != cursor_before or last != first - 1 or cursor + count > seq or not fits:
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
            self._put_chunks(blobs, chunks)
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
        r.hset(marker, {b"facts": facts, b"at": now, b"lease": lease})
        r.pexpire(marker, lease)
        r.zadd(workers, now, wid)
        neglected, soon = 0, []
        for key, bound in ((workers, lease), (waiting, int(patience))):
            scores = (r.get(key) or {}).values()
            neglected += len(r.up_to(key, now - bound)) + sum(score > now for score in scores)
            later = [score for score in scores if score > now - bound]
            soon += [min(later) + bound - now] if later else []
        return [now, alive, neglected, math.ceil(min(soon)) + 1]

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
        for sid in r.beyond(waiting, now)[:page]:
            r.zadd(waiting, now - patience, sid, "XX")
        for wid in r.beyond(workers, now)[:page]:
            marker = prefix + b":worker:" + wid
            lease = int(r.hget(marker, b"lease") or silence)
            if r.pttl(marker) > lease:
                r.pexpire(marker, lease)
            r.zadd(workers, now, wid, "XX")
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
            r.sadd(marker + b":sessions", sid)
            self._post(marker, b"k", b"close", b"s", sid, b"q", 0)
            return [b"CLOSING", last, 0]
        if seq == cursor:
            epoch = _number(epoch_text) + 1
            event = msgpack.packb({"kind": "session.closed", "epoch": epoch, "at": now})
            r.xadd(events, b"%d-0" % (last + 1), b"e", event)
            r.hset(session, {b"state": b"closed", b"owner": b"", b"token": b"", b"epoch": epoch, b"last": last + 1})
            r.zrem(waiting, sid)
            if owner:
                r.srem(marker + b":sessions", sid)
            return [b"CLOSED", last + 1]
        r.hset(session, {b"state": b"closing"})
        return [b"CLOSING", last, r.zadd(waiting, now, sid, "NX")]

    def _purge(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (prefix, sid) = self.redis, args
        state, origins, created, stored = r.hmget(keys[0], b"state", b"origins", b"created_at", b"stored")
        if state is not None and state != b"closed":
            return [b"OPEN", state]
        for origin, _, _ in _origins(origins):
            key = prefix + b":session:" + origin
            r.hdel(key + b":pins", sid)
            purged, its_created, its_stored = r.hmget(key, b"purged", b"created_at", b"stored")
            if purged is not None and not r.exists(key + b":pins"):
                r.delete(key, key + b":checkpoints", key + b":blobs")
                if its_stored is not None:
                    r.sadd(keys[10], origin + b":" + (its_created or b""))
        r.delete(keys[1], keys[2], keys[3], keys[8])
        r.zrem(keys[4], sid)
        r.zrem(keys[5], sid)
        if r.exists(keys[9]):
            r.hdel(keys[0], b"origins")
            r.hset(keys[0], {b"purged": 1})
            return [b"OK", 1]
        r.delete(keys[0], keys[6], keys[7])
        if stored is not None:
            r.sadd(keys[10], sid + b":" + (created or b""))
        return [b"OK", 0]

    def _has_chunks(self, blobs: bytes, chunks: list[bytes]) -> bool:
        stored = self.redis.get(blobs) or {}
        return all(data or name in stored for name, data in zip(chunks[::2], chunks[1::2], strict=True))

    def _put_chunks(self, blobs: bytes, chunks: list[bytes]) -> None:
        for name, data in zip(chunks[::2], chunks[1::2], strict=True):
            if data:
                self.redis.hset(blobs, {name: data})

    def _save(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, blobs) = self.redis, keys
        h = r.hmget(session, b"token", b"epoch", b"cursor", b"saved")
        if self._is_stale(h, args[0], args[1]):
            return [b"FENCED", _number(h[1])]
        seq, cursor, saved = int(args[2]), _number(h[2]), _number(h[3])
        if seq > cursor:
            return [b"GAP", cursor]
        if seq <= saved or (args[4] == b"void" and seq != saved + 1):
            return [b"DUP", saved]
        if not self._has_chunks(blobs, args[5:]):
            return [b"GAP", cursor]
        self._put_chunks(blobs, args[5:])
        if args[3]:
            r.xadd(checkpoints, b"%d-0" % seq, b"m", args[3])
            r.hset(session, {b"head": seq})
        r.hset(session, {b"saved": seq})
        return [b"OK", seq]

    def _name(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, names), (seq, name, most) = self.redis, keys, args
        if r.hget(session, b"purged") is not None or not r.xrange(checkpoints, seq + b"-0", seq + b"-0"):
            return [b"UNKNOWN"]
        before, count = None, 0
        for other, other_seq in list((r.get(names) or {}).items()):
            if other_seq == seq:
                before = other
            else:
                count += 1
            if other == name and other_seq != seq:
                return [b"TAKEN", int(other_seq)]
        if name == before:
            return [b"OK"]
        if name and count >= int(most):
            return [b"FULL", count]
        if before is not None:
            r.hdel(names, before)
        if name:
            r.hset(names, {name: seq})
        return [b"OK"]

    def _prune(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, blobs, names, pins) = self.redis, keys
        h = r.hmget(session, b"token", b"epoch", b"head", b"pruned", b"cursor", b"last")
        if self._is_stale(h, args[0], args[1]):
            return [b"FENCED", _number(h[1])]
        if _number(h[4]) < int(args[3]):
            return [b"GAP", _number(h[5])]
        number, count = int(args[2]), int(args[4])
        protected = list(dict.fromkeys([*(r.get(names) or {}).values(), *(r.get(pins) or {}).values()]))
        epoch, _, latest = (h[3] or b"").partition(b":")
        if epoch == args[1] and 0 < number <= int(latest):
            return [b"OK", 0, *map(int, protected)]
        gone = args[5 : 5 + count]
        if any(seq in protected or seq == h[2] for seq in gone):
            return [b"RETRY", 0, _number(h[2]), *map(int, protected)]
        for seq in gone:
            r.xdel(checkpoints, seq + b"-0")
        if number:
            r.hset(session, {b"pruned": args[1] + b":" + args[2]})
        return [b"OK", sum(r.hdel(blobs, name) for name in args[5 + count :]), *map(int, protected)]

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
        h = r.hmget(session, b"token", b"epoch", b"seq", b"owner")
        if self._is_stale(h, args[1], args[2]):
            return [b"FENCED", _number(h[1])]
        marker = args[3] + b":worker:" + (h[3] or b"")
        if r.exists(marker):
            r.zrem(waiting, args[0])
            r.sadd(marker + b":sessions", args[0])
        return [b"OK", _number(h[2])]

    def _fork(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, pins, sessions) = self.redis, keys[:4]
        prefix, source, born, seq, token, manifest = args[:6]
        new = list(zip(args[6:], keys[4::2], keys[5::2], strict=True))
        state, created, purged, options, its_origins = r.hmget(
            session, b"state", b"created_at", b"purged", b"options", b"origins"
        )
        entry_id = seq + b"-0"
        if state is None or created != born or purged is not None or not r.xrange(checkpoints, entry_id, entry_id):
            return [b"MISSING"]
        taken, is_done = list[bytes](), False
        for sid, key, _ in new:
            its_state, forked_by = r.hmget(key, b"state", b"forked_by")
            if forked_by == token:
                is_done = True
            elif its_state is not None:
                taken.append(sid)
        if is_done:
            return [b"OK"]
        if taken:
            return [b"EXISTS", *taken]
        now = r.clock()
        origins = source + b":" + seq + b":" + born + (b" " + its_origins if its_origins is not None else b"")
        for sid, key, its_checkpoints in new:
            r.hset(
                key,
                {
                    b"state": b"open", b"epoch": 0, b"seq": seq, b"cursor": seq, b"last": 0, b"owner": b"",
                    b"token": b"", b"losses": 0, b"options": options or b"", b"head": seq, b"created_at": now,
                    b"active_at": now, b"saved": seq, b"origins": origins, b"forked_by": token,
                },
            )  # fmt: skip
            r.xadd(its_checkpoints, entry_id, b"m", manifest)
            r.zadd(sessions, now, sid)
            r.hset(pins, {sid: seq})
            for origin, pinned, _ in _origins(its_origins):
                r.hset(prefix + b":session:" + origin + b":pins", {sid: pinned})
        return [b"OK"]


def _origins(text: bytes | None) -> list[tuple[bytes, bytes, bytes]]:
    return [(name, seq, born) for name, seq, born in (part.split(b":") for part in (text or b"").split())]


def _done(entry: bytes) -> tuple[bytes, ...]:
    found = _DONE.match(entry)
    assert found is not None, entry
    return found.groups()
