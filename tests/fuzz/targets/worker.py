"""A real worker on a real Redis, whose keys anyone may have written: it goes on, and other sessions do not notice."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar

from redis.asyncio import Redis
from redis.exceptions import ResponseError

import skep
from skep.local.redis_server import RedisServer
from skep_shared.broker.activation import pack_submit_job
from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.keys import Keys
from skep_shared.broker.redis_client.connection import open_redis
from skep_shared.models import CellSpec, SessionOptions
from skep_shared.settings import WorkerSettings
from skep_shared.signing import Signer, signed_job
from skep_workers.host.worker import WorkerHost

from ..target import Finding, as_bytes, text_of, unpack_input
from .entries import BODY, OPERATION, SIGNER, TIME, entries_of_clients, mailbox_fields
from .frames import packed_manifest

KEY = "key-of-the-shard-0123456789abcdef0123"
SECONDS = 60.0  # for the cell of another session: longer is a hang, however busy the machine is
SETTLE_SECONDS = 0.02  # for what an input has started; what takes longer shows in the next input
INPUTS_OF_A_WORKER = 300
CELL = CellSpec(code="print('ran')").pack()


class Worker:
    """Operations on a session of its own for each input: ["mail", fields], ["cell", fields], ["hash", field, value],
    ["options", bytes], ["request", kind, fields], ["close"], ["job", bytes], ["checkpoint", id, bytes],
    ["index", waiting | sessions | workers, member], ["owned", member], ["marker", worker, facts].

    After each input a cell of another session has to succeed on the same worker.
    """  # fmt: skip

    name: ClassVar[str] = "worker"
    key: ClassVar[str] = ""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = contextlib.AsyncExitStack()
        self._loop.run_until_complete(self._open())
        self._inputs = 0

    async def _open(self) -> None:
        server = await self._stack.enter_async_context(RedisServer())
        os.environ |= {"SKEP_PREFIX": "t"} | ({"SKEP_SIGNING_KEY": self.key} if self.key else {})
        self._stack.callback(lambda: [os.environ.pop(name, None) for name in ("SKEP_PREFIX", "SKEP_SIGNING_KEY")])
        self._settings = WorkerSettings.load(
            redis_url=server.url, grace_seconds=1, max_resident=50, idle_seconds=5, lease_seconds=30,
            start_seconds=60, unresponsive_seconds=30,
        )  # fmt: skip
        self._keys = Keys("t")
        self._redis: Redis = open_redis(self._settings)
        self._stack.push_async_callback(self._redis.aclose)
        self._unsigned = ClientScripts(self._redis, self._keys)
        self._cluster = await self._stack.enter_async_context(skep.connect(server.url))
        self._running = await self._stack.enter_async_context(self._working())

    @contextlib.asynccontextmanager
    async def _working(self) -> AsyncIterator["_Running"]:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        host = WorkerHost(self._settings, on_ready=ready.set_result)
        task = asyncio.create_task(host.run(), name="worker")
        try:
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
            yield _Running(host, task)
        finally:
            host.stop()
            async with asyncio.timeout(60):
                await task

    def close(self) -> None:
        """Stop the worker, which must leave in order, and the server."""
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()

    def seeds(self) -> Iterable[object]:
        """Yield each operation as clients and workers write it."""
        for fields in entries_of_clients():
            yield [["mail", fields]]
        yield [["options", SessionOptions(labels={"a": "b"}).pack()], ["request", "interrupt", {}], ["close"]]
        yield [["cell", {"c": "c9", "b": CELL, "t": TIME}], ["mail", mailbox_fields("wake")]]
        yield [
            ["hash", "requests", " 1:interrupt 1:cancel:v1-00"],
            ["hash", "losses", "2"],
            ["hash", "said", "1:1 2:1"],
        ]
        yield [["hash", "head", "1-1"], ["checkpoint", "1-1", packed_manifest(1)], ["hash", "origins", "s0:1:17"]]
        yield [["request", "operate", dict(OPERATION.pack())], ["request", "answer", {"x": "text"}]]
        yield [["job", pack_submit_job("s0", "print('ran')", {"cell_id": "c7"})]]
        yield [["index", "waiting", "../../x"], ["owned", "s1"], ["index", "sessions", b"\xff"]]
        yield [["index", "workers", "w9"], ["marker", "w9", b"\x80"]]
        yield [
            [
                "job",
                pack_submit_job(
                    "s0", "1", {"signature": SIGNER.text("job", "s0", "c7", signed_job("1", {})), "cell_id": "c7"}
                ),
            ]
        ]

    def execute(self, data: bytes) -> None:
        """Write all of it, then run a cell in another session."""
        self._loop.run_until_complete(self._execute(unpack_input(data) or []))

    async def _execute(self, operations: list[Any]) -> None:
        self._inputs += 1
        sid = f"s{self._inputs}-{secrets.token_hex(2)}"
        mailbox = self._keys.mailbox(self._running.host.worker_id)
        options = b""
        for operation in operations:
            with contextlib.suppress(ResponseError):  # of a script that has refused it
                match operation:
                    case ["mail", dict(fields)] if fields:
                        await self._redis.xadd(mailbox, _of_session(fields, sid))
                    case ["cell", dict(fields)] if fields:
                        await self._add_cell(sid, {as_bytes(name): as_bytes(value) for name, value in fields.items()})
                    case ["hash", name, value]:
                        await self._redis.hset(self._keys.session(sid), as_bytes(name), as_bytes(value))  # type: ignore[arg-type,misc]
                    case ["options", packed]:
                        options = as_bytes(packed)
                    case ["request", kind, dict(fields)]:
                        named: Any = {text_of(name): as_bytes(value) for name, value in fields.items()}
                        about: Any = "process"
                        await self._unsigned.control(sid, text_of(kind), fields=named, about=about)  # type: ignore[arg-type]
                    case ["close"]:
                        await self._unsigned.close(sid)
                    case ["job", packed]:
                        await self._queue_job(as_bytes(packed))
                    case ["index", str(index), member] if index in ("waiting", "sessions", "workers"):
                        await self._redis.zadd(getattr(self._keys, index), {as_bytes(member): 1})
                    case ["owned", member]:
                        await self._redis.sadd(self._keys.owned(self._running.host.worker_id), as_bytes(member))  # type: ignore[misc]
                    case ["marker", name, packed]:
                        await self._redis.hset(self._keys.worker(text_of(name)), "facts", as_bytes(packed))  # type: ignore[arg-type,misc]
                    case ["checkpoint", str(entry_id), packed]:
                        await self._redis.xadd(self._keys.checkpoints(sid), {"m": as_bytes(packed)}, id=entry_id)
        with contextlib.suppress(ResponseError):
            await self._unsigned.submit(sid, [("c1", CELL), ("c2", BODY)], max_pending=100, options=options)
        await self._redis.xadd(mailbox, {"k": "activate", "s": sid})
        await self._check_neighbour()
        await asyncio.sleep(SETTLE_SECONDS)
        await self._check_what_ran(sid)

    async def _add_cell(self, sid: str, fields: dict[bytes, bytes]) -> None:
        """Append a cell as no script would."""
        seq = await self._redis.hincrby(self._keys.session(sid), "seq", 1)  # type: ignore[misc]
        await self._redis.xadd(self._keys.cells(sid), fields, id=f"{seq}-0")  # type: ignore[arg-type]

    async def _queue_job(self, packed: bytes) -> None:
        job_id = secrets.token_hex(4)
        await self._redis.set(self._keys.arq_job(job_id), packed, ex=60)
        await self._redis.zadd(self._keys.arq_queue, {job_id: 1})
        await self._redis.lpush(self._keys.arq_wake, "1")  # type: ignore[misc]

    async def _check_neighbour(self) -> None:
        running = self._running
        if not running.task.done():
            session = self._cluster.session(f"neighbour-{self._inputs // INPUTS_OF_A_WORKER}")
            try:
                outcome = await session.run("1 + 1", wait=SECONDS)
            except skep.WaitTimeout as exc:
                if not running.task.done():
                    raise Finding(f"a cell of another session does not run: {exc}") from exc
            else:
                if outcome.value == 2:
                    return
        await running.task
        raise Finding("the worker has ended")

    async def _check_what_ran(self, sid: str) -> None:
        """Nothing to check: without a key, everything may run."""


class SignedWorker(Worker):
    """The same, of a worker with a key: no cell of the inputs begins, since none is signed for its session."""

    name: ClassVar[str] = "signed_worker"
    key: ClassVar[str] = KEY
    signer: ClassVar[Signer] = SIGNER

    async def _check_what_ran(self, sid: str) -> None:
        async for event in self._cluster.session(sid).events():
            if event.kind == "cell.started":
                raise Finding(f"a cell has run that is not signed: {event}")


class _Running:
    """A worker and the task that runs it."""

    def __init__(self, host: WorkerHost, task: asyncio.Task[None]) -> None:
        self.host, self.task = host, task


def _of_session(fields: dict[Any, Any], sid: str) -> Any:
    """Return the fields of a mailbox entry, about the input's own session if they name `s`."""
    entry = {as_bytes(name): as_bytes(value) for name, value in fields.items()}
    return entry | {b"s": sid.encode()} if entry.get(b"s") == b"s" else entry
