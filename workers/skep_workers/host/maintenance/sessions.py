"""Keeps sessions within their bounds: some of them each minute, over and over again.

The position in the index of sessions is stored in Redis, so each run continues where the last one stopped, on whichever
worker it is. Nothing is locked: each script checks again whether its step is due. So two workers on the same page, or
one that stopped half way, do no harm.
"""

import time
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.keys import Keys
from skep_shared.broker.retention_scripts import ExpiryStatus, RetentionScripts
from skep_shared.event_codec import EVENT_FIELD, unpack_event
from skep_shared.events import CellQueued, SessionClosedEvent, event_number
from skep_shared.foreign_errors import describe_error
from skep_shared.full_ids import stored_ids
from skep_shared.settings import WorkerSettings
from skep_shared.signing import OTHER_KEY
from skep_workers.host.maintenance.bounds import FACT_FIELDS, SessionBounds, SessionFacts, Upkeep, work_on

log = structlog.get_logger()

PAGE_SESSIONS: Final = 100
TRIM_PAGE_EVENTS: Final = 5_000  # some milliseconds of the server's time
PAGE_IDS: Final = 1_000
LONGEST_SECONDS: Final = 20.0


class SessionUpkeep:
    """Keeps the sessions of a shard within their bounds."""

    def __init__(self, redis: Redis, scripts: ClientScripts, settings: WorkerSettings) -> None:
        self._redis = redis
        self._keys: Keys = scripts.keys
        self._scripts = scripts
        self._retention = RetentionScripts(redis, scripts.keys)
        self._bounds = SessionBounds.of(settings)
        self._count = settings.upkeep_sessions
        self._ends_at = 0.0

    async def run(self) -> int:
        """Check as many sessions as the settings say; return how many. Raises what the driver raises.

        Stops early at the end of the index, and when its time is over; the next run does the rest.
        """
        self._ends_at = time.monotonic() + LONGEST_SECONDS
        seconds, micros = await self._redis.time()
        now_ms = seconds * 1000 + micros / 1000
        checked, place = 0, int(await self._redis.execute_command("GET", self._keys.upkeep) or 0)
        while True:
            page = min(PAGE_SESSIONS, self._count - checked)
            place, pairs = await self._redis.zscan(self._keys.sessions, place, count=page)
            await self._check(stored_ids(name for name, _ in pairs), now_ms)
            checked += len(pairs)
            # Written after the work: if that is cut short, the next run checks the same page again.
            await self._redis.execute_command("SET", self._keys.upkeep, place)
            if not place or checked >= self._count or self._is_late:
                return checked

    @property
    def _is_late(self) -> bool:
        return time.monotonic() > self._ends_at

    async def _check(self, session_ids: list[str], now_ms: float) -> None:
        found = await self._retention.facts(session_ids, FACT_FIELDS)
        for session_id, stored in zip(session_ids, found, strict=True):
            try:
                facts = SessionFacts.read(stored.values, stored.ids, stored.expires_in)
            except ValueError as exc:  # its hash is not written by skep: continue with the others
                log.warning("upkeep.failed", session_id=session_id, work="read", error=describe_error(exc))
                continue
            for work in work_on(facts, self._bounds, now_ms):
                if self._is_late:
                    return
                try:
                    await self._do(work, session_id, facts, now_ms)
                except (ResponseError, ValueError) as exc:  # refused, or its data is foreign: continue
                    log.warning("upkeep.failed", session_id=session_id, work=str(work), error=describe_error(exc))

    async def _do(self, work: Upkeep, session_id: str, facts: SessionFacts, now_ms: float) -> None:
        match work:
            case Upkeep.EXPIRE:
                await self._expire(session_id)
            case Upkeep.CLOSE_UNUSED:
                await self._close_unused(session_id)
            case Upkeep.PURGE_CLOSED:
                await self._purge_closed(session_id, facts.last, now_ms)
            case Upkeep.TRIM_BY_COUNT:
                await self._trim(session_id, facts.floor, facts.first_to_keep(self._bounds.events))
            case Upkeep.TRIM_BY_AGE:
                oldest = now_ms - self._bounds.events_ms
                await self._trim(session_id, facts.floor, await self._first_since(session_id, facts, oldest))
            case Upkeep.FORGET_IDS:
                await self._forget(session_id)

    async def _expire(self, session_id: str) -> None:
        status = await self._retention.expire(session_id, idle_ms=int(self._bounds.idle_ms))
        if status is ExpiryStatus.CLOSED and await self._scripts.purge(session_id):
            log.info("session.expired", session_id=session_id)

    async def _close_unused(self, session_id: str) -> None:
        """Close a session that is unused for longer than its option expires_in."""
        closed = await self._scripts.close(session_id, only_unused=True)
        if closed.state in {"CLOSED", "CLOSING"}:
            log.info("session.unused", session_id=session_id, state=closed.state.lower())
        elif closed.state == "UNSIGNED":
            log.warning("upkeep.failed", session_id=session_id, work=Upkeep.CLOSE_UNUSED.value, error=OTHER_KEY)

    async def _purge_closed(self, session_id: str, last: int, now_ms: float) -> None:
        closing = await self._event(session_id, last)
        if isinstance(closing, SessionClosedEvent) and closing.at.timestamp() * 1000 < now_ms - self._bounds.closed_ms:
            await self._scripts.purge(session_id)
            log.info("session.purged", session_id=session_id)

    async def _trim(self, session_id: str, floor: int, first: int) -> None:
        has_more, before = first > floor, floor
        while has_more and not self._is_late:
            trimmed = await self._retention.trim(session_id, first, page=TRIM_PAGE_EVENTS)
            if trimmed is None:
                return
            has_more, floor = trimmed.has_more, trimmed.floor
        if floor > before:
            log.info("session.trimmed", session_id=session_id, events=floor - before, floor=floor)

    async def _first_since(self, session_id: str, facts: SessionFacts, oldest_ms: float) -> int:
        """Return the number of the first event that is younger, by binary search among those that may be trimmed."""
        low, high = facts.floor, facts.tail
        while low < high:
            middle = (low + high) // 2
            if await self._was_before(session_id, middle, oldest_ms):
                low = middle + 1
            else:
                high = middle
        return low

    async def _was_before(self, session_id: str, number: int, oldest_ms: float) -> bool:
        event = await self._event(session_id, number)
        while isinstance(event, CellQueued):  # its time is when the cell was submitted, not when the event was added
            event = await self._event(session_id, event_number(event.id) + 1)
        return event is None or event.at.timestamp() * 1000 < oldest_ms

    async def _event(self, session_id: str, number: int) -> Any:
        """Read one event; None if it has been trimmed, or was not written by skep."""
        event_id = f"{number}-0"
        for _, fields in await self._redis.xrange(self._keys.events(session_id), event_id, event_id):
            try:
                return unpack_event(session_id, event_id, fields[EVENT_FIELD])
            except (ValueError, KeyError):
                return None
        return None

    async def _forget(self, session_id: str) -> None:
        forgotten, place = 0, 0
        while not self._is_late:
            place, page = await self._redis.hscan(self._keys.ids(session_id), place, count=PAGE_IDS)
            done = [cell_id for cell_id, entry in page.items() if entry.startswith(b"d:")]
            if done:
                forgotten += await self._retention.forget(session_id, done, keep=self._bounds.cell_ids)
            if not place:
                break
        log.info("session.ids_forgotten", session_id=session_id, ids=forgotten)
