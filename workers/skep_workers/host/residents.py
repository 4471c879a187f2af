"""All the sessions that are resident on this worker: how they come, what reaches them, how they leave."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from skep_shared.errors import Fenced
from skep_shared.foreign_errors import describe_error
from skep_shared.script_replies import Claim, ClaimStatus
from skep_workers.host.awaited import all_awaited, awaited
from skep_workers.host.backoff import RETRIABLE, backoff_delays, persist
from skep_workers.host.facilities import Host
from skep_workers.host.idleness import Idleness
from skep_workers.host.intake import cell_of_entry
from skep_workers.host.operations import OperationRequest
from skep_workers.host.placement import Placement
from skep_workers.host.resident import Resident

log = structlog.get_logger()

SWEEP_PAGE: Final = 500
MOST_TOLD: Final = 20  # sessions that hold up a drain
ABANDON_SECONDS: Final = 10.0  # for interrupted cells to commit, and sessions to be given back


class Residents:
    """The residents of one worker, by session id; each runs as a task of the worker's group."""

    def __init__(self, host: Host, group: asyncio.TaskGroup, on_pending: Callable[[str], Awaitable[None]]) -> None:
        """`on_pending` asks for a session to be activated elsewhere."""
        self._host = host
        self._group = group
        self._on_pending = on_pending
        self._placement = Placement(host, lambda: len(self._residents) + len(self._claiming))
        self._arriving: set[asyncio.Task[None]] = set()
        self._looking: set[str] = set()
        self._awaited: set[str] = set()  # whose stay's end an activation waits for
        self._residents: dict[str, Resident] = {}
        self._early: dict[str, list[dict[bytes, Any]]] = {}
        self._stays: dict[str, asyncio.Task[None]] = {}
        self._claiming: dict[str, asyncio.Task[None]] = {}
        self._idleness = Idleness(host.settings, lambda: list(self._residents.values()), group)
        self._is_draining = False
        self._left = asyncio.Event()
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def __len__(self) -> int:
        return len(self._residents)

    @property
    def has_room(self) -> bool:
        """Tell whether another session may come: into a free place, or into that of one that is idle."""
        return not self._is_draining and (self._is_below_capacity or self._idleness.can_make_room)

    @property
    def _is_below_capacity(self) -> bool:
        return len(self._residents) + len(self._claiming) < self._host.settings.max_resident

    async def wait_for_room(self, seconds: float) -> None:
        """Return when a session has left, or after so many seconds."""
        self._left.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._left.wait()

    def hibernate_idle(self) -> None:
        """Begin to hibernate the sessions that have been idle for too long."""
        self._idleness.hibernate_idle()

    async def activate(self, session_id: str, *, is_placed: bool = False) -> None:
        """Make a session resident here, if nobody alive has it; harmless to repeat. Raises what the driver raises.

        is_placed: another worker has chosen this one for it.
        """
        while (resident := self._residents.get(session_id)) is not None:
            if not resident.is_leaving:
                await resident.confirm()
                return
            # It is on its way out, perhaps released already: whoever comes next claims anew. One waits for that; more,
            # since each takes a place among the few jobs at a time, would keep other sessions out.
            if session_id in self._awaited:
                return
            self._awaited.add(session_id)
            try:
                await asyncio.wait({self._stays[session_id]})
            finally:
                self._awaited.discard(session_id)
        if session_id in self._claiming:
            return
        if not is_placed and await self._placement.hand_on(session_id):
            return
        has_room = not self._is_draining and (self._is_below_capacity or await self._idleness.make_room())
        if session_id in self._residents:  # another activation was quicker: a second claim would take it from the first
            await self.activate(session_id, is_placed=is_placed)
            return
        if self._is_draining or not has_room:
            # A full worker that was chosen lets it wait: asking again at once would find this one again.
            if self._is_draining or not is_placed:
                await self._on_pending(session_id)
            return
        task = self._claiming.get(session_id)
        if task is None:
            task = self._group.create_task(self._claim(session_id), name=f"claim of {session_id}")
            self._claiming[session_id] = task
            self._all_gone.clear()
            task.add_done_callback(lambda _: self._forget_claim(session_id))
        await asyncio.shield(task)

    async def _claim(self, session_id: str) -> None:
        token = secrets.token_hex(16)
        for delay in backoff_delays():
            try:
                claim = await self._host.scripts.claim(
                    session_id, self._host.worker_id, token, has_store=self._host.store is not None
                )
            except RETRIABLE as exc:
                log.warning("claim.retry", session_id=session_id, error=describe_error(exc))
                await asyncio.sleep(delay)
                continue
            if isinstance(claim, Claim):
                self._settle(claim)
            elif claim is ClaimStatus.NOT_ALIVE:
                await asyncio.sleep(delay)  # the next heartbeat mends that
                continue
            return

    def _settle(self, claim: Claim) -> None:
        resident = Resident(self._host, claim, self._residents.get)
        self._residents[claim.session_id] = resident
        self._all_gone.clear()
        if self._is_draining:
            resident.drain()
        task = self._group.create_task(self._host_stay(resident), name=f"session {claim.session_id}")
        self._stays[claim.session_id] = task
        for fields in self._early.pop(claim.session_id, []):
            self.on_entry(fields)

    async def _host_stay(self, resident: Resident) -> None:
        pending = 0
        try:
            pending = await resident.run()
        except Exception:  # a defect of ours, or something in Redis that nobody of ours wrote: the neighbours live on
            log.exception("session.failed", session_id=resident.session_id)
            await self._give_back(resident)
        finally:
            del self._residents[resident.session_id]
            del self._stays[resident.session_id]
            self._left.set()
            self._look_who_is_left()
        if pending:
            await self._on_pending(resident.session_id)

    async def _give_back(self, resident: Resident) -> None:
        """Release a session whose stay has failed. Its first pending cell counts as lost with its owner.

        Nobody is asked to take it now, it is found waiting after a while: it may only fail again.
        """
        claim, release = resident.claim, self._host.scripts.release
        with contextlib.suppress(Fenced):
            await persist(lambda: release(claim, self._host.worker_id, was_started=True), "give back")

    def _forget_claim(self, session_id: str) -> None:
        self._claiming.pop(session_id, None)
        self._early.pop(session_id, None)
        self._look_who_is_left()

    def _look_who_is_left(self) -> None:
        # A claim whose answer is still to come may have made this worker the owner: what it brings is given back, too.
        if not self._residents and not self._claiming:
            self._all_gone.set()

    def on_entry(self, fields: dict[bytes, Any]) -> None:
        """Take a mailbox entry; one for a session that isn't here is passed over, its stream has the cell."""
        try:
            self._hand_on(fields)
        except (KeyError, ValueError) as exc:  # of another version, or nobody of ours wrote it; a hint at most
            log.warning("mailbox.malformed", error=describe_error(exc))

    def _hand_on(self, fields: dict[bytes, Any]) -> None:
        session_id = fields[b"s"].decode()
        if fields[b"k"] == b"activate":
            self.take_in(session_id)
            return
        resident = self._residents.get(session_id)
        if resident is None:
            if session_id in self._claiming:  # claimed already, perhaps, and the answer is still on its way
                self._early.setdefault(session_id, []).append(fields)
            elif fields[b"k"] in {b"cell", b"wake", b"close"}:
                # It was given back meanwhile; or Redis went back to when it was here, and nobody else will take it.
                self.take_in(session_id)
            return
        if fields[b"k"] in {b"cell", b"wake"} and int(fields[b"q"]) <= resident.intake.known:
            self._begin_look(session_id)  # it comes late; or Redis went back, and the number is another cell's now
        match fields[b"k"]:
            case b"cell":
                resident.intake.offer(*cell_of_entry(fields))
            case b"wake":
                resident.intake.expect(int(fields[b"q"]))
            case b"interrupt":
                resident.interrupt(int(fields[b"q"]))
            case b"cancel":
                resident.cancel(int(fields[b"q"]))
            case b"answer":
                resident.answer(fields[b"x"].decode() if b"x" in fields else None)
            case b"operate":
                resident.operate(OperationRequest.of_entry(fields))
            case b"close":
                resident.close()
            case kind:
                log.warning("mailbox.unknown", kind=kind.decode("utf-8", "replace"))

    def take_in(self, session_id: str) -> None:
        """Begin to activate a session here, which another worker has sent or nobody can be asked to take."""
        task = self._group.create_task(self._arrive(session_id), name=f"arrival of {session_id}")
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _arrive(self, session_id: str) -> None:
        try:
            await self.activate(session_id, is_placed=True)
        except RETRIABLE as exc:
            # It is still waiting, and named again to whoever asks.
            log.warning("arrival.failed", session_id=session_id, error=describe_error(exc))

    def _begin_look(self, session_id: str) -> None:
        """Ask Redis about one session, once at a time."""
        if session_id not in self._looking:
            self._looking.add(session_id)
            task = self._group.create_task(self._look(session_id), name=f"look at {session_id}")
            task.add_done_callback(lambda _: self._looking.discard(session_id))

    async def _look(self, session_id: str) -> None:
        with contextlib.suppress(*RETRIABLE):  # the sweep will ask again
            await self._compare([session_id])

    async def sweep(self) -> None:
        """Ask Redis how far each session is and whose: makes up for lost wake-ups, finds lost sessions and strays."""
        ids = list(self._residents)
        for start in range(0, len(ids), SWEEP_PAGE):
            await self._compare(ids[start : start + SWEEP_PAGE])
        owned_key = self._host.scripts.keys.owned(self._host.worker_id)
        owned = await self._host.redis.execute_command("SMEMBERS", owned_key)
        for session_id in sorted(name.decode() for name in owned):
            # Redis says that this worker has it: it went back to when that was so. Nobody else may claim it.
            if session_id not in self._residents and session_id not in self._claiming:
                self.take_in(session_id)

    async def _compare(self, ids: list[str]) -> None:
        # Before the question: what Redis says must not be behind what was known then.
        marks = {name: resident.mark for name in ids if (resident := self._residents.get(name)) is not None}
        differing = await self._host.scripts.compare(marks) if marks else {}
        for session_id, (there, is_closing) in differing.items():
            resident, mark = self._residents.get(session_id), marks[session_id]
            if resident is not None and resident.mark.token == mark.token:
                if there.token == mark.token and there.seq > mark.seq:
                    await resident.confirm()  # it may begin a cell that was submitted while it counted as dead
                resident.check(there, mark, closing=is_closing)

    def ping(self) -> None:
        """Ask the processes that run a cell for a sign of life."""
        now = time.monotonic()
        for resident in list(self._residents.values()):
            resident.ping(now)

    async def drain(self, grace_seconds: float) -> None:
        """Send every session away: what runs may end within the grace period, then it is interrupted."""
        self._is_draining = True
        for resident in list(self._residents.values()):
            resident.drain()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._all_gone.wait()
        except TimeoutError:
            self.hurry()
        try:
            async with asyncio.timeout(ABANDON_SECONDS):
                await self._all_gone.wait()
        except TimeoutError:
            # Redis is away, so nothing can be given back: when the lease has run out, others take it.
            for session_id, resident in list(self._residents.items())[:MOST_TOLD]:
                stay = awaited(self._stays[session_id])
                log.error("drain.stuck", session_id=session_id, stay=stay, tasks=resident.waits_for())
            log.error("drain.abandoned", resident=len(self._residents), claiming=all_awaited(self._claiming.values()))
            for task in [*self._stays.values(), *self._claiming.values()]:
                task.cancel()
            await self._all_gone.wait()

    def hurry(self) -> None:
        """End the grace period now."""
        for resident in list(self._residents.values()):
            resident.hurry()
