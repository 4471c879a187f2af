"""Cells in real session processes, forked from a real zygote; and a whole cluster for what goes from client to client.

`session` is the short way: a process of the test's own, without Redis and without a worker. A cell is submitted as the
host does it, and what the process says of it is collected until its Done, and after.
"""

import asyncio
import functools
import inspect
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

import skep
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.models import SessionOptions
from skep_shared.protocol.frames import (
    Answer,
    Blob,
    Cleared,
    Configure,
    Display,
    Done,
    Execute,
    Failure,
    Frame,
    InputRequest,
    Interrupt,
    Notice,
    Output,
    Reply,
    Request,
    Result,
    Saved,
    Truncated,
    Withdraw,
)
from skep_shared.settings import WorkerSettings
from skep_shared.values import decode_value, encode_value
from skep_workers.host.process.listener import ProcessEnd
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.process.zygote import SessionSetup, Zygote
from skep_workers.host.residency.configuration import PROCESS_SETTINGS, session_configuration
from skep_workers.sandbox.policy import SandboxPolicy

from ..sandbox_tier import TIER

TEST_SECONDS: Final = 50.0  # inside the loop, so that a test that hangs says where
START_SECONDS: Final = 20.0


def pytest_itemcollected(item: pytest.Item) -> None:
    """Set a deadline for each test inside its event loop, which leaves the loop that modules share intact."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        test = item.obj

        @functools.wraps(test)
        async def with_deadline(**arguments: Any) -> None:
            async with asyncio.timeout(TEST_SECONDS):
                await test(**arguments)

        item.obj = with_deadline


def _only(kind: type) -> Any:
    """Make a property: the one frame of this kind, None without one."""

    def find(cell: "Cell") -> Any:
        found = cell.every(kind)
        assert len(found) <= 1, found
        return found[0] if found else None

    return property(find)


class Cell:
    """One cell, and everything its process has said of it so far."""

    def __init__(self, seq: int, session: "LiveSession") -> None:
        self.seq: Final = seq
        self.frames: list[Frame] = []
        self._text = ""
        self._new_text: list[str] = []  # not yet in `_text`: adding each of many megabytes would copy all before it
        self._by_kind: dict[type, list[Any]] = {}
        self._session = session

    def add(self, frame: Frame) -> None:
        """Receive a frame of the process. Waiters look at each of thousands of frames, so looking must not become slower."""
        self.frames.append(frame)
        self._by_kind.setdefault(type(frame), []).append(frame)
        if isinstance(frame, Output):
            self._new_text.append(frame.text)

    @property
    def text(self) -> str:
        """What it has printed so far."""
        if self._new_text:
            self._text += "".join(self._new_text)
            self._new_text.clear()
        return self._text

    def every(self, kind: type) -> list[Any]:
        """Return the frames of this kind, in order."""
        return self._by_kind.get(kind, [])

    async def until(self, is_enough: Callable[["Cell"], bool]) -> "Cell":
        """Wait until the process has said enough; its end before that is a failure."""
        session = self._session
        async with session.news:
            await session.news.wait_for(lambda: is_enough(self) or session.exit_cause is not None)
        assert is_enough(self), (session.exit_cause, session.left)
        return self

    async def said(self, text: str) -> "Cell":
        """Wait until this is among the output."""
        return await self.until(lambda cell: text in cell.text)

    async def ended(self) -> "Cell":
        """Wait for its Done."""
        return await self.until(lambda cell: cell.done is not None)

    done = _only(Done)
    result = _only(Result)
    error = _only(Failure)
    truncation = _only(Truncated)
    status = property(lambda self: self.done.status)
    mode = property(lambda self: self.done.mode)
    detected = property(lambda self: self.done.detected)
    displays = property(lambda self: self.every(Display))
    clearings = property(lambda self: self.every(Cleared))
    notices = property(lambda self: self.every(Notice))
    questions = property(lambda self: self.every(InputRequest))
    stdout = property(lambda self: "".join(text for stream, text in self.outputs if stream == "stdout"))
    stderr = property(lambda self: "".join(text for stream, text in self.outputs if stream == "stderr"))

    @property
    def value(self) -> Any:
        """The last expression's value where it travelled as data; it fails where there is none."""
        assert self.error is None, self.error.traceback
        assert self.result is not None
        assert self.result.data is not None, self.result.bundle
        return decode_value(self.result.data)

    @property
    def plain(self) -> str | None:
        """The text/plain of the last expression's value, None without a value."""
        return self.result.bundle["text/plain"] if self.result is not None else None

    @property
    def outputs(self) -> list[tuple[str, str]]:
        """(stream, text) in order, neighbours of one stream joined."""
        runs = itertools.groupby(self.every(Output), key=lambda frame: frame.stream)
        return [(stream, "".join(frame.text for frame in frames)) for stream, frames in runs]

    @property
    def kinds(self) -> list[str]:
        """What was said, by kind, in order; neighbours of one kind count once."""
        return [kind for kind, _ in itertools.groupby(type(frame).__name__ for frame in self.frames)]


class LiveSession:
    """A session process as a host has it, without the host."""

    def __init__(self) -> None:
        self.process = SessionProcess(self)
        self.cells: dict[int, Cell] = {0: Cell(0, self)}  # 0: output that belongs to no cell
        self.exit_cause: str | None = None
        self.left: list[tuple[str, str]] = []
        self.snapshots: list[Blob | Saved] = []
        self.news = asyncio.Condition()
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._notifying: set[asyncio.Task[None]] = set()

    async def start(self, zygote: Zygote, directory: Path, options: dict[str, Any]) -> None:
        """Fork the process and configure it, by the session's options and those settings of a worker that it gets."""
        await self.process.start(zygote, directory, START_SECONDS)
        given = {name: options.pop(name) for name in PROCESS_SETTINGS if name in options}
        settings = WorkerSettings(**given, packages=options.pop("packages_mode", "saved"))
        # There is no host here to store checkpoints; they have their own tests.
        session_options = SessionOptions(**{"durability": "none"} | options)
        self.process.execute([Configure(session_configuration(session_options, settings))])

    def submit_all(self, *codes: str, timeout: float | None = None, inputs: dict[str, Any] | None = None) -> list[Cell]:
        """Hand cells over in one piece."""
        cells, frames = [], []
        for code in codes:
            cell = Cell(len(self.cells), self)
            self.cells[cell.seq] = cell
            cells.append(cell)
            bound = encode_value(inputs) if inputs is not None else None
            frames.append(Execute(cell.seq, 1, f"cell-{cell.seq}", code, bound, timeout))
        self.process.execute([*frames])
        return cells

    def submit(self, code: str, **options: Any) -> Cell:
        """Hand one cell over."""
        return self.submit_all(code, **options)[0]

    async def run(self, code: str, **options: Any) -> Cell:
        """Run a cell to its end."""
        return await self.submit(code, **options).ended()

    async def value(self, code: str, **options: Any) -> Any:
        """Run a cell and return its value."""
        return (await self.run(code, **options)).value

    async def text(self, code: str) -> str:
        """Run a cell that must not fail, and return what it printed."""
        cell = await self.run(code)
        assert cell.error is None, cell.error.traceback
        return cell.text

    def interrupt(self, cell: Cell) -> None:
        self.process.control(Interrupt(cell.seq, 1))

    def withdraw(self, cell: Cell) -> None:
        self.process.control(Withdraw(cell.seq, 1))

    def answer(self, cell: Cell, text: str | None) -> None:
        """Answer the cell's latest question."""
        self.process.control(Answer(cell.questions[-1].request, text))

    def request(self, kind: str, deadline: float = 30.0, **question: Any) -> asyncio.Future[Reply]:
        """Start an operation."""
        number = len(self._replies) + 1
        self._replies[number] = asyncio.get_running_loop().create_future()
        self.process.control(Request(number, kind, encode_value(question), deadline))
        return self._replies[number]

    async def ask(self, kind: str, **question: Any) -> Any:
        """Return the result of an operation."""
        reply = await self.request(kind, **question)
        answer = decode_value(reply.payload)
        assert not reply.is_error, answer
        return answer

    async def refusal(self, kind: str, deadline: float = 30.0, **question: Any) -> str:
        """Return the reason why an operation had no result."""
        reply = await self.request(kind, deadline, **question)
        assert reply.is_error
        return str(decode_value(reply.payload))

    def receive_output(self, frame: Frame) -> None:
        """Record a frame of any kind."""
        if isinstance(frame, Reply):
            self._replies[frame.operation].set_result(frame)
            return
        if isinstance(frame, Blob | Saved):
            self.snapshots.append(frame)
            self._notify()
            return
        self.cells[frame.seq].add(frame)  # type: ignore[union-attr]
        self._notify()

    receive_done = receive_snapshot_part = receive_restored = receive_reply = receive_output

    def start_ending(self, ending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start the task that completes the end of the process."""
        return asyncio.get_running_loop().create_task(ending)

    def process_ended(self, end: ProcessEnd) -> None:
        """Record how the process ended."""
        self.exit_cause, self.left = end.cause, list(end.leftover)
        self._notify()

    def _notify(self) -> None:
        if not self._notifying:
            task = asyncio.get_running_loop().create_task(self._notify_waiters())
            self._notifying.add(task)
            task.add_done_callback(self._notifying.discard)

    async def _notify_waiters(self) -> None:
        async with self.news:
            self.news.notify_all()


StartSession = Callable[..., Awaitable[LiveSession]]


@asynccontextmanager
async def open_zygote(tmp_path_factory: pytest.TempPathFactory, **options: Any) -> AsyncIterator[Zygote]:
    """Start a zygote in the tier of the tests. options: of SessionSetup."""
    zygote = Zygote(
        tmp_path_factory.mktemp("zygote"),
        tmp_path_factory.getbasetemp(),  # tests' own directories are in it
        SessionSetup(sandbox=SandboxPolicy(Tier(TIER)), **options),
        hash_seed=1,
        start_seconds=START_SECONDS,
    )
    await zygote.ensure_started()
    try:
        yield zygote
    finally:
        await zygote.stop()


@pytest.fixture(scope="module")
async def zygote(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    """What a module's sessions are forked from."""
    async with open_zygote(tmp_path_factory) as zygote:
        yield zygote


@pytest.fixture
async def start_session(zygote: Zygote, tmp_path: Path) -> AsyncIterator[StartSession]:
    """Yield a function that starts a session with these options and settings, in the test's own directory."""
    sessions = []

    async def start(**options: Any) -> LiveSession:
        session = LiveSession()
        sessions.append(session)
        await session.start(zygote, tmp_path, options)
        return session

    yield start
    for session in sessions:
        session.process.kill()
    for session in sessions:
        await session.process.gone.wait()


@pytest.fixture
async def session(start_session: StartSession) -> LiveSession:
    """A session with every option as it comes."""
    return await start_session()


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[skep.EmbeddedCluster]:
    """A worker on a Redis of its own, for all the tests of a module."""
    async with skep.embedded(worker_flags=("--sandbox", TIER)) as cluster:
        yield cluster


@pytest.fixture
def open_session(cluster: skep.EmbeddedCluster) -> Callable[..., skep.Session]:
    """Return a function that makes a session of the cluster that only this test uses, with these options."""
    return lambda **options: cluster.session(f"s-{secrets.token_hex(6)}", options=SessionOptions(**options))


@pytest.fixture
def asks() -> Callable[[skep.Cell], Awaitable[None]]:
    """Return a function that waits until a client has received a cell's question: an earlier answer would have no addressee."""

    async def wait(cell: skep.Cell) -> None:
        async with aclosing(cell.events()) as events:
            async for event in events:
                if event.kind == "input.requested":
                    return
        raise AssertionError(f"{cell} ended and had asked nothing")

    return wait


@pytest.fixture
def says() -> Callable[[skep.Cell, str], Awaitable[None]]:
    """Return a function that waits until a client hears this of a cell."""

    async def wait(cell: skep.Cell, text: str) -> None:
        heard = ""
        async with aclosing(cell.events()) as events:
            async for event in events:
                heard += event.text if event.kind == "output" else ""
                if text in heard:
                    return
        raise AssertionError(f"{cell} ended and had said {heard!r}")

    return wait
