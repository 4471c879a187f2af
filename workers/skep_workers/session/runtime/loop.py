"""The event loop of a session: asyncio's selector loop, which also reports the work that user code has for it."""

import asyncio
import selectors
from _signal import set_wakeup_fd  # type: ignore[import-not-found]  # bound early: user code may patch signal
from asyncio import CancelledError, Handle, _get_running_loop, all_tasks, base_events, current_task, ensure_future
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import partial
from threading import get_ident
from types import CoroutineType, FunctionType
from typing import Any, Final, Protocol

from skep_shared.originals import os, select, socket, threading
from skep_workers.session.errors.uncaught import report_loop_error
from skep_workers.session.runtime.main_thread import main_thread
from skep_workers.session.runtime.thread_bound import add_thread_hint
from skep_workers.session.safeguards.clock import monotonic
from skep_workers.session.safeguards.descriptors import replace
from skep_workers.session.safeguards.reinit import renew
from skep_workers.session.safeguards.shield import Shield
from skep_workers.session.safeguards.wakeup import write_keeping_gil

OWN_DESCRIPTORS = 2  # the loop's wake-up socket and the cell socket
ENGINE = "skep_workers."
_UNKNOWN: Final = object()


class Carrier(Protocol):
    """Runs the loop in another thread while a cell that doesn't await occupies the main thread."""

    def start(self) -> None:
        """Run the loop in another thread from now on."""

    def paused(self) -> AbstractContextManager[None]:
        """Return a context in which the calling thread may run the loop itself."""


def _with_first_threading(function: Any) -> Any:
    """Return asyncio's function, using the unpatched module `threading`; it runs between any two cells."""
    names = vars(base_events) | {"threading": threading}
    return FunctionType(function.__code__, names, function.__name__, function.__defaults__)


_run_forever: Final = _with_first_threading(asyncio.BaseEventLoop.run_forever)


class SessionLoop(asyncio.SelectorEventLoop):
    """A selector loop that user code can't close, because it lives as long as the session.

    For a cell that doesn't await, on the main thread, it looks like a loop that isn't running and may be run, even if
    another thread runs it meanwhile.
    """

    def __init__(self, shield: Shield | None = None) -> None:
        self._shield = shield or Shield()
        self._main_thread: Final = get_ident()
        self._chosen = selectors.DefaultSelector()
        self.awaited: asyncio.Future[Any] | None = None  # the future that a cell runs this loop for
        self.interrupted: asyncio.Future[Any] | None = None  # the future cancelled in order to end its cell
        self.carrier: Carrier | None = None  # set while a cell that doesn't await occupies the main thread
        super().__init__(self._chosen)

    def time(self) -> float:
        """Return the time for the loop's timers; user code may patch the clock that asyncio uses."""
        return monotonic()

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an uncaught exception of a task or a callback."""
        report_loop_error(self, context)

    def run_until_complete(self, future: Generator[Any, None, Any] | Awaitable[Any]) -> Any:
        """Run for a cell until the future is done. An interrupt cancels this future and nothing else.

        Raises KeyboardInterrupt then, as asyncio.run does.
        """
        if self.is_running():
            return super().run_until_complete(future)  # which raises the right error
        if (carrier := self._carrier_here) is None:
            return self._run_until_complete(future)
        is_here = False
        try:
            with carrier.paused():
                is_here = True
                return self._run_until_complete(future)
        except BaseException:
            if not is_here:
                _discard(future)  # an interrupt arrived while the other thread was being stopped
            raise

    def _run_until_complete(self, future: Generator[Any, None, Any] | Awaitable[Any]) -> Any:
        outer, awaited = self.awaited, None
        try:
            with self._shield:
                awaited = self.awaited = ensure_future(future, loop=self)  # type: ignore[arg-type]  # typeshed's differ
            return super().run_until_complete(awaited)
        except BaseException as exc:
            if awaited is None:
                _discard(future)
            elif awaited is not future:  # the task was created here, so no other code holds it
                if not awaited.done():
                    awaited.cancel()
                elif not awaited.cancelled():
                    awaited.exception()  # marks the exception as retrieved
            if isinstance(exc, CancelledError) and self.interrupted is awaited:
                raise KeyboardInterrupt from None
            raise
        finally:
            self.awaited, self.interrupted = outer, None

    def run_forever(self) -> None:
        """Run until the loop is stopped."""
        if (carrier := self._carrier_here) is None:
            self._run_woken_by_signals()
            return
        with carrier.paused():
            self._run_woken_by_signals()

    def _run_woken_by_signals(self) -> None:
        """Run until the loop is stopped. Signals wake it: otherwise one just before the select would not end that."""
        if get_ident() != self._main_thread:
            _run_forever(self)
            return
        before = set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        try:
            _run_forever(self)
        finally:
            if not self.handles_signals:  # otherwise asyncio needs it
                set_wakeup_fd(before)

    if hasattr(asyncio.BaseEventLoop, "_run_forever_setup"):  # from Python 3.13 on
        _run_forever_setup = _with_first_threading(asyncio.BaseEventLoop._run_forever_setup)  # noqa: SLF001

    def is_running(self) -> bool:
        """Return whether the calling thread can't run the loop, because it runs already.

        In a cell that doesn't await this is False even while the helper thread runs the loop: the cell may run it.
        """
        thread = self.running_thread
        return thread is not None and (thread == get_ident() or self._carrier_here is None)

    @property
    def running_thread(self) -> int | None:
        """The identifier of the thread that runs the loop, or None."""
        found: Any = getattr(self, "_thread_id", _UNKNOWN)
        if found is _UNKNOWN:
            return self._main_thread if super().is_running() else None
        thread: int | None = found
        return thread

    @property
    def _carrier_here(self) -> Carrier | None:
        """The carrier, if the caller is on the main thread, in a cell that doesn't await."""
        return self.carrier if self.carrier is not None and get_ident() == self._main_thread else None

    def move_to_thread(self) -> None:
        """Run the loop in another thread if it has work: the cell is about to block the main thread."""
        if self.carrier is not None and self.running_thread is None and self.has_work:
            self.carrier.start()

    def call_soon_threadsafe(  # type: ignore[override]  # typeshed's ties arguments to the callback's
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """Schedule a call from any thread. Callers expect that it is made even while a cell blocks and waits for it."""
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        if (carrier := self.carrier) is not None and self.running_thread is None and _is_user_callback(handle):
            carrier.start()
        return handle

    @property
    def has_work(self) -> bool:
        """Return whether tasks, timers, descriptors or signals of user code wait for the loop, which isn't running."""
        timers: list[Any] = getattr(self, "_scheduled", [])
        return (
            bool(timers)
            or self.handles_signals
            or len(self._chosen.get_map()) > OWN_DESCRIPTORS
            or bool(all_tasks(self))
        )

    @property
    def is_quiet(self) -> bool:
        """Return whether the loop has nothing of user code left to run, except the calling task."""
        own_tasks = 0 if _get_running_loop() is not self or current_task(self) is None else 1
        timers: list[Any] = getattr(self, "_scheduled", [])
        soon: Iterable[Any] = getattr(self, "_ready", ())
        return (
            len(all_tasks(self)) <= own_tasks
            and len(self._chosen.get_map()) <= OWN_DESCRIPTORS
            and all(handle.cancelled() or _is_engine_callback(handle) for handle in [*timers, *soon])
        )

    def work(self) -> list[str]:
        """Return short names of user code's tasks, timers and watched descriptors. Any thread may call this."""
        tasks = [_task_name(task) for task in all_tasks(self) if not _is_cell_task(task)]
        timers: list[Any] = [*getattr(self, "_scheduled", ()), *getattr(self, "_ready", ())]
        waiting = [handle for handle in timers if not handle.cancelled() and not _is_engine_callback(handle)]
        names = [_callback_name(handle) for handle in waiting if not _wakes_future(handle)]
        watched = len(self._chosen.get_map()) - OWN_DESCRIPTORS
        return [*tasks, *names, *([f"{watched} watched descriptors"] if watched > 0 else [])]

    @property
    def descriptors(self) -> set[int]:
        """Return the descriptors of the loop itself."""
        return {self._chosen.fileno(), *(sock.fileno() for sock in self._wakers)}

    def begin_in_fork(self) -> None:
        """Replace the loop's descriptors in a fork. The process that made the loop has never run it."""
        ours, registered = self._wakers, getattr(self._chosen, "_selector", None)
        if not ours or registered is None:
            self.renew()
            return
        epoll, wakers = select.epoll(), socket.socketpair()
        for waker, place in zip(wakers, ours, strict=True):
            waker.setblocking(False)
            replace(place.fileno(), waker.detach())
        os.dup2(epoll.fileno(), self._chosen.fileno(), inheritable=False)
        epoll.close()
        registered.register(ours[0].fileno(), select.EPOLLIN)

    def renew(self) -> None:
        """Make the loop new in a fork, because it shares the kernel objects of the old loop with the parent."""
        self._chosen.close()
        for sock in self._wakers:
            sock.close()
        renew(self, self._shield)

    def run_latest(self) -> None:
        """Run the most recently scheduled callback now instead of in the loop's next iteration; only while it runs."""
        if not self.is_running():
            return
        ready: Any = getattr(self, "_ready", None)
        if not isinstance(ready, deque) or not hasattr(Handle, "_run"):
            return  # then the loop's next iteration does it
        handle = ready.pop()
        if not handle.cancelled():
            handle._run()  # noqa: SLF001 - as the loop does it

    def notify_on_schedule(self, on_call: Callable[[], object]) -> None:
        """Call `on_call` when the main thread schedules a callback, while another thread runs the loop or is about to.

        A blocking cell sets an asyncio.Event or cancels a task as it would without that thread, and asyncio assumes
        that the loop isn't asleep meanwhile.
        """
        owner, soon, at = self._main_thread, super().call_soon, super().call_at

        def call_soon(callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
            handle = soon(callback, *args, context=context)
            if get_ident() == owner:
                on_call()
            return handle

        def call_at(when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
            handle = at(when, callback, *args, context=context)
            if get_ident() == owner:
                on_call()
            return handle

        self.call_soon, self.call_at = call_soon, call_at  # type: ignore[method-assign, assignment]

    def stop_notifying(self) -> None:
        """Undo `notify_on_schedule`, even if that was interrupted."""
        for name in ("call_soon", "call_at"):
            vars(self).pop(name, None)

    def wake(self) -> None:
        """Wake the loop without releasing the GIL. Otherwise its thread could run in the middle of the caller's work.

        For example, Event.set iterates over the event's waiters, and each waiter removes itself when it runs. The byte
        that is written is no signal number.
        """
        if self._wakers:
            write_keeping_gil(self.waker, b"\0")
        else:
            super().call_soon_threadsafe(lambda: None)

    @property
    def handles_signals(self) -> bool:
        """Whether user code has added a signal handler to the loop."""
        return bool(getattr(self, "_signal_handlers", None))

    @property
    def waker(self) -> int:
        """The descriptor that wakes the loop when a byte is written to it; -1 if it is not known."""
        return self._wakers[1].fileno() if self._wakers else -1

    @property
    def _wakers(self) -> tuple[socket.socket, ...]:
        """The ends of the connection that wakes the loop, for reading and for writing; empty if they are not known."""
        ends = getattr(self, "_ssock", None), getattr(self, "_csock", None)
        return () if None in ends else ends  # type: ignore[return-value]

    def add_signal_handler(  # type: ignore[override]  # as above
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        """Add a handler for a signal. The loop calls it, in whichever thread the loop runs."""
        add = super().add_signal_handler
        main_thread.call(partial(copy_context().run, add, sig, callback, *args))

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove the handler of a signal; return whether there was one."""
        return bool(main_thread.call(partial(super().remove_signal_handler, sig)))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an exception that no caller could catch."""
        add_thread_hint(context.get("exception"))
        super().call_exception_handler(context)

    def close(self) -> None:
        """Do nothing, because a closed loop would be missing in every later cell."""


def _discard(future: object) -> None:
    """Close a coroutine that has not started, so that there is no warning that it was never awaited."""
    if isinstance(future, CoroutineType):
        future.close()


def run_next(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *arguments: Any) -> None:
    """Schedule a call before all other ready callbacks of the calling thread's loop, and wake it. For signal handlers.

    A loop that isn't asyncio's makes the call after its ready callbacks.
    """
    ready, wake = getattr(loop, "_ready", None), getattr(loop, "_write_to_self", None)
    if not isinstance(ready, deque) or wake is None:
        loop.call_soon_threadsafe(callback, *arguments)
        return
    ready.appendleft(Handle(callback, arguments, loop))
    wake()  # the loop may be asleep in its selector


def cancel_first(future: "asyncio.Future[Any]") -> None:
    """Cancel a future, and run what that wakes before all other ready callbacks of its loop.

    The code that waits for the future may cancel a thousand others, each of which would block before it is cancelled.
    """
    ready = getattr(future.get_loop(), "_ready", None)
    if not isinstance(ready, deque):
        future.cancel()
        return
    before = len(ready)
    future.cancel()
    ready.rotate(len(ready) - before)


def _is_cell_task(task: Any) -> bool:
    """Return whether a task is the engine's task for a cell, which may be about to end."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and str(frame.f_globals.get("__name__")).startswith(ENGINE)


def _task_name(task: Any) -> str:
    coroutine = getattr(task.get_coro(), "__qualname__", "")
    return f"{task.get_name()} ({coroutine})" if coroutine else str(task.get_name())


def _callback_name(handle: Any) -> str:
    callback = getattr(handle, "_callback", None)
    callback = getattr(callback, "func", callback)  # of a partial
    return f"callback {getattr(callback, '__qualname__', type(callback).__name__)}"


def _wakes_future(handle: Any) -> bool:
    """Return whether a handle only wakes a future or a task; a task is listed by its own name."""
    callback = getattr(handle, "_callback", None)
    is_step = (
        type(callback).__name__ == "TaskStepMethWrapper" or getattr(callback, "__module__", "") == "asyncio.futures"
    )
    return is_step or isinstance(getattr(callback, "__self__", None), asyncio.Future | asyncio.Timeout)


# The callback that empties the wake-up pipe, to which mostly the engine's threads write.
_WAKE: Final = getattr(asyncio.SelectorEventLoop, "_read_from_self", object())


def _is_user_callback(handle: Any) -> bool:
    """Return whether user code has scheduled this call, and not asyncio, as it does when work in a thread ends."""
    callback = getattr(handle, "_callback", None)
    if str(getattr(callback, "__qualname__", "")).startswith("run_coroutine_threadsafe"):
        return True
    return not str(getattr(callback, "__module__", "")).startswith("asyncio.") and not _is_engine_callback(handle)


def _is_engine_callback(handle: Any) -> bool:
    callback = getattr(handle, "_callback", None)
    if getattr(callback, "__func__", None) is _WAKE:
        return True
    module = getattr(callback, "__module__", None)
    return isinstance(module, str) and module.startswith(ENGINE)
