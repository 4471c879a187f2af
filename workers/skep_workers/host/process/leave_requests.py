"""Questions to a session process about its own work, and the request to leave in order."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import NamedTuple

from skep_shared.errors import ProtocolError
from skep_shared.packed_events import EndedWork
from skep_shared.protocol.frames import Exiting, Inquiry, Leaving, Left, Work


class Patience(NamedTuple):
    """How long a process that is asked to leave may take: to begin, to save its last state, to run exit handlers.

    It begins when its main thread returns to the engine. A callback of the event loop may delay that.
    """

    begin_seconds: float = 5.0
    save_seconds: float = 60.0
    exit_seconds: float = 10.0


class LeaveRequests:
    """The exchange with one process about its work and its end."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._inquiries: dict[int, asyncio.Future[Work | None]] = {}
        self._leaving: Leaving | None = None
        self._left: Left | None = None
        self._began = asyncio.Event()
        self._has_saved = asyncio.Event()

    async def ask_for_work(self, send: Callable[[Inquiry], None], patience_seconds: float) -> Work | None:
        """Ask what works in the process. Return None if it ends, or does not answer in time."""
        number = next(self._numbers)
        answer = self._inquiries[number] = asyncio.get_running_loop().create_future()
        send(Inquiry(number))
        try:
            async with asyncio.timeout(patience_seconds):
                work: Work | None = await answer
                return work
        except TimeoutError:
            return None
        finally:
            del self._inquiries[number]

    def receive_frame(self, frame: Work | Leaving | Exiting | Left) -> None:
        """Receive a frame of the process. Raise ProtocolError for a later step of a leave that has not begun."""
        if isinstance(frame, Work):
            answer = self._inquiries.get(frame.number)
            if answer is not None and not answer.done():
                answer.set_result(frame)
        elif isinstance(frame, Leaving):
            self._leaving = frame
            self._began.set()
        elif self._leaving is None:
            raise ProtocolError(f"{type(frame).__name__} comes before Leaving")
        elif isinstance(frame, Exiting):
            self._has_saved.set()
        else:
            self._left = frame

    def end(self) -> None:
        """End all waiting, because the process has ended."""
        self._began.set()
        self._has_saved.set()
        for answer in self._inquiries.values():
            if not answer.done():
                answer.set_result(None)

    async def wait_for_end(self, gone: asyncio.Event, patience: Patience) -> None:
        """Wait until the process is gone, or has used up the time for one of its steps."""
        steps = zip((self._began, self._has_saved, gone), patience, strict=True)
        with contextlib.suppress(TimeoutError):
            for step, seconds in steps:
                async with asyncio.timeout(seconds):
                    await step.wait()

    @property
    def ended_work(self) -> EndedWork:
        """Return what has ended with the process."""
        leaving, left = self._leaving, self._left
        if leaving is None:
            return EndedWork(notes=["its process did not begin to leave in time, and was killed"])
        notes = ["its process ended before it had left in order"] if left is None else left.notes
        return EndedWork(leaving.tasks, leaving.threads, leaving.children, leaving.connections, notes)
