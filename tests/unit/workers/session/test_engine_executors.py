"""The two executors without a session process: which loop they use, what they close, where code runs."""

import asyncio
import contextvars
import socket
import threading

import pytest

from skep_workers.session.compilation.compiling import CellCompiler
from skep_workers.session.execution.async_executor import AsyncExecutor
from skep_workers.session.execution.threaded_executor import ThreadedExecutor
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.runtime.namespace import NamespaceManager

VARIABLE = contextvars.ContextVar("variable", default="unset")


def compiled(source):
    return CellCompiler().compile(source, "<cell 1>")


@pytest.fixture
def namespace():
    namespace = NamespaceManager()
    namespace.names.update(asyncio=asyncio, threading=threading, VARIABLE=VARIABLE)
    return namespace


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def session_loop():
    loop = SessionLoop()
    yield loop
    asyncio.SelectorEventLoop.close(loop)


def test_a_given_loop_is_used_and_not_closed(namespace, loop):
    executor = AsyncExecutor(namespace, loop=loop)
    used = executor.run(compiled("await asyncio.sleep(0)\nasyncio.get_running_loop()"))
    executor.close()

    assert used is loop
    assert not loop.is_closed()


def test_a_loop_that_run_makes_is_closed(namespace):
    executor = AsyncExecutor(namespace)
    first = executor.run(compiled("await asyncio.sleep(0)\nasyncio.get_running_loop()"))
    second = executor.run(compiled("asyncio.get_running_loop()"))
    assert first is second
    executor.close()
    executor.close()

    assert first.is_closed()


async def on_a_running_loop(namespace):
    async with AsyncExecutor(namespace) as executor:
        return await executor.execute(compiled("await asyncio.sleep(0)\nasyncio.get_running_loop()"))


def test_the_running_loop_is_used_and_not_closed(namespace, loop):
    assert loop.run_until_complete(on_a_running_loop(namespace)) is loop
    assert not loop.is_closed()


def test_the_end_of_the_context_closes_coroutines_that_were_never_awaited(namespace, loop):
    async def leave():
        async with AsyncExecutor(namespace) as executor:
            await executor.execute(compiled("async def f(): pass\nleft = f()"))

    loop.run_until_complete(leave())

    assert namespace.names["left"].cr_frame is None


@pytest.mark.parametrize("kind", [AsyncExecutor, ThreadedExecutor])
def test_executors_have_no_finalizer(kind):
    assert not hasattr(kind, "__del__")


def test_tla_timeout_bounds_cells_that_await(namespace, loop):
    executor = AsyncExecutor(namespace, loop=loop, tla_timeout=0.01)

    with pytest.raises(TimeoutError):
        executor.run(compiled("await asyncio.sleep(3600)"))
    assert executor.run(compiled("sum(range(1_000_000))")) == 499_999_500_000


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("x = 5", None),
        ("x = 5\nx", 5),
        ("await asyncio.sleep(0, 6)", 6),
        ("y = await asyncio.sleep(0, 7)\ny + 1", 8),
        ("5;", None),  # the value is hidden, and so dropped in the cell
        ("", None),
    ],
)
def test_the_value_is_that_of_the_last_expression(namespace, loop, source, value):
    assert AsyncExecutor(namespace, loop=loop).run(compiled(source)) == value


def test_context_variables_remain_in_the_executors_context(namespace, loop):
    executor = AsyncExecutor(namespace, loop=loop)
    executor.run(compiled("VARIABLE.set('mine')"))

    assert executor.run(compiled("VARIABLE.get()")) == "mine"
    assert VARIABLE.get() == "unset"


def test_blocking_code_runs_on_the_calling_thread_where_no_loop_runs(namespace, session_loop):
    executor = ThreadedExecutor(namespace, session_loop)
    code = "async def main(): return threading.current_thread()\nasyncio.run(main())"

    assert executor.execute(compiled(code), carries_loop=False) is threading.current_thread()


def test_the_loop_continues_in_another_thread_meanwhile_and_returns_afterwards(namespace, session_loop):
    asyncio.set_event_loop(session_loop)
    ticked = threading.Event()

    async def tick():
        while True:
            ticked.set()
            await asyncio.sleep(0)

    task = session_loop.create_task(tick())
    namespace.names["ticked"] = ticked
    ThreadedExecutor(namespace, session_loop).execute(compiled("ticked.wait()"), carries_loop=True)
    assert not session_loop.is_running()
    task.cancel()
    session_loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    asyncio.set_event_loop(None)

    assert "call_soon" not in vars(session_loop)


def test_output_is_drained_within_the_time_limit_even_after_an_error(namespace, session_loop):
    drained = []
    executor = ThreadedExecutor(namespace, session_loop, drain=drained.append, drain_timeout=0.25)
    executor.execute(compiled("1"), carries_loop=False)
    with pytest.raises(ZeroDivisionError):
        executor.execute(compiled("1 / 0"), carries_loop=False)

    assert drained == [0.25, 0.25]


def test_blocking_code_runs_in_the_context_it_was_given(namespace, session_loop):
    context = contextvars.copy_context()
    executor = ThreadedExecutor(namespace, session_loop, context=context)
    executor.execute(compiled("VARIABLE.set('mine')"), carries_loop=False)

    assert (context[VARIABLE], VARIABLE.get()) == ("mine", "unset")


def test_a_session_loop_can_not_be_closed(session_loop):
    session_loop.close()

    assert not session_loop.is_closed()
    assert session_loop.run_until_complete(asyncio.sleep(0, "runs")) == "runs"


def test_a_session_loop_reports_whether_it_has_work(session_loop):
    cell_socket, other = socket.socketpair()
    with cell_socket, other:
        session_loop.add_reader(cell_socket, print)
        assert session_loop.has_work is False
        session_loop.add_reader(other, print)
        assert session_loop.has_work is True
        session_loop.remove_reader(other)
        session_loop.call_later(3600, print)
        assert session_loop.has_work is True
        session_loop.remove_reader(cell_socket)
