"""What a worker host of the simulation has in the place of the machine's: clock, network, chance, zygote, arq's queue."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from skep_shared.broker.keys import Keys
from skep_workers.host import placement, residents, worker
from skep_workers.host.broker import backoff, lease, shard
from skep_workers.host.broker.backoff import RETRIABLE, backoff_delays
from skep_workers.host.broker.redis_clock import RedisClock
from skep_workers.host.residency import processes as session_processes
from skep_workers.host.residency import resident
from skep_workers.sandbox.policy import NO_SANDBOX
from skep_workers.sandbox.tiers import Choice

from .memory_client import MemoryClient
from .queueing_model import QUEUE
from .simulated_directories import work_directory_for
from .world import World


class SimulatedDispatcher:
    """arq's queue, as far as skep counts on it: a job may be lost with its worker, and may be run twice."""

    def __init__(self, arq: MemoryClient, blocking: Any, keys: Keys, sessions: Any, **_calls: Any) -> None:
        self._arq = arq
        self._sessions = sessions

    async def run(self) -> None:
        delays = backoff_delays()
        jobs: set[asyncio.Task[None]] = set()
        try:
            while True:
                try:
                    await self._serve(jobs)
                except RETRIABLE:
                    await asyncio.sleep(next(delays))
        finally:
            for job in jobs:
                job.cancel()

    async def _serve(self, jobs: set[asyncio.Task[None]]) -> None:
        network, node = self._arq._network, self._arq._node
        store, rng = network.redis, network.rng

        def pop() -> bytes | None:
            stream = store.get(QUEUE)
            if stream is None or not stream.ids:
                return None
            session: bytes = stream.entries[0][1]
            if rng.random() < 0.95:
                del stream.ids[0], stream.entries[0]
            return session

        while True:
            if not self._sessions.has_room:
                await self._sessions.wait_for_room(0.75)
                continue
            session = await network.call(node, "pop", pop)
            if session is None:
                stream = store.get(QUEUE)
                after = b"%d-%d" % stream.last if stream is not None else b"0-0"
                while not await network.read(node, QUEUE, after, 1, 0.75) and self._sessions.has_room:
                    pass  # nothing has been added: looking would find nothing
                continue
            job = asyncio.get_running_loop().create_task(self._activate(session.decode()))
            jobs.add(job)
            job.add_done_callback(jobs.discard)

    async def _activate(self, session: str) -> None:
        with contextlib.suppress(*RETRIABLE, TimeoutError):
            async with asyncio.timeout(30):
                await self._sessions.activate(session)


class NoZygote:
    """Session processes need none here."""

    has_sandbox = False

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def follow_shard(self, place: Any, hash_seed: int) -> None:
        """It forks nothing."""

    async def ensure_started(self) -> None:
        """It is always there."""

    async def keep_running(self) -> None:
        """It never dies."""
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """It was never there."""


class NoPlaces:
    """Sessions have no files here."""

    worker = None
    current = SimpleNamespace(place=None)

    async def open(self, shard: Any) -> None:
        """There is nothing to use."""

    async def clean(self) -> None:
        """Nothing was left."""

    async def close(self) -> None:
        """Nothing was used."""


class _Secrets:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def token_hex(self, count: int) -> str:
        return f"{self._rng.getrandbits(count * 8):0{count * 2}x}"

    def randbelow(self, limit: int) -> int:
        return self._rng.randrange(limit)


def _sandbox_choice(world: World) -> Callable[[object], Awaitable[Choice]]:
    """Return what chooses the sandbox of the worker that calls it."""

    async def choose(_: object) -> Choice:
        return Choice(world.tiers[world.current_machine().name])

    return choose


async def _unchecked(*_: object) -> None:
    """The server in memory is as it should be."""


@contextlib.contextmanager
def played(world: World) -> Iterator[None]:
    """Put this world's clock, network, processes and chance where the host has the machine's."""
    clock = SimpleNamespace(monotonic=world.monotonic)

    def client(*_: Any, **__: Any) -> MemoryClient:
        return MemoryClient(world.network, world.current_machine())

    swaps: dict[Any, dict[str, Any]] = {
        worker: {
            "open_redis": client,
            "open_arq": client,
            "Lane": lambda client, _: client,
            "check_server": _unchecked,
            "choose_sandbox": _sandbox_choice(world),
            "policy_of": lambda *_: NO_SANDBOX,
            "Zygote": NoZygote,
            "SessionPlaces": NoPlaces,
            "Dispatcher": SimulatedDispatcher,
            "RedisClock": lambda: RedisClock(world.monotonic),
            "secrets": _Secrets(world.rng),
            "os": SimpleNamespace(getpid=lambda: 1, environ={}),
            "tempfile": SimpleNamespace(mkdtemp=lambda **_: "/nonexistent"),
            "shutil": SimpleNamespace(rmtree=lambda *_, **__: None),
            "socket": SimpleNamespace(gethostname=lambda: world.current_machine().name),
        },
        shard: {"secrets": _Secrets(world.rng)},
        residents: {"time": clock, "secrets": _Secrets(world.rng)},
        resident: {"time": clock},
        session_processes: {"WorkDirectory": work_directory_for(world)},
        lease: {"time": clock},
        placement: {"time": clock},
        backoff: {"time": clock, "random": world.rng},
    }
    with contextlib.ExitStack() as stack:
        for module, names in swaps.items():
            for name, stand_in in names.items():
                stack.enter_context(mock.patch.object(module, name, stand_in))
        yield
