"""The scripts of requests to sessions, as models."""

import hashlib
import re

import msgpack

from .script_base import PENDING, Reply, ScriptBase, int_of, is_weaker, option_in, origins_of, sandbox_in

_REQUEST = re.compile(rb"(\d+):([A-Za-z]+)([^\s]*)")


class RequestScripts(ScriptBase):
    """Open, defer, activate, control, update, close, purge."""

    def _open(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, sessions), (sid, options) = self.redis, keys, args
        state, stored = r.hmget(session, b"state", b"options")
        if state is not None:
            tier = sandbox_in(stored)
            return [b"WEAKER", tier] if is_weaker(tier, sandbox_in(options)) else [b"DUP"]
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

    def _activate(self, keys: list[bytes], args: list[bytes]) -> Reply:
        prefix, *sids = args
        for sid in sids:
            self._enqueue_activation(prefix, sid)
        return [b"OK"]

    def _defer(self, keys: list[bytes], args: list[bytes]) -> Reply:
        prefix, job_id, job, mode, ms = args
        if any(map(self.redis.exists, keys)):
            return [b"DUP"]
        now, due = self.redis.clock(), int(ms)
        if mode == b"by":
            due += now
        self._enqueue_job(prefix, job_id, job, due, max(due - now, 0) + 86_400_000)
        return [b"OK"]

    def _answer(self, keys: list[bytes], args: list[bytes]) -> Reply:
        [replies], (ttl, operation, kind, payload) = keys, args
        self.redis.xadd(replies, None, b"o", operation, b"x", kind, b"d", payload)
        self.redis.pexpire(replies, int(ttl))
        return [b"OK"]

    def _control(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, ids, waiting) = self.redis, keys
        prefix, sid, kind, cell, about, key_id = args[:6]
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
        marker = prefix + b":worker:" + (owner or b"")
        if self._is_unsigned(marker, key_id):
            return [b"UNSIGNED"]
        if is_kept:
            wanted, kept = b" %s:%s" % (seq, kind), b""
            for number, name, signature in _REQUEST.findall(requests or b""):
                request = b" %s:%s" % (number, name)
                if int(number) > int_of(cursor) and request != wanted:
                    kept += request + signature
            for field, value in zip(args[6::2], args[7::2], strict=True):
                if field == b"z":
                    wanted += b":" + value
            r.hset(session, {b"requests": kept + wanted})
        if not owner or not r.exists(marker):
            if (about == b"cell" and not cell) or about == b"residency" or state == b"closed":
                return [b"IDLE"]
            if r.zadd(waiting, r.clock(), sid, "NX"):
                self._enqueue_activation(prefix, sid)
            return [b"KEPT" if is_kept else b"ABSENT"]
        self._post(marker, b"k", kind, b"s", sid, b"q", seq, *args[6:])
        return [b"OK", owner]

    def _is_unsigned(self, marker: bytes, key_id: bytes) -> bool:
        """Return whether the worker has signing keys, and the sender's is none of them."""
        accepted = self.redis.hget(marker, b"keys")
        return accepted is not None and key_id not in accepted.split(b" ")

    def _update(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, [session] = self.redis, keys
        prefix, sid, before, after, key_id = args[:5]
        state, owner, options = r.hmget(session, b"state", b"owner", b"options")
        if state is None:
            return [b"UNKNOWN"]
        if state != b"open":
            return [b"CLOSED"]
        digest = hashlib.sha1(options or b"", usedforsecurity=False).hexdigest()
        if options != after and digest.encode() != before:
            return [b"CHANGED"]
        marker = prefix + b":worker:" + (owner or b"")
        if self._is_unsigned(marker, key_id):
            return [b"UNSIGNED"]
        r.hset(session, {b"options": after})
        if not owner or not r.exists(marker):
            return [b"OK", b""]
        self._post(marker, b"k", b"update", b"s", sid, b"q", 0, *args[5:])
        return [b"OK", owner]

    def _is_used(self, session: bytes) -> bool:
        """Return whether a session must not be closed for its option expires_in."""
        r = self.redis
        state, seq, cursor, options, active, created = r.hmget(
            session, b"state", b"seq", b"cursor", b"options", b"active_at", b"created_at"
        )
        seconds = option_in(options, "expires_in")
        if state != b"open" or seq != cursor or not isinstance(seconds, int | float):
            return True
        return int_of(active or created) > r.clock() - seconds * 1000

    def _close(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, events, waiting), (prefix, sid, key_id, signature, only_unused) = self.redis, keys, args
        state, owner, seq, cursor, last_text, epoch_text = r.hmget(
            session, b"state", b"owner", b"seq", b"cursor", b"last", b"epoch"
        )
        if state is None:
            return [b"UNKNOWN"]
        last = int_of(last_text)
        if state == b"closed":
            return [b"CLOSED", last]
        if only_unused == b"1" and self._is_used(session):
            return [b"USED"]
        marker = prefix + b":worker:" + (owner or b"")
        now = r.clock()
        if self._is_unsigned(marker, key_id):
            return [b"UNSIGNED"]
        signed = {b"closed_by": signature} if signature else {}
        if owner and r.exists(marker):
            r.hset(session, {b"state": b"closing", **signed})
            r.sadd(marker + b":sessions", sid)
            self._post(marker, b"k", b"close", b"s", sid, b"q", 0, *((b"z", signature) if signature else ()))
            return [b"CLOSING", last]
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
        r.hset(session, {b"state": b"closing", **signed})
        if r.zadd(waiting, now, sid, "NX"):
            self._enqueue_activation(prefix, sid)
        return [b"CLOSING", last]

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
