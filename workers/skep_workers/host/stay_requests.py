"""What clients ask of a session's stay, not of its process: to hibernate, and to go back to an earlier checkpoint.

Both need a session in which no cell runs or waits. A client asks as soon as it has the outcome of the last cell; what
the session still writes after that, such as a `checkpoint.partial` event, is waited for.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.script_replies import Claim
from skep_shared.scripts import Scripts
from skep_shared.values import decode_value
from skep_workers.host.answers import OperationRequest
from skep_workers.host.departure import Departure, StayParts
from skep_workers.host.operations import HostOperations

KINDS: Final = frozenset({"hibernate", "rollback"})
TRAILING_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 2.0
MOST_WAITING: Final = 100
UNSAVED: Final = "what its last cells did is in its process alone; run a cell to try saving it again, or close it"
BUSY: Final = "cells are running or waiting: await them, or interrupt and cancel them"


class StayRequests:
    """The requests of one stay, answered one after the other by the stay's own task."""

    def __init__(
        self,
        claim: Claim,
        scripts: Scripts,
        parts: StayParts,
        operations: HostOperations,
        departure: Departure,
        hibernate: Callable[[str], None],
    ) -> None:
        """`hibernate` ends the stay, for the reason given."""
        self._claim = claim
        self._scripts = scripts
        self._intake, self._runs = parts.intake, parts.runs
        self._journal, self._reporter, self._keeping = parts.journal, parts.reporter, parts.keeping
        self._changed = parts.changed
        self._operations = operations
        self._departure = departure
        self._hibernate = hibernate
        self._waiting: deque[OperationRequest] = deque()
        self._hibernations: list[OperationRequest] = []  # to be answered when the session has been released

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: OperationRequest, *, is_leaving: bool) -> None:
        """Take a request; it is answered later, or at once."""
        if is_leaving and request.kind == "hibernate":
            self._hibernations.append(request)  # it gives its process up as it is
        elif is_leaving:
            self._operations.waiting.append(request)
        elif self.has_cells:
            self._operations.refuse(request, BUSY)
        elif len(self._waiting) >= MOST_WAITING:
            self._operations.refuse(request, f"{MOST_WAITING} requests are waiting already")
        else:
            self._waiting.append(request)
            self._changed.set()

    @property
    def has_cells(self) -> bool:
        """Return whether a cell runs, waits, is still to come in, or waits for its checkpoint."""
        return not self._runs.is_settled or bool(self._intake.waiting) or not self._intake.is_complete

    def end(self, *, is_released: bool) -> None:
        """Answer what has not been answered: the stay has ended. What it doesn't answer has to be sent again."""
        left = [*self._waiting]
        if is_released:
            for request in self._hibernations:
                self._operations.answer(request, None)
        else:
            left += self._hibernations
        self._operations.waiting += left
        self._waiting.clear()
        self._hibernations.clear()

    async def answer_next(self) -> None:
        """Do what the first request asks for. Raises Fenced, EventGap."""
        request = self._waiting[0]
        await self._operations.settled(ANSWER_SECONDS)  # what was asked before
        if refusal := await self._settle():
            self._operations.refuse(request, refusal)
        elif request.kind == "hibernate" and (reason := self._journal.unsaved):
            self._operations.refuse(request, f"{UNSAVED}: {reason}")
        elif request.kind == "hibernate":
            self._hibernations.append(request)
            self._hibernate("it was asked for")
        else:
            self._runs.hold()
            await self._roll_back(request)
            self._runs.hold(held=False)
        self._waiting.popleft()  # not if this raises: the stay ends, and its client sends it again

    async def _settle(self) -> str:
        """Wait until everything that the session has to say is written; return why that can't be awaited, or ''."""
        try:
            async with asyncio.timeout(TRAILING_SECONDS):
                await self._journal.written()
        except TimeoutError:
            return f"what its last cells said is not written after {TRAILING_SECONDS:g} s: is Redis away?"
        return BUSY if self.has_cells else ""

    async def _roll_back(self, request: OperationRequest) -> None:
        """Make an earlier checkpoint the state: the next cell starts from it."""
        checkpoint = CheckpointId.parse(decode_value(request.payload)["checkpoint"])
        refusal = f"no checkpoint {checkpoint} is kept"
        if not self._keeping.has(checkpoint):
            self._operations.refuse(request, refusal)
            return
        ended = await self._departure.end_process()
        before = await self._scripts.rehead(self._claim, self._journal.cursor, checkpoint)
        if before is None:
            self._operations.refuse(request, refusal)
            return
        self._journal.head = self._keeping.head = checkpoint
        self._journal.go_on_without()
        self._reporter.session_event(
            "session.rolled_back", checkpoint=str(checkpoint), from_checkpoint=str(before), **ended.fields
        )
        self._operations.answer(request, None)
