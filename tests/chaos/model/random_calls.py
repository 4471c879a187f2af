"""Random calls of scripts that fit the state of a shard: mostly right, sometimes a little off, sometimes sent again."""

import hashlib
import random
from typing import Any

import msgpack

from skep_shared.broker.keys import Keys
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier

from .memory_redis import MemoryRedis
from .script_base import Reply

KEYS = Keys("c")
LEASE_MS = 60_000
START_MS = 1_700_000_000_000

Call = tuple[str, tuple[Any, ...], tuple[Any, ...]]


class Histories:
    """Draws calls that fit the state of a shard."""

    def __init__(self, seed: int, redis: MemoryRedis) -> None:
        self._rng = random.Random(seed)
        self._redis = redis
        self._sessions = ["s0", "s1"]
        self._workers = ["w0", "w1", "w2"]
        self._tokens: dict[str, list[tuple[str, int]]] = {}
        self._numbers = 0
        self._last: Call | None = None

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _hash(self, session: str) -> dict[bytes, bytes]:
        return self._redis.get(KEYS.session(session).encode()) or {}

    def _int(self, session: str, field: bytes) -> int:
        return int(self._hash(session).get(field, b"0") or 0)

    def _near(self, number: int) -> int:
        return max(0, number + self._rng.choice((0, 0, 0, 0, 0, 0, -1, 1, -3)))

    def _ownership(self, session: str) -> tuple[str, int]:
        fields, rng = self._hash(session), self._rng
        if rng.random() < 0.85:
            return fields.get(b"token", b"").decode(), self._near(
                int(fields.get(b"epoch", 0))
            ) if rng.random() < 0.1 else int(fields.get(b"epoch", 0))
        return rng.choice(self._tokens.get(session) or [("nobody", 1)])

    def note(self, call: Call, reply: Reply) -> None:
        """Learn from an answer who owns what, and which sessions there are."""
        name, _, args = call
        if name == "claim" and reply[0] == b"OK":
            self._tokens.setdefault(args[1], []).append((args[3], reply[1]))
        if name == "fork" and reply[0] == b"OK":
            self._sessions = list(dict.fromkeys([*self._sessions, *args[8:]]))

    def draw(self) -> Call:
        """Return the next call; sometimes the last one again, as after a lost reply."""
        if self._last is not None and self._rng.random() < 0.15:
            return self._last
        names = ("submit", "claim", "emit", "commit", "release", "heartbeat", "leave", "recover", "control", "close",
                 "purge", "prune", "rehead", "confirm", "fork", "save", "name", "watch",
                 "compare", "shard", "begin", "open", "answer", "activate", "defer", "reopen",
                 "update")  # fmt: skip
        weights = (14, 10, 14, 18, 5, 10, 1, 6, 6, 3, 2, 4, 2, 4, 2, 5, 3, 4, 4, 2, 6, 2, 2, 1, 2, 1, 3)
        [name] = self._rng.choices(names, weights)
        session = self._rng.choice(self._sessions)
        keys, args = getattr(self, f"_{name}")(session)
        self._last = name, keys, args
        return self._last

    def _submit(self, session: str) -> tuple[Any, ...]:
        rng = self._rng
        cells: list[Any] = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            known = list(self._redis.get(KEYS.ids(session).encode()) or ())
            again = known and rng.random() < 0.25
            cells += [rng.choice(known) if again else f"cell{self._number()}", b"b" * rng.choice((1, 10, 40))]
        keys = (KEYS.session(session), KEYS.cells(session), KEYS.ids(session), KEYS.waiting, KEYS.sessions)
        return keys, (
            "c",
            session,
            rng.choice(("", "k1", "k2", "k10")),
            rng.choice((5, 50)),
            self._options(b"opts"),
            20,
            rng.randrange(4),
            rng.choice((0, 0, 1)),
            *cells,
        )

    def _options(self, usual: bytes) -> bytes:
        """Return options, mostly the usual ones, sometimes some that ask for a sandbox."""
        if self._rng.random() < 0.8:
            return usual
        tier = self._rng.choice((*STRENGTH, "of a newer version"))
        packed: bytes = msgpack.packb({"sandbox": str(tier), **self._expiry()})
        return packed

    def _expiry(self) -> dict[str, float]:
        """Return when a session expires, if it does."""
        return self._rng.choice(({}, {"expires_in": 1}, {"expires_in": 6.5}))

    def _cell(self, session: str) -> Any:
        known = list(self._redis.get(KEYS.ids(session).encode()) or ())
        return self._rng.choice(known) if known and self._rng.random() < 0.9 else "unheard-of"

    def _watch(self, session: str) -> tuple[Any, ...]:
        return (KEYS.session(session), KEYS.ids(session)), (self._cell(session), self._rng.choice(("", "k1", "k3")))

    def _compare(self, _: str) -> tuple[Any, ...]:
        keys = [KEYS.session(session) for session in self._sessions]
        args: list[Any] = []
        for session in self._sessions:
            known = self._hash(session)
            args += [self._near(int(known.get(name) or 0)) for name in (b"seq", b"cursor", b"last")]
            args.append(known.get(b"token", b""))
        return tuple(keys), tuple(args)

    def _shard(self, _: str) -> tuple[Any, ...]:
        rng = self._rng
        proposed = (f"id{self._number()}", rng.choice(("/a", "/b")), rng.randrange(100))
        return (KEYS.shard, KEYS.workers), (
            "c",
            rng.choice(self._workers),
            *proposed,
            rng.choice((0, 1)),
            rng.choice((1, 1, 1, 2)),
        )

    def _claim(self, session: str) -> tuple[Any, ...]:
        worker, rng = self._rng.choice(self._workers), self._rng
        token = f"token{self._number()}"
        if rng.random() < 0.1:
            token = self._hash(session).get(b"token", b"").decode()
        keys = (KEYS.session(session), KEYS.waiting, KEYS.worker(worker), KEYS.owned(worker))
        return keys, ("c", session, worker, token, rng.choice((0, 0, 1)), rng.choice((*STRENGTH, Tier.STRICT)))

    def _emit(self, session: str) -> tuple[Any, ...]:
        token, epoch = self._ownership(session)
        events = [f"event{self._number()}".encode() for _ in range(self._rng.choice((1, 1, 3)))]
        first = self._near(self._int(session, b"last") + 1)
        said = self._rng.choice(("", "1:1", f"{self._int(session, b'cursor') + 1}:2"))
        return (KEYS.session(session), KEYS.events(session)), (token, epoch, first, said, *events)

    def _begin(self, session: str) -> tuple[Any, ...]:
        return (KEYS.session(session),), (*self._ownership(session), self._int(session, b"cursor") + 1)

    def _commit(self, session: str) -> tuple[Any, ...]:
        rng = self._rng
        token, epoch = self._ownership(session)
        cursor, first = self._near(self._int(session, b"cursor")), self._near(self._int(session, b"last") + 1)
        pending = [flat[1] for _, flat in self._redis.xrange(KEYS.cells(session).encode())]
        args: list[Any] = ["c", session, token, epoch, cursor, first, 120_000, rng.choice((10, 1000))]
        args.append(rng.choice(("", cursor + 2)))
        number = first
        for cell in pending[: rng.choice((1, 1, 2))] or ["none"]:
            events = [f"event{self._number()}".encode() for _ in range(rng.choice((1, 2, 3)))]
            chunks = [part for _ in range(rng.choice((0, 1, 2))) for part in self._chunk()]
            args += [
                cell,
                max(1, self._near(number)),
                len(events),
                rng.choice((b"", b"", b"manifest", b"manifest", b"!", b"=")),
                len(chunks) // 2,
                rng.choice(("", 0, 5, 2000)),
                *events,
                *chunks,
            ]
            number += len(events)
        keys = (
            KEYS.session(session), KEYS.events(session), KEYS.cells(session), KEYS.ids(session),
            KEYS.checkpoints(session), KEYS.blobs(session),
        )  # fmt: skip
        return keys, tuple(args)

    def _chunk(self) -> tuple[bytes, bytes]:
        return b"chunk%d" % self._rng.randrange(9), self._rng.choice((b"data", b"data", b""))

    def _save(self, session: str) -> tuple[Any, ...]:
        rng = self._rng
        seq = self._near(self._int(session, b"cursor"))
        there = [CheckpointId.parse(i) for i, _ in self._redis.xrange(KEYS.checkpoints(session).encode())]
        newest = max(there, default=CheckpointId(0))
        kind = rng.choice(("", "void", "last"))
        checkpoint = CheckpointId(seq)
        if kind == "last" and there:
            checkpoint = rng.choice((newest, newest.after(max(newest.seq, seq))))
        manifest = rng.choice((b"", b"manifest")) if checkpoint > newest or kind == "last" else b""
        keys = (KEYS.session(session), KEYS.checkpoints(session), KEYS.blobs(session))
        return keys, (*self._ownership(session), checkpoint.stored, manifest, kind, *self._chunk())

    def _release(self, session: str) -> tuple[Any, ...]:
        rng = self._rng
        owner = self._hash(session).get(b"owner", b"").decode() or "w0"
        token, epoch = self._ownership(session)
        event = rng.choice((b"", b"", b"closing event"))
        keys = (KEYS.session(session), KEYS.owned(owner), KEYS.waiting, KEYS.events(session))
        return keys, (
            session,
            token,
            epoch,
            event,
            self._near(self._int(session, b"last") + 1),
            rng.choice((0, 1)),
            rng.choice((0, 1)),
        )

    def _heartbeat(self, session: str) -> tuple[Any, ...]:
        worker = self._rng.choice(self._workers)
        keys = (KEYS.worker(worker), KEYS.workers, KEYS.waiting, KEYS.named)
        return keys, (worker, LEASE_MS, b"facts", 5_000, self._rng.choice(("", "", "", "key1", "key2 key1")))

    def _leave(self, session: str) -> tuple[Any, ...]:
        worker = self._rng.choice(self._workers)
        return (KEYS.worker(worker), KEYS.workers, KEYS.mailbox(worker), KEYS.owned(worker)), (worker,)

    def _recover(self, session: str) -> tuple[Any, ...]:
        return (KEYS.workers, KEYS.waiting), ("c", LEASE_MS, 100, 5_000)

    def _control(self, session: str) -> tuple[Any, ...]:
        rng = self._rng
        kind = rng.choice(("interrupt", "cancel", "answer", "operate"))
        cell = rng.choice(("", self._cell(session)))
        keys = (KEYS.session(session), KEYS.ids(session), KEYS.waiting)
        return keys, ("c", session, kind, cell, rng.choice(("cell", "process", "residency")), *self._signed("x", "y"))

    def _signed(self, *fields: str) -> tuple[str, ...]:
        """Return the id of the sender's key, and the fields of a request with their signature."""
        key_id = self._rng.choice(("", "key1", "key2"))
        return (key_id, *fields, *(("z", f"v1-{key_id}") if key_id else ()))

    def _reopen(self, session: str) -> tuple[Any, ...]:
        return (KEYS.session(session),), self._ownership(session)

    def _answer(self, _: str) -> tuple[Any, ...]:
        rng = self._rng
        return (KEYS.replies(rng.choice(("k1", "k2"))),), (
            120_000,
            f"o{self._number()}",
            rng.choice((0, 1, 3)),
            b"answer",
        )

    def _activate(self, session: str) -> tuple[Any, ...]:
        return (), ("c", *self._rng.sample(self._sessions, self._rng.choice((0, 1, 2))))

    def _defer(self, session: str) -> tuple[Any, ...]:
        job_id = f"c:cell:{session}:{self._rng.randrange(4)}"
        mode, ms = self._rng.choice((("by", 0), ("by", 5_000), ("until", START_MS), ("until", START_MS + 30_000)))
        return (KEYS.arq_job(job_id), KEYS.arq_result(job_id)), ("c", job_id, b"\x81\xa1f\xa1j", mode, ms)

    def _open(self, session: str) -> tuple[Any, ...]:
        return (KEYS.session(session), KEYS.sessions), (session, self._options(self._rng.choice((b"", b"\x80"))))

    def _close(self, session: str) -> tuple[Any, ...]:
        return (KEYS.session(session), KEYS.events(session), KEYS.waiting), (
            "c",
            session,
            *self._rng.choice((("", ""), ("key1", "v1-0"))),
            self._rng.choice((0, 1, 1, 1)),
        )

    def _update(self, session: str) -> tuple[Any, ...]:
        before = self._hash(session).get(b"options", b"")
        if self._rng.random() < 0.1:
            before = b"of another client"
        after = msgpack.packb({"labels": {"a": str(self._rng.randrange(3))}, **self._expiry()})
        digest = hashlib.sha1(before, usedforsecurity=False).hexdigest()
        return (KEYS.session(session),), ("c", session, digest, after, *self._signed("d", "2.5"))

    def _purge(self, session: str) -> tuple[Any, ...]:
        k = KEYS
        keys = (
            k.session(session), k.cells(session), k.ids(session), k.events(session), k.sessions, k.waiting,
            k.checkpoints(session), k.blobs(session), k.names(session), k.pins(session), k.purged,
        )  # fmt: skip
        return keys, ("c", session)

    def _kept(self, session: str) -> str:
        kept = [CheckpointId.parse(i).stored for i, _ in self._redis.xrange(KEYS.checkpoints(session).encode())]
        return self._rng.choice(kept) if kept and self._rng.random() < 0.9 else "77"

    def _prune(self, session: str) -> tuple[Any, ...]:
        gone = [self._kept(session) for _ in range(self._rng.choice((0, 1, 2)))]
        keys = (
            KEYS.session(session),
            KEYS.checkpoints(session),
            KEYS.blobs(session),
            KEYS.names(session),
            KEYS.pins(session),
        )
        return keys, (
            *self._ownership(session),
            self._rng.choice((0, 0, 1, 2, 3, 5)),
            max(0, self._near(self._int(session, b"cursor"))),
            len(gone),
            *gone,
            b"chunk%d" % self._rng.randrange(9),
        )

    def _rehead(self, session: str) -> tuple[Any, ...]:
        cursor = self._near(self._int(session, b"cursor"))
        keys = (KEYS.session(session), KEYS.checkpoints(session))
        return keys, (*self._ownership(session), cursor, self._kept(session))

    def _confirm(self, session: str) -> tuple[Any, ...]:
        return (KEYS.session(session), KEYS.waiting), (session, *self._ownership(session), "c")

    def _fork(self, session: str) -> tuple[Any, ...]:
        rng = self._rng
        new = [f"f{rng.randrange(6)}", *([f"g{rng.randrange(6)}"] if rng.random() < 0.3 else [])]
        keys: list[Any] = [KEYS.session(session), KEYS.checkpoints(session), KEYS.pins(session), KEYS.sessions]
        for sid in new:
            keys += [KEYS.session(sid), KEYS.checkpoints(sid)]
        born = self._int(session, b"created_at")
        return tuple(keys), (
            "c",
            session,
            born,
            self._kept(session),
            f"fork{rng.randrange(20)}",
            b"forked manifest",
            rng.choice((b"", b"".join(b"seal%d" % place for place in range(len(new))))),
            self._options(b""),
            *new,
        )

    def _name(self, session: str) -> tuple[Any, ...]:
        keys = (KEYS.session(session), KEYS.checkpoints(session), KEYS.names(session))
        return keys, (
            self._kept(session),
            name := self._rng.choice(("", "a", "b", "c")),
            2,
            self._rng.choice(("", "v1-1")) if name else "",
        )

    def wait_ms(self) -> int:
        """Draw how long nothing happens; sometimes the clock is set back."""
        return self._rng.choice((1, 7, 500, 6_000, 6_000, 25_000, 70_000, -9_000)) if self._rng.random() < 0.15 else 0
