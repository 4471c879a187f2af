"""The event loop of a session: asyncio's own, which also tells whether user code has work for it."""

import asyncio
import selectors
from asyncio import CancelledError, _get_running_loop, all_tasks, current_task, ensure_future
from collections.abc import Awaitable, Generator, Iterable
from threading import get_ident
from typing import Any, Final

from skep_shared.originals import os, select, socket
from skep_workers.session.clock import monotonic
from skep_workers.session.descriptors import replace
from skep_workers.session.renewal import renew
from skep_workers.session.shield import Shield
from skep_workers.session.wakes import write_keeping_gil

OWN_DESCRIPTORS = 2  # the loop's wake-up socket and the cell socket
OURS = "skep_workers."


class SessionLoop(asyncio.SelectorEventLoop):
    """A selector loop that user code can't close, since it lives as long as the session."""

    def __init__(self, shield: Shield | None = None) -> None:
        self._shield = shield or Shield()
        self._chosen = selectors.DefaultSelector()
        self.awaited: asyncio.Future[Any] | None = None  # what a cell runs this loop for
        self.interrupted: asyncio.Future[Any] | None = None  # what was cancelled because its cell is to end
        super().__init__(self._chosen)

    def time(self) -> float:
        """Give the time of its timers; user code may patch the clock that asyncio asks."""
        return monotonic()

    def run_until_complete(self, future: Generator[Any, None, Any] | Awaitable[Any]) -> Any:
        """Run, as a cell asks for it, until the future is done; an interrupt cancels that, and nothing else.

        Raises KeyboardInterrupt then, as asyncio.run does.
        """
        if self.is_running():
            return super().run_until_complete(future)  # which says what is wrong
        outer, awaited = self.awaited, None
        try:
            with self._shield:
                awaited = self.awaited = ensure_future(future, loop=self)  # type: ignore[arg-type]  # typeshed's differ
            return super().run_until_complete(awaited)
        except BaseException as exc:
            if awaited is not None and awaited is not future:  # it is nobody's but ours
                if not awaited.done():
                    awaited.cancel()
                elif not awaited.cancelled():
                    awaited.exception()  # it has been seen
            if isinstance(exc, CancelledError) and self.interrupted is awaited:
                raise KeyboardInterrupt from None
            raise
        finally:
            self.awaited, self.interrupted = outer, None

    @property
    def has_work(self) -> bool:
        """Tell whether tasks, timers or descriptors of user code wait for it; called while it does not run."""
        timers: list[Any] = getattr(self, "_scheduled", [])
        return bool(all_tasks(self)) or bool(timers) or len(self._chosen.get_map()) > OWN_DESCRIPTORS

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing of user code is left to run in it, but for the task that asks."""
        own_tasks = 0 if _get_running_loop() is not self or current_task(self) is None else 1
        timers: list[Any] = getattr(self, "_scheduled", [])
        soon: Iterable[Any] = getattr(self, "_ready", ())
        return (
            len(all_tasks(self)) <= own_tasks
            and len(self._chosen.get_map()) <= OWN_DESCRIPTORS
            and all(handle.cancelled() or _is_ours(handle) for handle in [*timers, *soon])
        )

    def work(self) -> list[str]:
        """Name the tasks, timers and watched descriptors of user code, each in a few words; any thread may ask."""
        tasks = [_task_name(task) for task in all_tasks(self) if not _is_a_cells(task)]
        timers: list[Any] = [*getattr(self, "_scheduled", ()), *getattr(self, "_ready", ())]
        waiting = [handle for handle in timers if not handle.cancelled() and not _is_ours(handle)]
        names = [_callback_name(handle) for handle in waiting if not _is_of_a_task(handle)]
        watched = len(self._chosen.get_map()) - OWN_DESCRIPTORS
        return [*tasks, *names, *([f"{watched} watched descriptors"] if watched > 0 else [])]

    @property
    def descriptors(self) -> set[int]:
        """Give the descriptors that it holds itself."""
        ours: tuple[Any, Any] = self._ssock, self._csock  # type: ignore[attr-defined]
        return {self._chosen.fileno(), *(sock.fileno() for sock in ours)}

    def begin_in_fork(self) -> None:
        """Have descriptors of its own, in a fork of the process that has made it and never run it."""
        epoll, wakers = select.epoll(), socket.socketpair()
        ours: tuple[socket.socket, socket.socket] = self._ssock, self._csock  # type: ignore[attr-defined]
        for waker, place in zip(wakers, ours, strict=True):
            waker.setblocking(False)
            replace(place.fileno(), waker.detach())
        os.dup2(epoll.fileno(), self._chosen.fileno(), inheritable=False)
        epoll.close()
        self._chosen._selector.register(ours[0].fileno(), select.EPOLLIN)  # type: ignore[attr-defined]  # noqa: SLF001

    def renew(self) -> None:
        """Be as a new one, in a fork: what the kernel has of the old one is the parent's too."""
        self._chosen.close()
        for sock in (self._ssock, self._csock):  # type: ignore[attr-defined]
            sock.close()
        renew(self, self._shield)

    def run_latest(self) -> None:
        """Run what was scheduled last, at once instead of in the loop's next turn, unless that is its first one."""
        if not self.is_running():
            return
        handle = self._ready.pop()  # type: ignore[attr-defined]
        if not handle.cancelled():
            handle._run()  # noqa: SLF001 - as the loop does it

    def share(self) -> None:
        """Let what the calling thread schedules wake the loop, which another thread is going to run.

        A blocking cell sets an asyncio.Event or cancels a task as it would without that thread, and asyncio takes it
        for granted that the loop isn't asleep meanwhile.
        """
        owner, soon, at = get_ident(), super().call_soon, super().call_at

        def call_soon(callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
            handle = soon(callback, *args, context=context)
            if get_ident() == owner:
                self._wake()
            return handle

        def call_at(when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
            handle = at(when, callback, *args, context=context)
            if get_ident() == owner:
                self._wake()
            return handle

        self.call_soon, self.call_at = call_soon, call_at  # type: ignore[method-assign, assignment]

    def unshare(self) -> None:
        """Go back to one thread."""
        del self.call_soon, self.call_at

    def _wake(self) -> None:
        """Wake the loop and keep the GIL: its thread would else run amid what the caller does, in Event.set say.

        That goes through the event's waiters, and each of them leaves when it runs.
        """
        write_keeping_gil(self._csock.fileno())  # type: ignore[attr-defined]

    def close(self) -> None:
        """Stay open: a cell that closes it would take every later cell's loop away."""


def _is_a_cells(task: Any) -> bool:
    """Return whether a task is the engine's, of a cell that is just about to end."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and str(frame.f_globals.get("__name__")).startswith(OURS)


def _task_name(task: Any) -> str:
    coroutine = getattr(task.get_coro(), "__qualname__", "")
    return f"{task.get_name()} ({coroutine})" if coroutine else str(task.get_name())


def _callback_name(handle: Any) -> str:
    callback = getattr(handle, "_callback", None)
    callback = getattr(callback, "func", callback)  # of a partial
    return f"callback {getattr(callback, '__qualname__', type(callback).__name__)}"


def _is_of_a_task(handle: Any) -> bool:
    """Return whether a handle only wakes what waits: a task, which is named itself, or a future."""
    callback = getattr(handle, "_callback", None)
    is_step = (
        type(callback).__name__ == "TaskStepMethWrapper" or getattr(callback, "__module__", "") == "asyncio.futures"
    )
    return is_step or isinstance(getattr(callback, "__self__", None), asyncio.Future | asyncio.Timeout)


# What empties the pipe that another thread, of the engine's mostly, has woken the loop with.
_WAKE: Final = getattr(asyncio.SelectorEventLoop, "_read_from_self", object())


def _is_ours(handle: Any) -> bool:
    callback = getattr(handle, "_callback", None)
    if getattr(callback, "__func__", None) is _WAKE:
        return True
    module = getattr(callback, "__module__", None)
    return isinstance(module, str) and module.startswith(OURS)
