"""An event loop in a thread of its own, on which the calls of other threads run.

A waiting thread holds no lock that the loop's thread needs, so an exception from a signal handler (Ctrl-C) can end the
wait at any instruction.

The thread is stopped while the process forks and goes on afterwards. So no lock is held in the child that only this
thread could release, and Python 3.12 and newer don't warn about a fork of a process with threads. In the child the loop
never runs again: `leave_to_parent` cuts its connections there.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import ctypes
import os
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, TypeVarTuple, cast

from skep_shared.errors import ClientUnusable
from skep_shared.foreign_errors import describe_error

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

PAUSE_SECONDS: Final = 2.0  # a callback that takes longer delays no fork
END_SECONDS: Final = 2.0  # that cancelled tasks have at the end
POLL_SECONDS: Final = 0.0005
_ENDED: Final = "skep.sync has ended with its interpreter"


class _Loop(asyncio.SelectorEventLoop):
    """Runs blocking functions in threads that end with them.

    The default executor keeps its threads, which would be lost in a fork, and can't be used when the interpreter exits.
    """

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[*Ts], R], *args: *Ts
    ) -> "asyncio.Future[R]":
        """Run a function in a new thread, or in the executor that was passed."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        done: concurrent.futures.Future[R] = concurrent.futures.Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(func(*args))
            except BaseException as exc:  # noqa: BLE001 - the call that waits raises it
                done.set_exception(exc)

        try:
            threading.Thread(target=run, name="skep.sync blocking function", daemon=True).start()
        except RuntimeError:  # from Python 3.12 on when the interpreter exits, and then no other call is held up
            run()
        return asyncio.wrap_future(done, loop=self)


class _Call(Generic[R]):
    """One thread's call: a coroutine to run on the loop, and its result."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, R]]) -> None:
        self.make = make
        self.context = contextvars.copy_context()
        self.task: asyncio.Task[R] | None = None
        self.is_cancelled = False
        self._result: R | None = None
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def settle(self, result: R | None, error: BaseException | None) -> None:
        """End the wait; only the first result counts."""
        if self._done.locked():
            self._result, self._error = result, error
            with contextlib.suppress(RuntimeError):  # settled by another thread meanwhile
                self._done.release()

    def wait(self) -> R:
        """Wait for the result, until a signal handler raises. Raises the call's error."""
        self._done.acquire()
        if self._error is None:
            return cast("R", self._result)
        try:
            raise self._error
        finally:
            self._error = None  # its traceback refers to this frame


class BackgroundLoop:
    """An event loop in a daemon thread of this process."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._loop = _Loop(self._selector)
        self._pid = os.getpid()
        self._calls: set[_Call[Any]] = set()
        self._failure: ClientUnusable | None = None
        self._is_leaving = False
        self._is_ending = False
        self.at_end: list[Callable[[], Coroutine[Any, Any, object]]] = []
        self._thread = self._start(None)

    @property
    def is_here(self) -> bool:
        """Return whether it was made in this process, not before a fork."""
        return self._pid == os.getpid()

    def _start(self, previous: threading.Thread | None) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(previous,), name="skep.sync", daemon=True)
        thread.start()
        return thread

    def _run(self, previous: threading.Thread | None) -> None:
        if previous is not None:
            previous.join()  # it may be in a callback that took longer than the fork waited
        failure = _ENDED
        try:
            self._loop.run_forever()
            if not self._is_ending:
                return
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
        except BaseException as exc:  # noqa: BLE001 - every wait must end with it, not hang
            failure = f"the event loop of skep.sync has ended: {describe_error(exc)}"
        self._failure = ClientUnusable(failure)
        if failure != _ENDED:
            for call in list(self._calls):
                call.settle(None, self._failure)

    def wait(self, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine on the loop and wait for its result. Raises its errors.

        An exception that a signal handler raises ends the wait at once, and cancels the coroutine. Raises
        ClientUnusable if the coroutine is cancelled by anything else, and on the loop's own thread, which can't wait.
        """
        if threading.current_thread() is self._thread:
            raise ClientUnusable("a callback on the thread of skep.sync can't wait for a call; use another thread")
        call = _Call(make)
        self._calls.add(call)
        try:
            if self._failure is not None:
                raise self._failure
            self.post(lambda: self._begin(call))
            return call.wait()
        except BaseException:
            self.post(lambda: self._cancel(call))
            raise
        finally:
            self._calls.discard(call)

    def post(self, function: Callable[[], object]) -> None:
        """Run a function on the loop soon; from any thread. Do nothing after the end, and in a fork."""
        if self.is_here:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(function)

    def _begin(self, call: _Call[Any]) -> None:
        if call.is_cancelled:
            return
        call.task = self._loop.create_task(call.make(), name="skep.sync call", context=call.context)
        call.task.add_done_callback(lambda task: self._settle(call, task))

    def _settle(self, call: _Call[Any], task: "asyncio.Task[Any]") -> None:
        call.task = None
        if not task.cancelled():
            error = task.exception()
            call.settle(None if error is not None else task.result(), error)
        elif not self._is_leaving:  # at the end only daemon threads still wait, which would print an error
            call.settle(None, ClientUnusable("it was closed while this call waited"))

    def _cancel(self, call: _Call[Any]) -> None:
        call.is_cancelled = True
        if call.task is not None:
            call.task.cancel()

    def pause(self) -> None:
        """Stop the thread until `resume`; the calls of other threads wait."""
        thread = self._thread
        if thread is threading.current_thread():
            return
        self.post(self._loop.stop)
        thread.join(PAUSE_SECONDS)
        if not thread.is_alive():  # before Python 3.13 the system may see it for some more microseconds
            _wait_for_thread_end(thread)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._thread is not threading.current_thread() and self._failure is None:
            self._thread = self._start(self._thread)

    def leave_to_parent(self) -> None:
        """Close this fork's copies of the connections, without an effect on the parent's.

        The loop is never closed or freed here: tasks that are freed unfinished, and connections that are freed open,
        would complain. The parent's selector is shared with this process, so it is replaced first.
        """
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        with contextlib.suppress(OSError, ValueError, RuntimeError), Path(os.devnull).open("rb") as nothing:
            open_fds = [key.fd for key in list(self._selector.get_map().values())]
            if isinstance(self._selector, selectors.EpollSelector):
                with contextlib.closing(selectors.EpollSelector()) as own:
                    os.dup2(own.fileno(), self._selector.fileno(), inheritable=False)
            for fd in open_fds:  # replaced, not closed: their objects still own these numbers
                os.dup2(nothing.fileno(), fd, inheritable=False)

    def close(self, seconds: float) -> None:
        """End the loop: run the functions of `at_end`, for at most `seconds`, and cancel all other tasks.

        Waits of other threads don't end: the interpreter exits, and only daemon threads are left.
        """
        self.wait(lambda: self._end(seconds))
        self._is_ending = True
        self.post(self._loop.stop)
        self._thread.join(END_SECONDS)

    async def _end(self, seconds: float) -> None:
        self._is_leaving = True
        ends = [asyncio.create_task(end()) for end in self.at_end]
        if ends:
            ended, _ = await asyncio.wait(ends, timeout=seconds)
            for task in ended:
                task.exception()  # retrieved: no caller is left that it concerns
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=END_SECONDS)


def _wait_for_thread_end(thread: threading.Thread) -> None:
    entry = Path(f"/proc/self/task/{thread.native_id}")
    ends_at = time.monotonic() + PAUSE_SECONDS
    while entry.exists() and time.monotonic() < ends_at:
        time.sleep(POLL_SECONDS)  # the system sends no signal
