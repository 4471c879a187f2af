"""The scripts of cells and their events, as models."""

import msgpack

from .script_base import EQUIVALENT_BUG, PENDING, Reply, ScriptBase, done_of, int_of, is_weaker, sandbox_in


class CellScripts(ScriptBase):
    """Submit, watch, compare, emit, commit."""

    def _submit(self, keys: list[bytes], args: list[bytes]) -> Reply:  # noqa: PLR0915 - one script, one function
        r, (session, cells, ids, waiting, sessions) = self.redis, keys
        prefix, sid, client, most, inline, riding = *args[:3], int(args[3]), int(args[5]), int(args[6])
        is_chain = args[7] == b"1"
        state, seq_text, cursor_text, last_text, owner, options = r.hmget(
            session, b"state", b"seq", b"cursor", b"last", b"owner", b"options"
        )
        seq, cursor, last = int_of(seq_text), int_of(cursor_text), int_of(last_text)
        fresh, known = 0, dict[bytes, bytes | None]()
        given = [(args[i], args[i + 1]) for i in range(8, len(args), 2)]
        if "what a cell runs after not stored" in self.bugs:
            given = [(cell, _without_predecessor(body)) for cell, body in given]
        for cell, _ in given:
            entry = r.hget(ids, cell)
            if "submit not idempotent" in self.bugs:
                entry = None
            if entry is not None:
                if is_chain and fresh:
                    return [b"KNOWN", cell]
                known[cell] = entry
            elif cell not in known:
                fresh += 1
                known[cell] = None
        if fresh:
            if state is not None and state != b"open":
                return [b"CLOSED"]
            if state is not None and is_weaker(stored := sandbox_in(options), sandbox_in(args[4])):
                return [b"WEAKER", stored]
            if seq - cursor + fresh > most:
                return [b"FULL", seq - cursor, most]
        now = r.clock()
        marker, alive = self._owner_marker(prefix, owner)
        if fresh and state is None:
            r.hset(
                session,
                {
                    b"state": b"open", b"epoch": 0, b"cursor": 0, b"last": 0, b"owner": b"", b"token": b"",
                    b"losses": 0, b"options": args[4], b"created_at": now,
                },
            )  # fmt: skip
            r.zadd(sessions, now, sid)
        reply: Reply = [b"OK", last]
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
            elif pending := PENDING.match(entry):
                known_seq, clients = pending.groups()
                if client and client not in clients.split(b","):
                    known[cell] = entry = b"p:%s:%s" % (known_seq, clients + b"," + client if clients else client)
                    r.hset(ids, {cell: entry})
                reply += [b"p", int(known_seq)]
            else:
                reply += [b"d", *map(int, done_of(entry))]
        if fresh:
            r.hset(session, {b"seq": seq, b"active_at": now})
            if alive and riding < 0:
                self._post(marker, b"k", b"wake", b"s", sid, b"q", seq)
            if alive:
                r.sadd(marker + b":sessions", sid)
            elif r.zadd(waiting, now, sid, "NX"):
                self._enqueue_activation(prefix, sid)
        return reply

    def _owner_marker(self, prefix: bytes, owner: bytes | None) -> tuple[bytes, bool]:
        marker = prefix + b":worker:" + (owner or b"")
        return marker, bool(owner) and self.redis.exists(marker)

    def _begin(self, keys: list[bytes], args: list[bytes]) -> Reply:
        [session], (token, epoch, seq) = keys, args
        h = self.redis.hmget(session, b"token", b"epoch")
        if self._is_stale(h, token, epoch):
            return [b"FENCED", int_of(h[1])]
        self.redis.hset(session, {b"begun": seq})
        return [b"OK"]

    def _watch(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, ids), (cell, client) = self.redis, keys, args
        entry = r.hget(ids, cell)
        if entry is None:
            return [b"UNKNOWN"]
        pending = PENDING.match(entry)
        if pending is None:
            return [b"DONE", *map(int, done_of(entry))]
        seq, clients = pending.groups()
        if client and client not in clients.split(b","):
            r.hset(ids, {cell: b"p:%s:%s" % (seq, clients + b"," + client if clients else client)})
        last, cursor = r.hmget(session, b"last", b"cursor")
        return [b"PENDING", int(seq), int_of(last), int_of(cursor)]

    def _compare(self, keys: list[bytes], args: list[bytes]) -> Reply:
        reply: Reply = []
        for place, session in enumerate(keys):
            h = self.redis.hmget(session, b"seq", b"cursor", b"last", b"token", b"state")
            known = args[place * 4 : place * 4 + 4]
            *mark, token, state = [value or default for value, default in zip(h, (b"0",) * 3 + (b"",) * 2, strict=True)]
            if [*mark, token] != known or state == b"closing":
                reply.append([place + 1, *map(int, mark), token, state])
        return reply

    def _emit(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, events), first = self.redis, keys, int(args[2])
        h = r.hmget(session, b"token", b"epoch", b"last")
        if self._is_stale(h, args[0], args[1]) and "emit without fence" not in self.bugs:
            return [b"FENCED", int_of(h[1])]
        last, count = int_of(h[2]), len(args) - 4
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
            return [b"FENCED", int_of(h[1])]
        last, cursor, seq = int_of(h[2]), int_of(h[3]), int_of(h[4])
        cursor_before, first = int(args[4]), int(args[5])
        parsed, written, i = [], 0, 9
        while i < len(args):
            n, m = int(args[i + 2]), int(args[i + 4])
            own = args[i + 6 : i + 6 + n]
            chunks = args[i + 6 + n : i + 6 + n + 2 * m]
            parsed.append((args[i], args[i + 1], args[i + 3], args[i + 5], own, chunks))
            written, i = written + n, i + 6 + n + 2 * m
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
            pending = [PENDING.match(r.hget(ids, cell) or b"") for cell, *_ in parsed]
            fits = [found and int(found[1]) for found in pending] == list(range(cursor + 1, cursor + 1 + count))
            fits = fits and all(self._has_chunks(blobs, chunks) for *_, chunks in parsed)
            if cursor != cursor_before or last != first - 1 or cursor + count > seq or not fits:
                return [b"GAP", last, cursor]
        if steps == ("events",):
            for event in (event for *_, own, _ in parsed for event in own):
                last += 1
                r.xadd(events, b"%d-0" % last, b"e", event)
            r.hset(session, {b"last": last})
            return [b"OK", last, cursor]
        if steps == ("cursor",):
            writes_events, last = False, last - written
        r.xtrim_minid(cells, b"%d-0" % (cursor + count + 1))
        unsaved = r.hget(session, b"unsaved")
        for cell, cell_first, manifest, size_before, own, chunks in parsed:
            here = last + 1
            size = int(size_before) + sum(map(len, own)) if size_before else inline + 1
            for event in own:
                last += 1
                if writes_events:
                    r.xadd(events, b"%d-0" % last, b"e", event)
            cursor += 1
            self._put_chunks(blobs, chunks)
            if manifest == b"!":
                unsaved = unsaved or cursor
            elif manifest:
                unsaved = None
            if manifest not in {b"", b"!", b"="}:
                r.xadd(checkpoints, b"%d-0" % cursor, b"m", manifest)
                r.hset(session, {b"head": cursor})
            entry = r.hget(ids, cell)
            r.hset(ids, {cell: b"d:%d:%s:%d" % (cursor, cell_first, last)})
            pending = PENDING.match(entry) if entry else None
            for client in filter(None, pending[2].split(b",") if pending else ()):
                reply: Reply = [b"c", cell, b"s", sid, b"q", cursor, b"f", cell_first, b"l", last]
                before = here - int(cell_first)
                if size <= inline and before >= 0 and before + len(own) <= 64:
                    span = b"%s-0" % cell_first, b"%d-0" % (here - 1)
                    earlier = [fields[1] for _, fields in r.xrange(events, *span)] if before > 0 else []
                    for event in [*earlier, *own]:
                        reply += [b"e", event]
                key = prefix + b":client:" + client + b":replies"
                r.xadd(key, None, *reply)
                r.pexpire(key, ttl)
        done = {b"last": last, b"cursor": cursor, b"tail": parsed[-1][1], b"losses": 0, b"active_at": r.clock()}
        if unsaved is not None:
            done[b"unsaved"] = unsaved
        else:
            r.hdel(session, b"unsaved")
        r.hset(session, done | ({b"begun": args[8]} if args[8] else {}))
        return [b"OK", last, cursor]


def _without_predecessor(body: bytes) -> bytes:
    """Return a spec as one that may run whatever became of the cell before it."""
    fields = msgpack.unpackb(body)
    packed: bytes = msgpack.packb({name: value for name, value in fields.items() if name != "only_after"})
    return packed
