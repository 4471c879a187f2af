"""A shard seen from outside: what the scripts are called with, and everything they have left in Redis."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from skep_shared.broker.activation import ACTIVATE_JOB, unpack_job
from skep_shared.broker.keys import Keys
from skep_shared.broker.script_replies import CellCommit, Claim, Heartbeat, Submitted
from skep_shared.broker.script_source import ScriptCalls
from skep_shared.broker.scripts import Scripts
from skep_shared.settings import WorkerSettings

LEASE_MS = 600_000  # no lease ends during a test; `kill` ends one


class Shard:
    """Short names for what most script tests begin with, and views of what is stored.

    Unless said otherwise the session is `s`, the worker `w1`.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.redis, self.keys, self.scripts = redis, keys, Scripts(redis, keys)

    async def submit(self, *cell_ids: str, sid: str = "s", client: str = "", most: int = 100) -> Submitted:
        """Submit cells whose body is `body of <id>`."""
        cells = [(cell_id, f"body of {cell_id}".encode()) for cell_id in cell_ids]
        return await self.scripts.submit(sid, cells, client_id=client, max_pending=most, options=b"options")

    async def join(self, worker: str = "w1") -> None:
        """Make the worker alive."""
        await self.beat(worker)

    async def beat(
        self, worker: str = "w1", *, lease_ms: int = LEASE_MS, facts: bytes = b"facts", patience_ms: int = LEASE_MS
    ) -> Heartbeat:
        """Send the worker's heartbeat."""
        return await self.scripts.heartbeat(worker, lease_ms, facts, patience_ms=patience_ms)

    async def kill(self, worker: str = "w1") -> None:
        """End the worker's lease, as its expiry would, and let its last heartbeat be long ago."""
        end = "redis.call('DEL', KEYS[1]) redis.call('ZADD', KEYS[2], 1, ARGV[1])"  # in this order on a full server too
        await self.redis.eval(end, 2, self.keys.worker(worker), self.keys.workers, worker)

    async def claim(self, worker: str = "w1", *, sid: str = "s", token: str | None = None) -> Claim:
        """Make the worker alive and the session's owner."""
        await self.join(worker)
        claim = await self.scripts.claim(sid, worker, token or f"token of {worker}")
        assert isinstance(claim, Claim)
        return claim

    async def commit(self, claim: Claim, *cells: CellCommit, cursor: int = 0, first: int = 1, **options: Any) -> int:
        """Commit cells; by default the first ones of the session."""
        options.setdefault("reply_ttl_ms", 60_000)
        return await self.scripts.commit(claim, cursor=cursor, first_event=first, cells=cells, **options)

    async def save(self, *names: str, sid: str = "s", worker: str = "w1") -> Claim:
        """Submit and commit cells, each with a checkpoint that names one chunk of its own and one they share."""
        await self.submit(*names, sid=sid)
        claim = await self.claim(worker, sid=sid)
        for number, name in enumerate(names):
            cursor, last = claim.cursor + number, claim.last_event + number
            blobs = ((b"shared", b"x"), (name.encode(), b"y"))
            cell = CellCommit(name, last + 1, (b"e",), manifest=b"m-" + name.encode(), blobs=blobs)
            await self.commit(claim, cell, cursor=cursor, first=last + 1)
        return claim

    async def end(self, claim: Claim, worker: str = "w1") -> bool:
        """Release, close and purge a session."""
        await self.scripts.release(claim, worker)
        await self.scripts.close(claim.session_id)
        return await self.scripts.purge(claim.session_id)

    async def kept(self, sid: str = "s") -> tuple[list[str], set[bytes]]:
        """Read which checkpoints and which chunks are stored."""
        entries = await self.redis.xrange(self.keys.checkpoints(sid))
        return [entry_id.decode() for entry_id, _ in entries], set(await self.redis.hkeys(self.keys.blobs(sid)))

    async def session(self, sid: str = "s") -> dict[str, str]:
        """Read the session hash."""
        fields = await self.redis.hgetall(self.keys.session(sid))
        return {name.decode(): value.decode() for name, value in fields.items()}

    async def ids(self, sid: str = "s") -> dict[str, str]:
        """Read what is known about each cell id."""
        fields = await self.redis.hgetall(self.keys.ids(sid))
        return {name.decode(): value.decode() for name, value in fields.items()}

    async def pending(self, sid: str = "s") -> list[tuple[str, str]]:
        """Read stream id and cell id of the pending cells."""
        entries = await self.redis.xrange(self.keys.cells(sid))
        return [(entry_id.decode(), fields[b"c"].decode()) for entry_id, fields in entries]

    async def events(self, sid: str = "s") -> list[tuple[str, bytes]]:
        """Read the session's events."""
        entries = await self.redis.xrange(self.keys.events(sid))
        return [(entry_id.decode(), fields[b"e"]) for entry_id, fields in entries]

    async def mail(self, worker: str = "w1") -> list[dict[str, str]]:
        """Read the worker's mailbox, without the times of the submits."""
        entries = await self.redis.xrange(self.keys.mailbox(worker))
        return [{k.decode(): v.decode() for k, v in fields.items() if k != b"t"} for _, fields in entries]

    async def replies(self, client: str) -> list[tuple[dict[str, str], list[bytes]]]:
        """Read a client's replies: the pointer and the events that came with it."""
        answers = []
        for _, flat in await self._entries(self.keys.replies(client)):
            pairs = list(zip(flat[::2], flat[1::2], strict=True))
            pointer = {name.decode(): value.decode() for name, value in pairs if name != b"e"}
            answers.append((pointer, [value for name, value in pairs if name == b"e"]))
        return answers

    async def waiting(self) -> dict[str, float]:
        """Read which sessions want an owner, and since when."""
        return {
            sid.decode(): since for sid, since in await self.redis.zrange(self.keys.waiting, 0, -1, withscores=True)
        }

    async def activations(self) -> list[str]:
        """Read which sessions the queued activations are for, the one that was queued first in front."""
        jobs = []
        for job_id in await self.redis.zrange(self.keys.arq_queue, 0, -1):
            job = unpack_job(await self.redis.get(self.keys.arq_job(job_id.decode())))
            assert (job["f"], job["a"]) == (ACTIVATE_JOB, [])
            jobs.append(job["k"]["session_id"])
        return jobs

    async def drop_activations(self) -> None:
        """Empty the queue, as a worker does that has run its jobs."""
        await self.redis.delete(self.keys.arq_queue, self.keys.arq_wake)

    async def owned(self, worker: str = "w1") -> set[str]:
        """Read which sessions the index says a worker owns."""
        return {sid.decode() for sid in await self.redis.smembers(self.keys.owned(worker))}

    async def dump(self) -> dict[str, object]:
        """Read every key of the shard, so that two states can be compared."""
        found = {}
        async for name in self.redis.scan_iter(match=f"{self.keys.prefix}:*", count=1000):
            found[name.decode()] = await self._content(name, await self.redis.type(name))
        return found

    async def _content(self, name: bytes, kind: bytes) -> object:
        if kind == b"hash":
            return await self.redis.hgetall(name)
        if kind == b"set":
            return await self.redis.smembers(name)
        if kind == b"list":
            return await self.redis.lrange(name, 0, -1)
        if kind == b"zset":
            return await self.redis.zrange(name, 0, -1, withscores=True)
        assert kind == b"stream", f"{name!r} is a {kind!r}"
        return await self._entries(name), (await self.redis.xinfo_stream(name))["last-generated-id"]

    async def _entries(self, stream: str | bytes) -> list[tuple[bytes, list[bytes]]]:
        # Past the driver's parser: a reply repeats its field `e`, and the driver makes a dict of an entry's fields.
        return await self.redis.eval("return redis.call('XRANGE', KEYS[1], '-', '+')", 1, stream)


@pytest.fixture
def shard(redis: Redis, keys: Keys) -> Shard:
    """The test's shard on the shared server."""
    return Shard(redis, keys)


@pytest.fixture
def own_shard(own_redis: Redis, own_settings: WorkerSettings) -> Shard:
    """A shard on a server that no other test uses."""
    return Shard(own_redis, Keys(own_settings.prefix))


@pytest.fixture
def flush_before(own_redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Callable[[ScriptCalls], set[str]]:
    """A function that has the server's script cache emptied before each call of a script.

    It returns a set to which each call adds the script's name.
    """

    def flush_before(scripts: ScriptCalls) -> set[str]:
        call, called = scripts._call, set[str]()

        async def flush_and_call(name: str, *args: Any) -> Any:
            await own_redis.script_flush()
            called.add(name)
            return await call(name, *args)

        monkeypatch.setattr(scripts, "_call", flush_and_call)
        return called

    return flush_before
