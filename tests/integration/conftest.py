"""Real workers on a real Redis, and the signals that tests await instead of sleeping."""

import asyncio
import contextlib
import functools
import inspect
import json
import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

import skep
from skep.local import worker_process
from skep.local.embedded import WorkerProcess
from skep.local.redis_server import RedisServer, find_redis_server
from skep_shared.settings import Settings

from ..sandbox_tier import SESSIONS_ARE_USERS, WORKER_VARIABLES, sandboxed_workers
from .earlier_state import Past
from .fork_server import ForkServer
from .log_watch import LogWatch, watched_logs, watched_texts

TEST_SECONDS = 50.0  # for tests without a timeout marker
SECONDS_BEFORE_THE_SIGNAL = 10.0
REAL_START_VARIABLE = "SKEP_TEST_REAL_START"
LEASE_SECONDS = 1.0  # short, to notice a death soon; long enough for heartbeats on a busy machine


def pytest_itemcollected(item: pytest.Item) -> None:
    """Set a deadline for each test inside its event loop.

    The signal of pytest-timeout would leave the loop's task stuck, and with it the cluster that the module's tests share.
    """
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        test = item.obj
        longer = item.get_closest_marker("timeout")
        seconds = longer.args[0] - SECONDS_BEFORE_THE_SIGNAL if longer is not None else TEST_SECONDS

        @functools.wraps(test)
        async def with_deadline(**arguments: Any) -> None:
            async with asyncio.timeout(seconds):
                await test(**arguments)

        item.obj = with_deadline


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """The fork server that starts the workers of most tests; see fork_server.py."""
    server = ForkServer(WorkerProcess.python).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def worker_constants() -> dict[str, float]:
    """Module constants of workers, "module:NAME", that differ in a module's tests; for modules to replace."""
    return {}


@pytest.fixture(scope="module", autouse=True)
def workers_are_forked(request: pytest.FixtureRequest, worker_constants: dict[str, float]) -> Iterator[None]:
    """Start this module's workers by the fork server, unless it is marked `real_start`."""
    if request.node.get_closest_marker("real_start") or REAL_START_VARIABLE in os.environ:
        yield
        return
    server: ForkServer = request.getfixturevalue("fork_server")
    popen = functools.partial(server.popen, constants=worker_constants)
    with pytest.MonkeyPatch.context() as monkeypatch:
        names = {"Popen": popen, "DEVNULL": subprocess.DEVNULL, "TimeoutExpired": subprocess.TimeoutExpired}
        monkeypatch.setattr(worker_process, "subprocess", SimpleNamespace(**names))
        yield


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory that sessions in a sandbox may change, in addition to their own."""
    if not SESSIONS_ARE_USERS:
        path = tmp_path_factory.getbasetemp() / "shared"
        path.mkdir()
        yield path
        return
    # Sessions have users of their own, who can't enter pytest's directory and can't change what root makes.
    umask = os.umask(0)
    with tempfile.TemporaryDirectory(prefix="skep-shared-") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path
    os.umask(umask)


@pytest.fixture
def shared_path(shared_directory: Path) -> Path:
    """A directory of the test that its sessions may change too, for files by which cells and the test notify each other."""
    path = Path(tempfile.mkdtemp(dir=shared_directory))
    path.chmod(0o777)
    return path


@pytest.fixture(scope="module", autouse=True)
def workers_are_sandboxed(shared_directory: Path) -> Iterator[None]:
    """Start this module's workers with the tier of the sandbox that the tests run in; for modules to replace."""
    with sandboxed_workers(shared_directory):
        yield


@pytest.fixture(scope="session")
def log_watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogWatch]:
    """What users wrote, and the logs of all workers, which must not contain it."""
    watch = LogWatch()
    with pytest.MonkeyPatch.context() as monkeypatch:
        watched_texts(watch, monkeypatch)
        watched_logs(watch, tmp_path_factory.mktemp("logs"), monkeypatch)
        yield watch
    watch.close()


@pytest.fixture(autouse=True)
def no_text_of_a_session_is_logged(log_watch: LogWatch) -> Iterator[None]:
    """Look through the logs after every test."""
    yield
    said, LoggedProcess.said = LoggedProcess.said, []
    log_watch.check(said)


class Gate:
    """A FIFO that cells wait at: `wait` is the code for it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR)  # opening a FIFO for one direction would block until the other end is open
        self.wait = f"open({str(path)!r}, 'rb', buffering=0).read(1)"

    def open(self, cells: int = 1) -> None:
        """Allow this many cells to pass, those waiting now first."""
        os.write(self._fd, b"x" * cells)

    def close(self) -> None:
        """Close the test's end."""
        os.close(self._fd)


class LoggedProcess:
    """A worker started by a command line, whose log can be waited for."""

    said: ClassVar[list[str]] = []  # lines of all workers since the last check

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._ended = False
        self.lines: list[str] = []

    async def start(self, *arguments: str, **environment: str) -> Self:
        """Run the workers' interpreter with these arguments, in our environment without SKEP_* except the sandbox."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name in WORKER_VARIABLES or not name.startswith("SKEP_")
        }
        self._process = await asyncio.create_subprocess_exec(
            WorkerProcess.python, *arguments, env=inherited | environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))
        return self

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            async with self._news:
                self.lines.append(line.decode().rstrip())
                LoggedProcess.said.append(self.lines[-1])
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()

    async def says(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait for this event, with these fields, in the log. Fail if the worker ends without it."""
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
        """Start on the files of the last one, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                find_redis_server(), "--port", "0", "--unixsocket", f"{self._directory}/redis.sock", "--save", "",
                "--dir", str(self._directory), "--appendonly", "yes", "--appendfsync", "always",
                "--logfile", "redis.log", *self._flags,
            ],
            restore_signals=False,  # a write beyond the file size limit then fails instead of killing the server
        )  # fmt: skip
        async with Redis.from_url(self.url) as client:
            while True:
                with contextlib.suppress(OSError, RedisError):
                    await client.ping()
                    return
                await asyncio.sleep(0.01)  # nothing signals that the socket is there

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def freeze(self) -> None:
        """Stop the process (SIGSTOP)."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process, as a power cut would."""
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
def gate(shared_path: Path) -> Iterator[Gate]:
    """A gate for cells to wait at until the test opens it."""
    gate = Gate(shared_path / "gate")
    yield gate
    gate.close()


@pytest.fixture
def first_output() -> Callable[[skep.Cell], Awaitable[str]]:
    """Return a function that waits for a cell's first output: the signal that it runs."""

    async def wait(cell: skep.Cell) -> str:
        async with contextlib.aclosing(cell.events()) as events:
            async for event in events:
                if event.kind == "output":
                    return event.text
        raise AssertionError(f"{cell} ended without a word")

    return wait


@pytest.fixture
def redis_flags() -> tuple[str, ...]:
    """Further flags of `stoppable_server`; for modules to replace."""
    return ()


@pytest.fixture
async def stoppable_server(tmp_path: Path, redis_flags: tuple[str, ...]) -> AsyncIterator[StoppableRedis]:
    """A server for one test, which modules can use as their `redis_server`; it is killed at the end."""
    directory = tmp_path / "redis"
    directory.mkdir()
    server = StoppableRedis(directory, *redis_flags)
    await server.start()
    yield server
    server.kill()


@pytest.fixture
def past(stoppable_server: StoppableRedis, tmp_path: Path) -> Past:
    """An earlier state of that server, once the test has kept one."""
    return Past(stoppable_server, tmp_path / "redis", tmp_path / "past")


@pytest.fixture
def client_settings() -> dict[str, float]:
    """Settings of the client of the test's shard that differ from the defaults; for modules to replace."""
    return {}


@pytest.fixture
async def shard(
    redis_server: RedisServer | StoppableRedis, client_settings: dict[str, float]
) -> AsyncIterator[skep.Cluster]:
    """A client on a shard without any worker; `start_worker` starts some."""
    settings = Settings.load(redis_url=redis_server.url, prefix=f"t-{secrets.token_hex(6)}", **client_settings)
    async with skep.connect(settings=settings) as cluster:
        yield cluster


@pytest.fixture
async def start_worker(shard: skep.Cluster) -> AsyncIterator[Callable[..., Awaitable[WorkerProcess]]]:
    """Yield a function that starts a worker with these flags on the test's shard; it is killed at the end."""
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
    """Yield a function that runs a worker's command line and reads its log; it is killed at the end."""
    processes = []

    async def start(*arguments: str, **environment: str) -> LoggedProcess:
        processes.append(LoggedProcess())
        return await processes[-1].start(*arguments, **environment)

    yield start
    for process in processes:
        await process.kill()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]:
    """Return a function that polls until a condition holds, for conditions that send no signal."""

    async def wait(holds: Callable[[], Awaitable[object]]) -> None:
        while not await holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.02)

    return wait


async def wait_for_process_end(pid: int) -> None:
    """Wait for the end of a process that need not be a child of this one."""
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


@pytest.fixture
def process_end() -> Callable[[int], Awaitable[None]]:
    """Return a function that waits for the end of a process that is not our child."""
    return wait_for_process_end
