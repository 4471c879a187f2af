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
from skep_workers.host.departure import Departure, StayParts
from skep_workers.host.operations import HostOperations, OperationRequest

KINDS: Final = frozenset({"hibernate", "rollback"})
TRAILING_SECONDS: Final = 10.0
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

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: OperationRequest, *, is_leaving: bool) -> None:
        """Take a request; it is answered later, or at once."""
        if is_leaving and request.kind == "hibernate":
            self._operations.answer(request, None)  # it gives its process up as it is
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

    def take_all(self) -> list[OperationRequest]:
        """Return what has not been answered: the stay ends."""
        left, self._waiting = list(self._waiting), deque()
        return left

    async def answer_next(self) -> None:
        """Do what the first request asks for. Raises Fenced, EventGap."""
        request = self._waiting[0]
        try:
            if refusal := await self._settle():
                self._operations.refuse(request, refusal)
            elif request.kind == "hibernate" and (reason := self._journal.unsaved):
                self._operations.refuse(request, f"{UNSAVED}: {reason}")
            elif request.kind == "hibernate":
                self._operations.answer(request, None)
                self._hibernate("it was asked for")
            else:
                self._runs.hold()
                await self._roll_back(request)
                self._runs.hold(held=False)
        finally:
            self._waiting.popleft()

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
        self._journal.head = checkpoint
        self._journal.go_on_without()
        self._reporter.session_event(
            "session.rolled_back", checkpoint=str(checkpoint), from_checkpoint=str(before), **ended.fields
        )
        self._operations.answer(request, None)
