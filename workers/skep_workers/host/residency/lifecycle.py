"""Where one residency stands: its state, why it ends, and the wake-up of its task when something changes."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from skep_shared.broker.script_replies import Claim
from skep_shared.errors import EventGap, Fenced
from skep_shared.states import ENDED_RESIDENT, LEAVING_RESIDENT, ResidentState, ResidentStep, next_resident

_READY: Final = ResidentState.READY  # bound: it is looked up for every cell
_DRAINS: Final = frozenset({ResidentState.DRAINING, ResidentState.HIBERNATING, ResidentState.HURRIED})
_CLOSES: Final = frozenset({ResidentState.CLOSING, ResidentState.HURRIED_CLOSING})
_WAITS_FOR_NOTHING: Final = frozenset({
    ResidentState.HURRIED, ResidentState.HURRIED_CLOSING, ResidentState.HANDING_OVER, ResidentState.LOST,
    ResidentState.GAP,
})  # fmt: skip


class Lifecycle:
    """The state of one residency. Only steps of the table in `skep_shared.states` change it."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._changed = asyncio.Event()
        self._gap: EventGap | None = None
        self.state = ResidentState.CLAIMED
        self.hibernation_reason = ""  # why the session hibernates, if it does
        if claim.closing:
            self.step(ResidentStep.CLOSE)

    def step(self, step: ResidentStep) -> None:
        """Change the state by a step and wake the residency's task. Raises IllegalTransition."""
        self.state = next_resident(self.state, step)
        self._changed.set()

    def hibernate(self, reason: str) -> None:
        """Release the session while it is idle; its next cell activates it again."""
        self.hibernation_reason = reason
        self.step(ResidentStep.HIBERNATE)

    def find_gap(self, gap: EventGap) -> None:
        """Record that Redis has fewer events than this owner has written."""
        self._gap = gap
        self.step(ResidentStep.FIND_GAP)

    @property
    def is_ready(self) -> bool:
        """Return whether there is a process that may be sent cells."""
        return self.state is _READY

    @property
    def has_process_starting(self) -> bool:
        """Return whether a process is starting, and nothing ends the residency."""
        return self.state is ResidentState.STARTING

    @property
    def may_start_process(self) -> bool:
        """Return whether there is no process, and nothing ends the residency."""
        return self.state is ResidentState.CLAIMED

    @property
    def is_leaving(self) -> bool:
        """Return whether the residency is ending or has ended."""
        return self.state in LEAVING_RESIDENT or self.has_ended

    @property
    def is_draining(self) -> bool:
        """Return whether the session is to be released when what runs has ended."""
        return self.state in _DRAINS

    @property
    def is_closing(self) -> bool:
        """Return whether the session is to be closed for good."""
        return self.state in _CLOSES

    @property
    def is_hurried(self) -> bool:
        """Return whether the end of the residency waits for nothing that runs."""
        return self.state in _WAITS_FOR_NOTHING

    @property
    def is_handing_over(self) -> bool:
        """Return whether the process is killed because the worker stops, and not for what it did."""
        return self.state is ResidentState.HANDING_OVER

    @property
    def has_ended(self) -> bool:
        """Return whether the session is released or fenced."""
        return self.state in ENDED_RESIDENT

    def raise_if_lost(self) -> None:
        """Raise Fenced if another worker has the session, EventGap if Redis has fewer events than were written."""
        if self.state is ResidentState.LOST:
            raise Fenced(self._claim.session_id, self._claim.epoch + 1)
        if self.state is ResidentState.GAP and self._gap is not None:
            raise self._gap

    def notify(self) -> None:
        """Wake the residency's task: something that it waits for may have happened."""
        self._changed.set()

    def forget_changes(self) -> None:
        """Make the next `change` wait for a change after this call."""
        self._changed.clear()

    async def change(self) -> None:
        """Wait for a change since the latest `forget_changes`."""
        await self._changed.wait()

    async def next_change(self) -> None:
        """Wait for the next change."""
        self._changed.clear()
        await self._changed.wait()

    async def changes_within(self, seconds: float) -> bool:
        """Wait for the next change; return False if none came within this time."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def until(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until a condition holds, at most this long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    await self.next_change()
