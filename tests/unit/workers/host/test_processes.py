"""The ends of a session's processes: the current one's, one's that is being restored, and one's that never started."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from unittest import mock

import pytest

from skep_shared.errors import StartError
from skep_workers.host.residency.processes import SessionProcesses

pytestmark = pytest.mark.anyio


class Process:
    """A process that ignores its configuration."""

    def __init__(self):
        self.gone = asyncio.Event()

    def execute(self, frames):
        pass


def make_processes(process, restore):
    """Return the processes of a session, the next of which is this one."""

    class Checkpoints:
        @asynccontextmanager
        async def reading_ahead(self):
            yield

        async def restore_into(self, *_, **__):
            restore()

    host = mock.Mock()
    host.settings.start_seconds = 1.0
    processes = SessionProcesses(
        host, mock.Mock(), mock.Mock(), Checkpoints(), mock.Mock(), mock.AsyncMock(), lambda _: None
    )
    processes._live_forking = SimpleNamespace(source=lambda _: None)
    processes._directory = SimpleNamespace(start_process=mock.AsyncMock(return_value=(process, None)))
    return processes


async def test_a_process_that_ends_while_it_is_restored_has_failed_to_start():
    process, removed = Process(), []

    def end():
        process.gone.set()
        removed.append(processes.remove_ended())

    processes = make_processes(process, restore=end)
    with pytest.raises(StartError, match="ended before its first cell"):
        await processes.start(None, is_lagging=False)

    assert (removed, processes.current) == ([True], None)


async def test_the_late_end_of_a_process_that_failed_to_start_does_not_end_its_successor():
    """Its zygote may be dead, so that its end takes a second longer than the start of the next process."""
    process = Process()
    processes = make_processes(process, restore=lambda: None)
    await processes.start(None, is_lagging=False)

    assert not processes.remove_ended()
    assert processes.current is process


async def test_a_failing_task_that_ends_a_process_ends_the_residency():
    processes = make_processes(Process(), restore=lambda: None)

    async def fail():
        raise ValueError("defect")

    async def stay():
        async with processes.owning_tasks():
            processes.start_task(fail(), "end")
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await stay()
    assert caught.group_contains(ValueError, match="defect")


async def test_a_task_that_ends_a_process_may_outlive_the_residency():
    processes = make_processes(Process(), restore=lambda: None)
    async with processes.owning_tasks():
        pass

    assert await processes.start_task(asyncio.sleep(0, "ended"), "end") == "ended"
