"""The scripts of requests to sessions, as models."""

import re

import msgpack

from .script_base import PENDING, Reply, ScriptBase, int_of, origins_of

_REQUEST = re.compile(rb"(\d+):([A-Za-z]+)")


class RequestScripts(ScriptBase):
    """Open, control, close, purge."""

    def _open(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, sessions), (sid, options) = self.redis, keys, args
        if r.hget(session, b"state") is not None:
            return [b"DUP"]
        now = r.clock()
        r.hset(
            session,
            {
                b"state": b"open", b"epoch": 0, b"seq": 0, b"cursor": 0, b"last": 0, b"owner": b"", b"token": b"",
                b"losses": 0, b"options": options, b"created_at": now, b"active_at": now,
            },
        )  # fmt: skip
        r.zadd(sessions, now, sid)
        return [b"OK"]

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
            pending = PENDING.match(entry)
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
                if int(number) > int_of(cursor) and request != wanted:
                    kept += request
            r.hset(session, {b"requests": kept + wanted})
        marker = prefix + b":worker:" + (owner or b"")
        if not owner or not r.exists(marker):
            if (about == b"cell" and not cell) or about == b"stay" or state == b"closed":
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
        last = int_of(last_text)
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
            epoch = int_of(epoch_text) + 1
            event = msgpack.packb({"kind": "session.closed", "epoch": epoch, "at": now})
            r.xadd(events, b"%d-0" % (last + 1), b"e", event)
            r.hset(session, {b"state": b"closed", b"owner": b"", b"token": b"", b"epoch": epoch, b"last": last + 1})
            r.zrem(waiting, sid)
            r.zrem(prefix + b":named", sid)
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
        for origin, _, _ in origins_of(origins):
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
        r.zrem(prefix + b":named", sid)
        if r.exists(keys[9]):
            r.hdel(keys[0], b"origins")
            r.hset(keys[0], {b"purged": 1})
            return [b"OK", 1]
        r.delete(keys[0], keys[6], keys[7])
        if stored is not None:
            r.sadd(keys[10], sid + b":" + (created or b""))
        return [b"OK", 0]
