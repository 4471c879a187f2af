"""All sessions that are resident on this worker: how they are activated, receive mailbox entries, and leave."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from skep_shared.broker.mailbox_entries import (
    ActivateSession,
    CancelCell,
    CellsSubmitted,
    CloseSession,
    InputAnswer,
    InterruptCell,
    MailboxEntry,
    Operate,
    RefusedRequest,
    SubmittedCell,
    UnknownEntry,
    UpdateSession,
)
from skep_shared.broker.redis_client.redis_errors import is_script_failure
from skep_shared.broker.script_replies import Claim, ClaimStatus
from skep_shared.errors import Fenced, SkepError
from skep_shared.foreign_errors import describe_error
from skep_shared.full_ids import stored_ids, tenant_of
from skep_shared.limits import check_full_session_id
from skep_workers.host.broker.backoff import RETRIABLE, backoff_delays, persist
from skep_workers.host.idleness import Idleness
from skep_workers.host.placement import Placement
from skep_workers.host.quota_waits import QuotaWaits
from skep_workers.host.residency.context import Host
from skep_workers.host.residency.resident import Resident
from skep_workers.host.residency.stuck_tasks import all_awaited, awaited

log = structlog.get_logger()

SWEEP_PAGE: Final = 500
MOST_LOGGED: Final = 20  # sessions that delay a drain
WEAKER_HERE: Final = "the session asks for a stronger sandbox than this worker's"
ABANDON_SECONDS: Final = 10.0  # for ended cells to commit and sessions to be released, after the grace period


class Residents:
    """The residents of one worker, by session id; each runs as a task of the worker's group."""

    def __init__(self, host: Host, group: asyncio.TaskGroup, on_pending: Callable[[str], Awaitable[None]]) -> None:
        """`on_pending` requests that a session be activated elsewhere."""
        self._host = host
        self._group = group
        self._on_pending = on_pending
        self._placement = Placement(host, lambda: len(self._residents) + len(self._claiming))
        self._arriving: set[asyncio.Task[None]] = set()  # activations that no job of arq's runs
        self._comparing: set[str] = set()
        self._awaited: set[str] = set()  # sessions for the end of whose residency an activation waits
        self._residents: dict[str, Resident] = {}
        self._early: dict[str, list[MailboxEntry]] = {}  # entries for sessions that are being claimed
        self._residencies: dict[str, asyncio.Task[None]] = {}
        self._claiming: dict[str, asyncio.Task[None]] = {}
        self._idleness = Idleness(host.settings, lambda: list(self._residents.values()), group)
        self._quota_waits = QuotaWaits()
        self._is_draining = False
        self._left = asyncio.Event()
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def __len__(self) -> int:
        return len(self._residents)

    @property
    def has_room(self) -> bool:
        """Return whether another session may be activated: there is room, or an idle session can be released."""
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

    @property
    def shortest_idle_seconds(self) -> float:
        """The shortest of the idle times after which sessions of this worker hibernate."""
        return self._idleness.shortest_seconds

    def hibernate_idle(self) -> None:
        """Begin to hibernate the sessions that have been idle for too long."""
        self._idleness.hibernate_idle()

    async def activate(self, session_id: str, *, is_placed: bool = False) -> None:
        """Make a session resident here, unless a live worker has it; harmless to repeat.

        is_placed: another worker has chosen this one for it. Raises InvalidArgument for an id that no client may use,
        ValueError if what Redis has of the session is not written by skep, and what the driver raises.
        """
        check_full_session_id(session_id)  # it becomes the name of a directory
        while (resident := self._residents.get(session_id)) is not None:
            if not resident.is_leaving:
                await resident.confirm()
                return
            # Its residency is ending, and then it has to be claimed again. Only one activation waits for that: each
            # occupies one of the few jobs that run at a time, so more would keep other sessions out.
            if session_id in self._awaited:
                return
            self._awaited.add(session_id)
            try:
                await asyncio.wait({self._residencies[session_id]})
            finally:
                self._awaited.discard(session_id)
        if session_id in self._claiming:
            return
        if not is_placed and await self._placement.send_elsewhere(session_id):
            return
        has_room = not self._is_draining and (self._is_below_capacity or await self._idleness.make_room())
        if session_id in self._residents:  # another activation was faster; a second claim would end that residency
            await self.activate(session_id, is_placed=is_placed)
            return
        if self._is_draining or not has_room:
            # A full worker that was chosen lets the session wait: another request now would choose this one again.
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
        try:
            await self._try_to_claim(session_id)
        except Exception:  # foreign data in Redis, or a defect: other sessions continue
            # Its cells wait. As its owner, this worker tries again with each sweep.
            log.exception("claim.failed", session_id=session_id)

    async def _try_to_claim(self, session_id: str) -> None:
        token = secrets.token_hex(16)
        for delay in backoff_delays():
            try:
                host, has_store = self._host, self._host.store is not None
                claim = await host.scripts.claim(
                    session_id, host.worker_id, token, has_store=has_store, sandbox=host.sandbox
                )
                is_closing = isinstance(claim, Claim) and claim.closing
                if isinstance(claim, Claim):
                    claim = await self._host.signed_requests.proven(claim)
            except RETRIABLE as exc:
                if is_script_failure(exc):
                    raise
                log.warning("claim.retry", session_id=session_id, error=describe_error(exc))
                await asyncio.sleep(delay)
                continue
            if isinstance(claim, Claim):
                self._start_residency(claim)
                if is_closing and not claim.closing:
                    self._begin_comparison(session_id)  # which reopens the session
            elif claim is ClaimStatus.NOT_ALIVE:
                await asyncio.sleep(delay)  # until the next heartbeat
                continue
            elif claim is ClaimStatus.QUOTA:
                await self._make_room_for(session_id)
            elif claim is ClaimStatus.WEAKER:  # it waits on, and the next search for waiting sessions has it placed
                log.warning("claim.refused", session_id=session_id, sandbox=self._host.sandbox, reason=WEAKER_HERE)
            return

    async def _make_room_for(self, session_id: str) -> None:
        """Hibernate an idle session of the same tenant, whose quota of resident sessions is used up.

        The session waits on, and is tried again when one of them leaves. The next search for waiting sessions finds it
        too, and another worker may have an idle one.
        """
        self._quota_waits.add(session_id)
        has_room = await self._idleness.make_room(tenant_of(session_id))
        log.info("session.over_quota", session_id=session_id, quota="max_resident", is_one_leaving=has_room)

    def _start_residency(self, claim: Claim) -> None:
        resident = Resident(self._host, claim, self._residents.get)
        self._residents[claim.session_id] = resident
        self._all_gone.clear()
        if self._is_draining:
            resident.drain()
        task = self._group.create_task(self._run_resident(resident), name=f"session {claim.session_id}")
        self._residencies[claim.session_id] = task
        for entry in self._early.pop(claim.session_id, []):
            self.receive_entry(entry)

    async def _run_resident(self, resident: Resident) -> None:
        pending = 0
        try:
            pending = await resident.run()
        except Exception:  # a defect, or foreign data in Redis: other sessions continue
            log.exception("session.failed", session_id=resident.session_id)
            await self._release_failed(resident)
        finally:
            del self._residents[resident.session_id]
            del self._residencies[resident.session_id]
            self._left.set()
            self._check_whether_empty()
        if pending:
            await self._on_pending(resident.session_id)
        following = self._quota_waits.pop_next(tenant_of(resident.session_id))
        if following is not None and not self._is_draining:
            self.begin_activation(following)

    async def _release_failed(self, resident: Resident) -> None:
        """Release a session whose residency has failed. Its first pending cell counts as lost with its owner.

        No activation is requested, since it may fail again at once; a worker finds the waiting session after a while.
        """
        claim, release = resident.claim, self._host.scripts.release
        try:
            await persist(lambda: release(claim, self._host.worker_id, was_started=True), "release")
        except Fenced:
            pass
        except SkepError as exc:  # it can't be released: it has another owner when this worker has ended
            log.error("session.not_released", session_id=resident.session_id, error=describe_error(exc))

    def _forget_claim(self, session_id: str) -> None:
        self._claiming.pop(session_id, None)
        for entry in self._early.pop(session_id, []):
            if isinstance(entry, Operate | RefusedRequest):  # the claim failed: the session has another owner, or none
                self.receive_entry(entry)
        self._check_whether_empty()

    def _check_whether_empty(self) -> None:
        # A claim that has no answer yet may have made this worker the owner; then that session is released, too.
        if not self._residents and not self._claiming:
            self._all_gone.set()

    def receive_entry(self, entry: MailboxEntry) -> None:
        """Receive a mailbox entry. For a session that is not resident here, an operation is returned to its client."""
        resident = self._residents.get(entry.session_id)
        if resident is None or isinstance(entry, ActivateSession):
            self._receive_for_absent(entry)
            return
        match entry:
            case SubmittedCell():
                self._check_announced(resident, entry.seq)
                resident.intake.offer(entry)
            case CellsSubmitted():
                self._check_announced(resident, entry.seq)
                resident.intake.expect(entry.seq)
            case InterruptCell() | CancelCell() if not resident.is_cell(entry.seq, entry.cell_id):
                resident.report_refusal(f"request for cell {entry.cell_id!r}", f"cell {entry.seq} is another one")
            case InterruptCell():
                resident.interrupt(entry.seq)
            case CancelCell():
                resident.cancel(entry.seq)
            case InputAnswer():
                resident.answer(entry.text)
            case Operate():
                resident.operate(entry.request)
            case CloseSession():
                resident.close()
            case UpdateSession():
                resident.idle_seconds = entry.idle_seconds
                self._idleness.hibernate_idle()
            case RefusedRequest(kind="close"):
                self._begin_comparison(entry.session_id)  # which reopens the session
            case RefusedRequest():
                resident.report_refusal(entry.what, entry.reason)
                self._answer_refused(entry)
            case UnknownEntry():
                log.warning("mailbox.unknown", kind=entry.kind)

    def _receive_for_absent(self, entry: MailboxEntry) -> None:
        """Receive an entry for a session that is not resident here, or that is to be activated here."""
        session_id = entry.session_id
        match entry:
            case ActivateSession():
                self.begin_activation(session_id)
            case _ if session_id in self._claiming:  # the claim may have succeeded, and its answer be on its way
                self._early.setdefault(session_id, []).append(entry)
            case SubmittedCell() | CellsSubmitted() | CloseSession():
                # It was released meanwhile; or Redis has lost writes and takes this worker for its owner, so that no
                # other worker may claim it.
                self.begin_activation(session_id)
            case Operate():
                self._host.answers.send_back(entry.request)
            case RefusedRequest():
                self._answer_refused(entry)

    def _answer_refused(self, refused: RefusedRequest) -> None:
        if refused.operation is not None:
            self._host.answers.refuse_signature(refused.operation, refused.what, refused.reason)

    def _check_announced(self, resident: Resident, seq: int) -> None:
        """Compare the session with Redis if a new cell's number is one that it has already."""
        if seq <= resident.intake.known:
            # The entry is late; or Redis has lost writes, and the number belongs to another cell now.
            self._begin_comparison(resident.session_id)

    def begin_activation(self, session_id: str) -> None:
        """Begin to activate a session here that another worker has sent, or that no other worker can activate."""
        task = self._group.create_task(self._arrive(session_id), name=f"arrival of {session_id}")
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _arrive(self, session_id: str) -> None:
        try:
            await self.activate(session_id, is_placed=True)
        except RETRIABLE as exc:
            # It still waits, and the next search for waiting sessions finds it.
            log.warning("arrival.failed", session_id=session_id, error=describe_error(exc))
        except Exception:  # foreign data in Redis, or a defect: other sessions continue
            log.exception("arrival.failed", session_id=session_id)

    def _begin_comparison(self, session_id: str) -> None:
        """Compare one session with Redis, once at a time."""
        if session_id not in self._comparing:
            self._comparing.add(session_id)
            task = self._group.create_task(self._compare_one(session_id), name=f"comparison of {session_id}")
            task.add_done_callback(lambda _: self._comparing.discard(session_id))

    async def _compare_one(self, session_id: str) -> None:
        with contextlib.suppress(*RETRIABLE):  # the next sweep compares it again
            await self._compare([session_id])

    async def sweep(self) -> None:
        """Compare each session with Redis: finds missed cells, lost sessions, and sessions that should be here."""
        ids = list(self._residents)
        for start in range(0, len(ids), SWEEP_PAGE):
            await self._compare(ids[start : start + SWEEP_PAGE])
        owned_key = self._host.scripts.keys.owned(self._host.worker_id)
        owned = await self._host.redis.execute_command("SMEMBERS", owned_key)
        for session_id in sorted(stored_ids(owned)):
            # Redis takes this worker for its owner, since it has lost later writes. No other worker may claim it.
            if session_id not in self._residents and session_id not in self._claiming:
                self.begin_activation(session_id)

    async def _compare(self, ids: list[str]) -> None:
        # Read before Redis is asked: its answer must not be behind these marks.
        marks = {name: resident.mark for name in ids if (resident := self._residents.get(name)) is not None}
        differing = await self._host.scripts.compare(marks) if marks else {}
        for session_id, (stored, is_closing) in differing.items():
            is_signed = not is_closing or await self._host.signed_requests.is_close_signed(session_id)
            resident, mark = self._residents.get(session_id), marks[session_id]
            if resident is not None and resident.mark.token == mark.token:
                if stored.token == mark.token and stored.seq > mark.seq:
                    await resident.confirm()  # cells may have been submitted while this worker counted as dead
                resident.check(stored, mark, closing=is_closing and is_signed)
                if not is_signed:
                    await resident.refuse_close()

    def ping(self) -> None:
        """Send a ping to each process that runs a cell."""
        now = time.monotonic()
        for resident in list(self._residents.values()):
            resident.ping(now)

    async def drain(self, grace_seconds: float) -> None:
        """Release every session. Running cells may end within the grace period; the rest is left to the next owners."""
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
            # Redis is unreachable, so nothing can be released: when the lease has expired, other workers claim it.
            for session_id, resident in list(self._residents.items())[:MOST_LOGGED]:
                residency = awaited(self._residencies[session_id])
                log.error("drain.stuck", session_id=session_id, residency=residency, tasks=resident.waits_for())
            log.error("drain.abandoned", resident=len(self._residents), claiming=all_awaited(self._claiming.values()))
            for task in [*self._residencies.values(), *self._claiming.values()]:
                task.cancel()
            await self._all_gone.wait()

    def hurry(self) -> None:
        """End the grace period now."""
        for resident in list(self._residents.values()):
            resident.hurry()
