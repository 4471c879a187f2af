"""Requests to the residency and not to the process: to hibernate, and to roll back to an earlier checkpoint.

Both need a session in which no cell runs or waits. A client sends them as soon as it has the outcome of the last cell.
So what the session still writes after that, such as a `checkpoint.partial` event, is waited for.
"""

import asyncio
from collections import deque
from typing import Final

from skep_shared import packed_events
from skep_shared.broker.mailbox_entries import OperationRequest
from skep_shared.broker.script_replies import Claim
from skep_shared.broker.scripts import Scripts
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.states import ResidentStep
from skep_shared.values import decode_value
from skep_workers.host.residency.departure import Departure
from skep_workers.host.residency.parts import ResidencyParts

KINDS: Final = frozenset({"hibernate", "rollback"})
TRAILING_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 2.0
MOST_WAITING: Final = 100
UNSAVED: Final = "what its last cells did is in its process alone; run a cell to try saving it again, or close it"
BUSY: Final = "cells are running or waiting: await them, or interrupt and cancel them"


class ResidencyRequests:
    """The requests to one residency; its own task answers them one after the other."""

    def __init__(self, claim: Claim, scripts: Scripts, parts: ResidencyParts, departure: Departure) -> None:
        self._claim = claim
        self._scripts = scripts
        self._parts = parts
        self._lifecycle, self._operations = parts.lifecycle, parts.operations
        self._departure = departure
        self._waiting: deque[OperationRequest] = deque()
        self._hibernations: list[OperationRequest] = []  # to be answered when the session has been released

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: OperationRequest) -> None:
        """Add a request; it is answered later, or refused at once."""
        if self._lifecycle.is_leaving and request.kind == "hibernate":
            self._hibernations.append(request)  # it loses its process anyway
        elif self._lifecycle.is_leaving:
            self._operations.add_unhandled([request])
        elif self.has_cells:
            self._operations.refuse(request, BUSY)
        elif len(self._waiting) >= MOST_WAITING:
            self._operations.refuse(request, f"{MOST_WAITING} requests are waiting already")
        else:
            self._waiting.append(request)
            self._lifecycle.notify()

    @property
    def has_cells(self) -> bool:
        """Return whether a cell runs, waits, is still to arrive, or waits for its checkpoint."""
        parts = self._parts
        return not parts.runs.is_settled or bool(parts.intake.waiting) or not parts.intake.is_complete

    def end(self, *, is_released: bool) -> None:
        """Answer what the end of the residency answers. The other requests have to be sent again."""
        unanswered = [*self._waiting]
        if is_released:
            for request in self._hibernations:
                self._operations.answer(request, None)
        else:
            unanswered += self._hibernations
        self._operations.add_unhandled(unanswered)
        self._waiting.clear()
        self._hibernations.clear()

    async def answer_next(self) -> None:
        """Carry out the first request. Raises Fenced, EventGap."""
        request = self._waiting[0]
        await self._operations.settled(ANSWER_SECONDS)  # operations that were sent before it
        if refusal := await self._settle():
            self._operations.refuse(request, refusal)
        elif request.kind == "hibernate" and (reason := self._parts.journal.unsaved):
            self._operations.refuse(request, f"{UNSAVED}: {reason}")
        elif request.kind == "hibernate":
            self._hibernations.append(request)
            self._lifecycle.hibernate("it was asked for")
        else:
            await self._roll_back(request)
        self._waiting.popleft()  # not if this raises: the residency ends, and the client sends the request again

    async def _settle(self) -> str:
        """Wait until every event of the session is written; return why the request can't be carried out, or ""."""
        try:
            async with asyncio.timeout(TRAILING_SECONDS):
                await self._parts.journal.written()
        except TimeoutError:
            return f"the events of its last cells are not written after {TRAILING_SECONDS:g} s: is Redis reachable?"
        return BUSY if self.has_cells else ""

    async def _roll_back(self, request: OperationRequest) -> None:
        """Make an earlier checkpoint the session's state: the next cell starts from it."""
        checkpoint = CheckpointId.parse(decode_value(request.payload)["checkpoint"])
        parts, refusal = self._parts, f"no checkpoint {checkpoint} is kept"
        if not parts.checkpoints.has(checkpoint):
            self._operations.refuse(request, refusal)
            return
        self._lifecycle.step(ResidentStep.ROLL_BACK)
        ended = await self._departure.end_process()
        before = await self._scripts.rehead(self._claim, parts.journal.cursor, checkpoint)
        self._lifecycle.step(ResidentStep.ROLLED_BACK)
        if before is None:
            self._operations.refuse(request, refusal)
            return
        parts.journal.roll_back(checkpoint)
        parts.checkpoints.roll_back(checkpoint)
        parts.reporter.session_event(
            packed_events.session_rolled_back,
            checkpoint=str(checkpoint),
            from_checkpoint=str(before),
            ended=ended,
        )
        self._operations.answer(request, None)
