"""Real workers on a real Redis, and the signals that tests wait for instead of sleeping."""

import asyncio
import contextlib
import functools
import inspect
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

import skep
from skep.embedded import WorkerProcess
from skep.redis_server import RedisServer, find_redis_server
from skep_shared.settings import Settings

from .earlier_state import Past

TEST_SECONDS = 50.0  # of a test that has no timeout of its own
SECONDS_BEFORE_THE_SIGNAL = 10.0
LEASE_SECONDS = 1.0  # a death is noticed soon, and on a busy machine the living still beat in time


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give each test a deadline inside its event loop: pytest-timeout's signal would leave the loop's task stuck,
    and with it the cluster that the module's other tests share."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        test = item.obj
        longer = item.get_closest_marker("timeout")
        seconds = longer.args[0] - SECONDS_BEFORE_THE_SIGNAL if longer is not None else TEST_SECONDS

        @functools.wraps(test)
        async def with_deadline(**arguments: Any) -> None:
            async with asyncio.timeout(seconds):
                await test(**arguments)

        item.obj = with_deadline


class Gate:
    """A FIFO that cells wait at: `wait` is the code for it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR)  # opened for one direction it would wait for the other end
        self.wait = f"open({str(path)!r}, 'rb', buffering=0).read(1)"

    def open(self, cells: int = 1) -> None:
        """Let this many cells pass, now or when they come."""
        os.write(self._fd, b"x" * cells)

    def close(self) -> None:
        """Remove our end."""
        os.close(self._fd)


class LoggedProcess:
    """A worker started by a command line, whose log can be waited for."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._ended = False
        self.lines: list[str] = []

    async def start(self, *arguments: str, **environment: str) -> Self:
        """Run this interpreter with these arguments; of our environment it gets everything but SKEP_*."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=inherited | environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))
        return self

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            async with self._news:
                self.lines.append(line.decode().rstrip())
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()

    async def says(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait for this event, with these fields, in the log; should the worker end without it, that is a failure."""
        async with self._news:
            while True:
                for line in self.lines:
                    if f'"{event}"' in line:
                        entry: dict[str, Any] = json.loads(line)
                        if entry.items() >= {"event": event, **fields}.items():
                            return entry
                assert not self._ended, "\n".join(self.lines)
                await self._news.wait()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def exit_status(self) -> int:
        """Wait for the end; the log is complete then."""
        assert self._process is not None
        assert self._reading is not None
        await self._reading
        return await self._process.wait()

    async def kill(self) -> None:
        """End the worker at once, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self.exit_status()


class StoppableRedis:
    """A redis-server with an append-only file, to be killed, started again and frozen."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self._directory = directory
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{directory}/redis.sock?db=0"

    async def start(self) -> None:
        """Start on what the last one left; it answers when this returns."""
        self._process = subprocess.Popen(
            [
                find_redis_server(), "--port", "0", "--unixsocket", f"{self._directory}/redis.sock", "--save", "",
                "--dir", str(self._directory), "--appendonly", "yes", "--appendfsync", "always",
                "--logfile", "redis.log", *self._flags,
            ],
            restore_signals=False,  # a file that may grow no further is an error of the write to it, not its end
        )  # fmt: skip
        async with Redis.from_url(self.url) as client:
            while True:
                with contextlib.suppress(OSError, RedisError):
                    await client.ping()
                    return
                await asyncio.sleep(0.01)  # a socket's appearing sends no signal

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def freeze(self) -> None:
        """Stop it where it stands."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def _send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[skep.EmbeddedCluster]:
    """Two workers on a Redis of their own, for all the tests of a module."""
    async with skep.embedded(workers=2) as cluster:
        yield cluster


@pytest.fixture
def session(cluster: skep.EmbeddedCluster) -> skep.Session:
    """A session that only this test uses."""
    return cluster.session(f"s-{secrets.token_hex(6)}")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Something for cells to wait at until the test lets them go."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()


@pytest.fixture
def first_output() -> Callable[[skep.Cell], Awaitable[str]]:
    """Give a function that waits until a cell has said something: the signal that it runs."""

    async def wait(cell: skep.Cell) -> str:
        async with contextlib.aclosing(cell.events()) as events:
            async for event in events:
                if event.kind == "output":
                    return event.text
        raise AssertionError(f"{cell} ended without a word")

    return wait


@pytest.fixture
def redis_flags() -> tuple[str, ...]:
    """What else a server of the test's own is started with; for modules to replace."""
    return ()


@pytest.fixture
async def stoppable_server(tmp_path: Path, redis_flags: tuple[str, ...]) -> AsyncIterator[StoppableRedis]:
    """A server of the test's own, for modules to have as their `redis_server`; it is killed at the end."""
    directory = tmp_path / "redis"
    directory.mkdir()
    server = StoppableRedis(directory, *redis_flags)
    await server.start()
    yield server
    server.kill()


@pytest.fixture
def past(stoppable_server: StoppableRedis, tmp_path: Path) -> Past:
    """An earlier state of that server, once it is kept."""
    return Past(stoppable_server, tmp_path / "redis", tmp_path / "past")


@pytest.fixture
def client_settings() -> dict[str, float]:
    """How the client of the test's shard differs from others; for modules to replace."""
    return {}


@pytest.fixture
async def shard(
    redis_server: RedisServer | StoppableRedis, client_settings: dict[str, float]
) -> AsyncIterator[skep.Cluster]:
    """A client on a shard without any worker; `start_worker` gives it some."""
    settings = Settings.load(redis_url=redis_server.url, prefix=f"t-{secrets.token_hex(6)}", **client_settings)
    async with skep.connect(settings=settings) as cluster:
        yield cluster


@pytest.fixture
async def start_worker(shard: skep.Cluster) -> AsyncIterator[Callable[..., Awaitable[WorkerProcess]]]:
    """Give a function that starts a worker with these flags on the test's shard; it is killed at the end."""
    workers = []

    async def start(*flags: str) -> WorkerProcess:
        common = ("--prefix", shard.settings.prefix, "--lease-seconds", str(LEASE_SECONDS))
        workers.append(WorkerProcess(shard.settings.redis_url, flags=(*common, *flags)))
        return await workers[-1].start()

    yield start
    for worker in workers:
        await worker.kill()


@pytest.fixture
async def run_logged() -> AsyncIterator[Callable[..., Awaitable[LoggedProcess]]]:
    """Give a function that runs a worker's command line and reads its log; it is killed at the end."""
    processes = []

    async def start(*arguments: str, **environment: str) -> LoggedProcess:
        processes.append(LoggedProcess())
        return await processes[-1].start(*arguments, **environment)

    yield start
    for process in processes:
        await process.kill()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]:
    """Give a function that waits until something holds that sends no signal."""

    async def wait(holds: Callable[[], Awaitable[object]]) -> None:
        while not await holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def process_end() -> Callable[[int], Awaitable[None]]:
    """Give a function that waits for the end of a process that is not our child."""

    async def wait(pid: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    return wait
