"""The watch over a session's limits, without a session."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from skep_shared.isolation.session_limits import Excess, Limits
from skep_shared.protocol.frames import Display, Done, Failure, Notice, Output, Result
from skep_workers.host.limits import session_meter
from skep_workers.host.limits import watch as watching
from skep_workers.host.limits.directory_size import DirectorySize
from skep_workers.host.limits.process_tree import TreeUsage
from skep_workers.host.limits.session_meter import SessionMeter
from skep_workers.host.limits.watch import LimitWatch, needs_watch

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
FAILURE = Failure(1, 1, "OSError", "", "")


class Process:
    """A session process that records why it was ended."""

    def __init__(self, pid: int = 7) -> None:
        self.pid = pid
        self.is_ending = False
        self.excess: Excess | None = None
        self.ended = asyncio.Event()
        self.enforced_limits: frozenset[str] = frozenset()
        self.refused: Excess | None = None  # what the kernel has enforced

    def enforced_excess(self) -> Excess | None:
        return self.refused

    def end_for(self, excess: Excess) -> None:
        self.excess, self.is_ending = excess, True
        self.ended.set()


@pytest.fixture
def process():
    """The process that is watched."""
    return Process()


@pytest.fixture
def usage(monkeypatch):
    """What the process uses, for tests to change; nothing takes time here."""
    usage = TreeUsage(pids=[7], processes=2, resident_bytes=40 * MIB)
    monkeypatch.setattr(session_meter, "measure_tree", lambda *_: usage)
    monkeypatch.setattr(session_meter, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(session_meter, "cpu_clock", lambda _: usage.cpu_seconds)
    monkeypatch.setattr(watching, "IDLE_SECONDS", 0.001)
    monkeypatch.setattr(watching, "RUNNING_SECONDS", 0.001)
    return usage


@pytest.fixture
async def start(process, usage, tmp_path):
    """Return a function that starts a watch over these limits."""
    tasks = []

    def start(**limits):
        watch = LimitWatch(Limits(**limits), tmp_path, lambda: (process, True))
        tasks.append(asyncio.create_task(watch.run()))
        return watch

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_only_limits_that_are_measured_need_a_watch():
    unmeasured = Limits(wall_seconds=1, open_files=64, file_bytes=MIB, checkpoint_bytes=MIB, pending_cells=1)

    assert not needs_watch(unmeasured)
    assert needs_watch(Limits(output_bytes=1024))


async def test_too_many_processes_end_the_session(process, usage, start):
    start(processes=20)
    usage.processes = 21

    await process.ended.wait()

    assert process.excess == Excess("processes", 21, 20)


async def test_memory_that_is_shared_does_not_count_in_full(monkeypatch, process, usage, start):
    proportional = [30 * MIB, 30 * MIB, 70 * MIB]
    monkeypatch.setattr(session_meter, "proportional_bytes", lambda _: proportional.pop(0))
    usage.resident_bytes = 100 * MIB
    start(memory_bytes=64 * MIB)

    await process.ended.wait()

    assert process.excess == Excess("memory_bytes", 70 * MIB, 64 * MIB)
    assert proportional == []


async def test_processor_time_counts_from_the_first_look_at_the_cell(monkeypatch, process, usage, start):
    looked = asyncio.Event()

    def begin_cell(meter, pid):
        begin(meter, pid)
        looked.set()

    begin = SessionMeter.begin_cell
    monkeypatch.setattr(SessionMeter, "begin_cell", begin_cell)
    usage.cpu_seconds = 100.0
    watch = start(cpu_seconds=5)
    watch.cell_started()
    await looked.wait()
    usage.cpu_seconds = 105.5

    await process.ended.wait()

    assert process.excess == Excess("cpu_seconds", 5.5, 5)


async def test_processor_time_before_the_first_cell_does_not_count(process, usage, start):
    usage.cpu_seconds = 100.0
    start(cpu_seconds=5, processes=20)
    usage.processes = 21

    await process.ended.wait()

    assert process.excess is not None
    assert process.excess.name == "processes"


async def test_a_large_directory_ends_the_session(monkeypatch, process, usage, start):
    monkeypatch.setattr(session_meter, "measure_directory", lambda *_: DirectorySize(2 * MIB, 3))
    start(workspace_bytes=MIB)

    await process.ended.wait()

    assert process.excess == Excess("workspace_bytes", 2 * MIB, MIB)


async def test_the_directory_of_a_session_that_does_nothing_is_read_once(monkeypatch, process, usage, start):
    looks = []

    def measure(root: Path, most_bytes: int, most_entries: int) -> DirectorySize:
        looks.append(root)
        return DirectorySize(0, 0)

    monkeypatch.setattr(session_meter, "measure_directory", measure)
    rounds = iter(range(100))
    ended = asyncio.Event()

    def measure_tree(pid: int, most: int | None = None) -> TreeUsage:
        if next(rounds, None) is None:
            ended.set()
        return usage

    monkeypatch.setattr(session_meter, "measure_tree", measure_tree)
    start(workspace_bytes=MIB)
    await ended.wait()

    assert len(looks) == 1


async def test_output_is_counted_for_each_cell(process, tmp_path):
    watch = LimitWatch(Limits(output_bytes=1024), tmp_path, lambda: (process, True))
    output = Output(1, 1, "stdout", "x" * 1000)

    assert watch.admits_output(output)
    watch.cell_started()
    assert watch.admits_output(output)
    assert not watch.admits_output(output)
    assert process.excess == Excess("output_bytes", 2000, 1024)


@pytest.mark.parametrize(
    "frame",
    [
        Display(1, 1, {"text/html": "x" * 2000}, None, updates=False),
        Display(1, 1, {"application/json": {"key": "x" * 2000}}, None, updates=False),
        Result(1, 1, {"text/plain": "x"}, b"x" * 2000),
    ],
    ids=["text", "json", "data"],
)
async def test_displays_and_values_are_output(process, tmp_path, frame):
    watch = LimitWatch(Limits(output_bytes=1024), tmp_path, lambda: (process, True))

    assert not watch.admits_output(frame)


async def test_notices_are_no_output(process, tmp_path):
    watch = LimitWatch(Limits(output_bytes=1024), tmp_path, lambda: (process, True))

    assert watch.admits_output(Notice(1, 1, "category", "x" * 2000))


REFUSED = Excess("processes", 20, 20)


async def test_what_the_kernel_enforces_is_not_measured(monkeypatch, process, start):
    monkeypatch.setattr(watching, "RUNNING_SECONDS", 0.001)
    monkeypatch.setattr(watching, "IDLE_SECONDS", 0.001)
    monkeypatch.setattr(session_meter, "measure_tree", None)
    process.enforced_limits = frozenset({"processes", "memory_bytes"})
    start(processes=20, memory_bytes=64 * MIB)

    process.refused = REFUSED
    await process.ended.wait()

    assert process.excess == REFUSED


ENDS = {
    "failure": lambda watch: watch.admits_output(FAILURE),
    "failed": lambda watch: watch.admits_done(Done(1, 1, "failed", 100, "unknown", {})),
    "long": lambda watch: watch.admits_done(Done(1, 1, "finished", 2000, "unknown", {})),
}


@pytest.mark.parametrize("end", ENDS)
async def test_the_end_of_a_cell_is_not_reported_if_the_kernel_has_enforced_a_limit(process, tmp_path, end):
    watch = LimitWatch(Limits(processes=20), tmp_path, lambda: (process, True))
    ends = ENDS[end]
    assert ends(watch)

    process.refused = REFUSED

    assert not ends(watch)
    assert process.excess == REFUSED


async def test_a_process_that_ends_already_may_report_its_cell(process, tmp_path):
    watch = LimitWatch(Limits(processes=20), tmp_path, lambda: (process, True))
    process.refused, process.is_ending = REFUSED, True

    assert all(ends(watch) for ends in ENDS.values())
    assert process.excess is None


@pytest.fixture
async def idle():
    """A process that does nothing until it gets a line; then it starts a child, and says so."""
    pipe = asyncio.subprocess.PIPE
    command = "read _; sleep 3600 & echo started; wait"
    process = await asyncio.create_subprocess_exec("sh", "-c", command, stdin=pipe, stdout=pipe, start_new_session=True)
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    await process.communicate()


@pytest.fixture
async def measured(monkeypatch, usage, tmp_path, idle):
    """A meter of a real process that was just measured, as far as it knows."""
    monkeypatch.setattr(session_meter, "QUIET_SECONDS", 3600.0)
    meter = SessionMeter(Limits(processes=20, cpu_seconds=60), tmp_path)
    assert not meter.is_quiet(idle.pid)
    await meter.measure(idle.pid, frozenset())
    yield meter
    meter.close()


async def test_a_session_that_does_next_to_nothing_is_not_measured_again_at_once(measured, idle):
    assert measured.is_quiet(idle.pid)
    assert not measured.is_quiet(1)


async def test_a_session_that_has_used_some_processor_time_is_measured(measured, usage, idle):
    usage.cpu_seconds += 0.05

    assert not measured.is_quiet(idle.pid)


async def test_a_session_with_a_new_child_is_measured(measured, idle):
    idle.stdin.write(b"\n")
    await idle.stdout.readline()

    assert not measured.is_quiet(idle.pid)


@pytest.mark.parametrize("change", [{"processes": 11}, {"has_children": True}], ids=["near a limit", "had children"])
async def test_a_session_that_needs_attention_is_always_measured(measured, usage, change):
    for name, value in change.items():
        setattr(usage, name, value)
    await measured.measure(os.getpid(), frozenset())

    assert not measured.is_quiet(os.getpid())
