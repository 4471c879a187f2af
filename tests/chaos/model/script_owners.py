"""The scripts of workers and what they own, as models."""

import math

from .script_base import CLAIM_BUG, Reply, ScriptBase, int_of, is_weaker, sandbox_in


class OwnerScripts(ScriptBase):
    """Claim, release, heartbeat, leave, recover, confirm."""

    def _shard(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (shard, workers), (prefix, wid, shard_id, directory, seed, is_chosen, layout) = self.redis, keys, args
        if not r.exists(shard):
            r.hset(shard, {b"id": shard_id, b"directory": directory, b"hash_seed": seed, b"layout": layout})
        if r.hget(shard, b"layout") != layout:
            return [b"LAYOUT", r.hget(shard, b"layout") or b""]
        if is_chosen == b"1" and r.hget(shard, b"directory") != directory:
            others = [worker for worker in r.get(workers) or () if worker != wid]
            if not any(r.exists(prefix + b":worker:" + worker) for worker in others):
                r.hset(shard, {b"directory": directory})
        return [b"OK", *r.hmget(shard, b"id", b"directory", b"hash_seed")]

    def _claim(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, waiting, own_marker, owned), (prefix, sid, wid, token, has_store, tier) = self.redis, keys, args
        if not r.exists(own_marker):
            return [b"NOT_ALIVE"]
        state, owner, held, epoch_text, cursor, seq, last, losses_text = r.hmget(
            session, b"state", b"owner", b"token", b"epoch", b"cursor", b"seq", b"last", b"losses"
        )
        options, previous, holder, head, requests, created, origins, said = r.hmget(
            session, b"options", b"previous", b"holder", b"head", b"requests", b"created_at", b"origins", b"said"
        )
        changes = not (owner == wid and held == token)
        marker = prefix + b":worker:" + (owner or b"")
        lives = changes and owner and owner != wid and r.exists(marker)
        wanted = sandbox_in(options)
        is_refused = changes and not lives and is_weaker(tier, wanted) and CLAIM_BUG not in self.bugs
        if is_refused and state not in {None, b"closed"}:
            return [b"WEAKER", wanted]
        r.zrem(waiting, sid)
        r.zrem(prefix + b":named", sid)
        if state is None:
            return [b"UNKNOWN"]
        if state == b"closed":
            return [b"CLOSED"]
        epoch, losses, previous = int_of(epoch_text), int_of(losses_text), previous or b""
        idle_losses = int_of(r.hget(session, b"idle_losses")) if losses else 0
        if changes:
            if lives:
                self._post(marker, b"k", b"wake", b"s", sid, b"q", seq)
                r.sadd(marker + b":sessions", sid)
                return [b"OWNED", owner]
            if owner:
                losses += 1
                idle_losses += int_of(r.hget(session, b"begun")) <= int_of(cursor)
                r.srem(marker + b":sessions", sid)
            epoch, previous = epoch + 1, holder or b""
            r.hset(
                session,
                {
                    b"owner": wid, b"token": token, b"epoch": epoch, b"losses": losses,
                    b"idle_losses": idle_losses, b"begun": 0, b"holder": wid,
                    b"previous": previous,
                },
            )  # fmt: skip
            if has_store == b"1":
                r.hset(session, {b"stored": 1})
        r.sadd(owned, sid)
        return [
            b"OK", epoch, int_of(cursor), int_of(seq), int_of(last), losses, previous, state, options, head or b"0",
            requests or b"", created or b"0", origins or b"", said or b"", idle_losses,
            int(int_of(r.hget(session, b"handed")) == epoch - 1),
        ]  # fmt: skip

    def _release(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, owned, waiting, events) = self.redis, keys
        sid, token, epoch, event = args[:4]
        h = r.hmget(session, b"token", b"epoch", b"owner", b"seq", b"cursor", b"last", b"released", b"state")
        if h[6] == token:
            return [b"DUP"]
        if self._is_stale(h, token, epoch):
            return [b"FENCED", int_of(h[1])]
        pending, last = int_of(h[3]) - int_of(h[4]), int_of(h[5])
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
                r.hset(session, {b"losses": int_of(r.hget(session, b"losses")) + 1})
                if args[6] == b"1":
                    r.hset(session, {b"handed": epoch})
            if pending > 0 or h[7] == b"closing":
                r.zadd(waiting, r.clock(), sid, "NX")
        return [b"OK", pending]

    def _heartbeat(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (marker, workers, waiting, named), (wid, lease_text, facts, patience, key_ids) = self.redis, keys, args
        lease = int(lease_text)
        alive = r.pexpire(marker, lease)
        now = r.clock()
        r.hset(marker, {b"facts": facts, b"at": now, b"lease": lease} | ({b"keys": key_ids} if key_ids else {}))
        r.pexpire(marker, lease)
        r.zadd(workers, now, wid)
        neglected, soon = 0, []
        for key, bound in ((workers, lease), (waiting, int(patience))):
            scores = (r.get(key) or {}).values()
            neglected += len(r.up_to(key, now - bound)) + sum(score > now for score in scores)
            later = [score for score in scores if score > now - bound]
            soon += [min(later) + bound - now] if later else []
        recent = [score for score in (r.get(named) or {}).values() if now - int(patience) < score <= now]
        soon += [min(recent) + int(patience) - now] if recent else []
        return [now, alive, max(0, neglected - len(recent)), math.ceil(min(soon)) + 1]

    def _reopen(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, [session], (token, epoch) = self.redis, keys, args
        its_token, its_epoch, state = r.hmget(session, b"token", b"epoch", b"state")
        if its_token != token or its_epoch != epoch:
            return [b"FENCED", int_of(its_epoch)]
        if state != b"closing":
            return [b"OK", 0]
        r.hdel(session, b"closed_by")
        r.hset(session, {b"state": b"open"})
        return [b"OK", 1]

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
        named = prefix + b":named"
        for sid in r.beyond(named, now):
            r.zrem(named, sid)
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
                session = prefix + b":session:" + sid
                h = r.hmget(session, b"owner", b"seq", b"cursor", b"state")
                if h[0] == wid and (h[1] != h[2] or h[3] == b"closing"):
                    r.zadd(waiting, now - patience, sid, "NX")
                r.srem(base + b":sessions", sid)
            if not r.get(base + b":sessions"):
                r.delete(base + b":mailbox")
                r.zrem(workers, wid)
        reply: Reply = [dead]
        return reply + self._named_now(waiting, named, page, patience)

    def _named_now(self, waiting: bytes, named: bytes, page: int, patience: int) -> Reply:
        r, now, told = self.redis, self.redis.clock(), Reply()
        candidates, known = r.up_to(waiting, now - patience), len(r.get(named) or {})
        start, missing = min(known, len(candidates)), len(candidates) - known
        for _ in range(20):
            if missing <= 0 or len(told) >= page:
                break
            found = candidates[start : start + page]
            for sid in found:
                if len(told) < page and sid not in (r.get(named) or {}):
                    r.zadd(named, now, sid)
                    told.append(sid)
                    missing -= 1
            start = 0 if len(found) < page else start + page
        for sid in r.up_to(named, now - patience)[:page]:
            if sid not in (r.get(waiting) or {}):
                r.zrem(named, sid)
            elif len(told) < page and sid not in told:
                r.zadd(named, now, sid)
                told.append(sid)
        return told

    def _confirm(self, keys: list[bytes], args: list[bytes]) -> Reply:
        r, (session, waiting) = self.redis, keys
        h = r.hmget(session, b"token", b"epoch", b"seq", b"owner")
        if self._is_stale(h, args[1], args[2]):
            return [b"FENCED", int_of(h[1])]
        marker = args[3] + b":worker:" + (h[3] or b"")
        if r.exists(marker):
            r.zrem(waiting, args[0])
            r.zrem(args[3] + b":named", args[0])
            r.sadd(marker + b":sessions", args[0])
        return [b"OK", int_of(h[2])]
