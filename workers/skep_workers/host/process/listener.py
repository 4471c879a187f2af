"""What the owner of a session process receives from it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from skep_shared.isolation.session_limits import Excess
from skep_shared.protocol.frames import (
    Blob,
    Cleared,
    Display,
    Done,
    Failure,
    InputRequest,
    Notice,
    Output,
    Reply,
    Restored,
    Result,
    Saved,
    Truncated,
)

# What a cell sends while it runs, and what its tasks and threads send after it has ended.
CellOutput = Output | Truncated | Display | Cleared | InputRequest | Result | Failure | Notice
CELL_OUTPUT: Final = (Output, Truncated, Display, Cleared, InputRequest, Result, Failure, Notice)


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a session process ended.

    leftover: text found in its pipes that no frame has carried, as (stream, text). excess: the limit that the session
    had exceeded, if the process was killed for that. begun: seq of the last cell that it had begun, 0 if none.
    """

    cause: str
    leftover: tuple[tuple[str, str], ...] = ()
    excess: Excess | None = None
    begun: int = 0


class ProcessListener(Protocol):
    """The owner of a session process. A frame that can't come now makes its method raise ProtocolError."""

    def receive_output(self, frame: CellOutput) -> None:
        """Receive output of the running cell, or late output of an earlier one."""

    def receive_done(self, frame: Done) -> None:
        """Receive the end of the running cell."""

    def receive_snapshot_part(self, frame: Blob | Saved) -> None:
        """Receive a part of a snapshot; parts arrive in the order in which they count."""

    def receive_restored(self, frame: Restored) -> None:
        """Receive the result of a restore."""

    def receive_reply(self, frame: Reply) -> None:
        """Receive the answer to a request."""

    def start_ending(self, ending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start the task that completes the end of the process; the listener owns it."""

    def process_ended(self, end: ProcessEnd) -> None:
        """Receive the end of the process: once, after everything that it wrote, and after its `gone` is set."""
