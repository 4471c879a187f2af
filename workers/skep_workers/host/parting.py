"""What a session process says about its own work and its end: asked whether it works, asked to leave."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from skep_shared.errors import ProtocolError
from skep_shared.frames import Exiting, Inquiry, Leaving, Left, Work


class Patience(NamedTuple):
    """How long a process that is to leave may take until it begins to, for its last state, and for exit handlers.

    It begins as soon as its main thread comes back to the engine, which a callback of the event loop may hold up.
    """

    begin_seconds: float = 5.0
    save_seconds: float = 60.0
    exit_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended with a process that left. notes: what went wrong while it did."""

    tasks: list[str] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, Any]:
        """Return what an event says of it: only what there is."""
        said = {name: getattr(self, name) for name in ("tasks", "threads", "children", "connections", "notes")}
        return {name: value for name, value in said.items() if value}


class Parting:
    """The conversation about one process's work and end."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Work | None]] = {}
        self._leaving: Leaving | None = None
        self._left: Left | None = None
        self._began = asyncio.Event()
        self._has_saved = asyncio.Event()

    async def ask(self, send: Callable[[Inquiry], None], patience_seconds: float) -> Work | None:
        """Ask what works in the process; return None if it does not answer in time, or ends."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        send(Inquiry(number))
        try:
            async with asyncio.timeout(patience_seconds):
                work: Work | None = await answer
                return work
        except TimeoutError:
            return None
        finally:
            del self._asked[number]

    def take(self, frame: Work | Leaving | Exiting | Left) -> None:
        """Take a frame of the process. Raises ProtocolError for the end of a leave that has not begun."""
        if isinstance(frame, Work):
            answer = self._asked.get(frame.number)
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
        """Let no one wait any longer: the process has ended."""
        self._began.set()
        self._has_saved.set()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_result(None)

    async def is_over(self, gone: asyncio.Event, patience: Patience) -> None:
        """Wait until the process is gone, or has used up the time for one of its steps."""
        steps = zip((self._began, self._has_saved, gone), patience, strict=True)
        with contextlib.suppress(TimeoutError):
            for step, seconds in steps:
                async with asyncio.timeout(seconds):
                    await step.wait()

    @property
    def ended(self) -> Ended:
        """Return what has ended with the process."""
        leaving, left = self._leaving, self._left
        if leaving is None:
            return Ended(notes=["its process did not begin to leave in time, and was killed"])
        notes = ["its process ended before it had left in order"] if left is None else left.notes
        return Ended(leaving.tasks, leaving.threads, leaving.children, leaving.connections, notes)
