"""The scripts of checkpoints and forks, as models."""

from .script_base import Reply, ScriptBase, entry_of, int_of, is_weaker, origins_of, sandbox_in


class CheckpointScripts(ScriptBase):
    """Save, name, prune, rehead, fork."""

    def _save(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, blobs) = self.redis, keys
        h = r.hmget(session, b"token", b"epoch", b"cursor", b"saved")
        if self._is_stale(h, args[0], args[1]):
            return [b"FENCED", int_of(h[1])]
        checkpoint, manifest, kind = args[2:5]
        seq, cursor, saved = int(checkpoint.partition(b"-")[0]), int_of(h[2]), int_of(h[3])
        entry_id = entry_of(checkpoint)
        if seq > cursor:
            return [b"GAP", cursor]
        if kind == b"last":
            if not manifest or r.xrange(checkpoints, entry_id, entry_id):
                return [b"DUP", saved]
        elif seq <= saved or (kind == b"void" and seq != saved + 1):
            return [b"DUP", saved]
        if not self._has_chunks(blobs, args[5:]):
            return [b"GAP", cursor]
        self._put_chunks(blobs, args[5:])
        if manifest:
            r.xadd(checkpoints, entry_id, b"m", manifest)
            unsaved = r.hget(session, b"unsaved")
            if kind == b"last" or seq == cursor:
                r.hdel(session, b"unsaved")
            elif unsaved is not None:
                r.hset(session, {b"unsaved": max(seq + 1, int(unsaved))})
            r.hset(session, {b"head": checkpoint})
        r.hset(session, {b"saved": max(seq, saved)})
        return [b"OK", seq]

    def _name(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, names), (checkpoint, name, most, signature) = self.redis, keys, args
        if r.hget(session, b"purged") is not None or not r.xrange(
            checkpoints, entry_of(checkpoint), entry_of(checkpoint)
        ):
            return [b"UNKNOWN"]
        before, count = None, 0
        for other, named in list((r.get(names) or {}).items()):
            if named == checkpoint:
                before = other
            else:
                count += 1
            if other == name and named != checkpoint:
                return [b"TAKEN", named]
        if name == before and not signature:
            return [b"OK"]
        if name and count >= int(most):
            return [b"FULL", count]
        if before is not None:
            r.hdel(names, before)
            r.hdel(session, b"name:" + before)
        if name:
            r.hset(names, {name: checkpoint})
        if signature:
            r.hset(session, {b"name:" + name: signature})
        return [b"OK"]

    def _prune(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, blobs, names, pins) = self.redis, keys
        h = r.hmget(session, b"token", b"epoch", b"head", b"pruned", b"cursor", b"last")
        if self._is_stale(h, args[0], args[1]):
            return [b"FENCED", int_of(h[1])]
        if int_of(h[4]) < int(args[3]):
            return [b"GAP", int_of(h[5])]
        number, count = int(args[2]), int(args[4])
        protected = list(dict.fromkeys([*(r.get(names) or {}).values(), *(r.get(pins) or {}).values()]))
        epoch, _, latest = (h[3] or b"").partition(b":")
        if epoch == args[1] and 0 < number <= int(latest):
            return [b"OK", 0, *protected]
        gone = args[5 : 5 + count]
        if any(checkpoint in protected or checkpoint == h[2] for checkpoint in gone):
            return [b"RETRY", 0, h[2] or b"0", *protected]
        for checkpoint in gone:
            r.xdel(checkpoints, entry_of(checkpoint))
        if number:
            r.hset(session, {b"pruned": args[1] + b":" + args[2]})
        return [b"OK", sum(r.hdel(blobs, name) for name in args[5 + count :]), *protected]

    def _rehead(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints) = self.redis, keys
        h = r.hmget(session, b"token", b"epoch", b"cursor", b"head")
        if self._is_stale(h, args[0], args[1]):
            return [b"FENCED", int_of(h[1])]
        if h[2] != args[2]:
            return [b"GAP", int_of(h[2])]
        entry_id = entry_of(args[3])
        if not r.xrange(checkpoints, entry_id, entry_id):
            return [b"UNKNOWN"]
        r.hdel(session, b"unsaved")
        r.hset(session, {b"head": args[3]})
        return [b"OK", h[3] or b"0"]

    def _fork(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, checkpoints, pins, sessions) = self.redis, keys[:4]
        prefix, source, born, checkpoint, token, manifest, seals, wanted = args[:8]
        new = list(zip(args[8:], keys[4::2], keys[5::2], strict=True))
        size = len(seals) // len(new)
        state, created, purged, options, its_origins = r.hmget(
            session, b"state", b"created_at", b"purged", b"options", b"origins"
        )
        entry_id, seq = entry_of(checkpoint), checkpoint.partition(b"-")[0]
        if state is None or created != born or purged is not None or not r.xrange(checkpoints, entry_id, entry_id):
            return [b"MISSING"]
        if wanted:
            if is_weaker(sandbox_in(wanted), stored := sandbox_in(options)):
                return [b"WEAKER", stored]
            options = wanted
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
        origins = source + b":" + checkpoint + b":" + born + (b" " + its_origins if its_origins is not None else b"")
        for place, (sid, key, its_checkpoints) in enumerate(new):
            r.hset(
                key,
                {
                    b"state": b"open", b"epoch": 0, b"seq": seq, b"cursor": seq, b"last": 0, b"owner": b"",
                    b"token": b"", b"losses": 0, b"options": options or b"", b"head": checkpoint, b"created_at": now,
                    b"active_at": now, b"saved": seq, b"origins": origins, b"forked_by": token,
                },
            )  # fmt: skip
            seal = seals[place * size : (place + 1) * size]
            r.xadd(its_checkpoints, entry_id, b"m", seal + manifest)
            r.zadd(sessions, now, sid)
            r.hset(pins, {sid: checkpoint})
            for origin, pinned, _ in origins_of(its_origins):
                r.hset(prefix + b":session:" + origin + b":pins", {sid: pinned})
        return [b"OK"]
