"""The session's loop: pending work of user code, and scheduling before ready callbacks."""

import asyncio
import contextlib
import inspect

import pytest

from skep_workers.session.errors.uncaught import engine_interrupt
from skep_workers.session.runtime.loop import SessionLoop, cancel_first, run_next
from skep_workers.session.safeguards.shield import Shield


@pytest.fixture
def loop():
    loop = SessionLoop(Shield())
    yield loop
    asyncio.SelectorEventLoop.close(loop)  # the loop's own `close` does nothing, because user code calls it


def test_a_wake_up_by_a_thread_does_not_count_as_work_of_the_user(loop):
    assert loop.is_quiet
    loop.call_soon(loop._read_from_self)
    assert loop.is_quiet

    loop.call_soon(print)
    assert not loop.is_quiet


def test_run_next_calls_before_all_ready_callbacks(loop):
    seen = []

    def hold_up():
        seen.append("holds up")
        run_next(loop, seen.append, "next")

    loop.call_soon(hold_up)
    loop.call_soon(seen.append, "ready")
    loop.call_soon(loop.stop)
    loop.run_forever()

    assert seen == ["holds up", "next", "ready"]


def test_cancel_first_wakes_waiters_before_all_ready_callbacks(loop):
    seen = []

    async def wait():
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("woken")

    async def main():
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        loop.call_soon(seen.append, "ready")
        cancel_first(task)
        await asyncio.gather(task, return_exceptions=True)

    loop.run_until_complete(main())

    assert seen == ["woken", "ready"]


def test_run_next_also_works_on_other_kinds_of_loops():
    class Other:
        def __init__(self):
            self.calls = []

        def call_soon_threadsafe(self, callback, *arguments):
            self.calls.append((callback, arguments))

    other = Other()
    run_next(other, print, 1)

    assert other.calls == [(print, (1,))]


def test_an_interrupt_by_the_engine_in_a_task_is_not_reported(loop, caplog):
    for exc in (engine_interrupt(), KeyboardInterrupt("the task's own")):
        loop.call_exception_handler({"message": "lost", "exception": exc})

    assert [record.exc_info[1].args for record in caplog.records] == [("the task's own",)]


class Interrupted:
    """A carrier whose thread is interrupted before it has stopped."""

    def start(self):
        pass

    @contextlib.contextmanager
    def paused(self):
        raise KeyboardInterrupt
        yield


def test_a_coroutine_is_closed_if_an_interrupt_arrives_before_it_is_scheduled(loop):
    loop.carrier = Interrupted()
    waiting = asyncio.sleep(3600)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(waiting)

    assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED
