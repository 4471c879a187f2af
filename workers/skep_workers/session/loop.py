"""The event loop of a session: asyncio's own, which also tells whether user code has work for it."""

import asyncio
import selectors
from asyncio import CancelledError, all_tasks, ensure_future
from collections.abc import Awaitable, Generator
from threading import get_ident
from typing import Any

from skep_workers.session.clock import monotonic
from skep_workers.session.shield import Shield
from skep_workers.session.wakes import write_keeping_gil

OWN_DESCRIPTORS = 2  # the loop's wake-up socket and the cell socket


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
