"""Keeps sessions within their bounds: a page of them each minute, round and round.

How far a round has come stands in Redis, so whichever worker is asked goes on there. Nothing is locked: what is done
is checked again in the script that does it, so two workers at the same page, or one that stopped half way, do no harm.
"""

import time
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from skep_shared.client_scripts import ClientScripts
from skep_shared.event_codec import EVENT_FIELD, unpack_event
from skep_shared.events import CellQueued, SessionClosedEvent, event_number
from skep_shared.foreign_errors import describe_error
from skep_shared.keys import Keys
from skep_shared.retention_scripts import ExpiryStatus, RetentionScripts
from skep_shared.settings import WorkerSettings
from skep_workers.host.session_bounds import FACT_FIELDS, SessionBounds, SessionFacts, Upkeep, work_on

log = structlog.get_logger()

PAGE_SESSIONS: Final = 100
TRIM_PAGE_EVENTS: Final = 5_000  # some milliseconds of the server's time
PAGE_IDS: Final = 1_000
LONGEST_SECONDS: Final = 20.0


class SessionUpkeep:
    """Looks after the sessions of a shard."""

    def __init__(self, redis: Redis, scripts: ClientScripts, settings: WorkerSettings) -> None:
        self._redis = redis
        self._keys: Keys = scripts.keys
        self._scripts = scripts
        self._retention = RetentionScripts(redis, scripts.keys)
        self._bounds = SessionBounds.of(settings)
        self._count = settings.upkeep_sessions
        self._ends_at = 0.0

    async def run(self) -> int:
        """Look at as many sessions as the settings say; gives how many. Raises what the driver raises.

        It stops early at the end of the index, and when its time is over: what is left comes next time.
        """
        self._ends_at = time.monotonic() + LONGEST_SECONDS
        seconds, micros = await self._redis.time()
        now_ms = seconds * 1000 + micros / 1000
        looked_at, place = 0, int(await self._redis.execute_command("GET", self._keys.upkeep) or 0)
        while True:
            page = min(PAGE_SESSIONS, self._count - looked_at)
            place, pairs = await self._redis.zscan(self._keys.sessions, place, count=page)
            await self._look_at([name.decode() for name, _ in pairs], now_ms)
            looked_at += len(pairs)
            # Written after the work: should it have been cut short, the same page comes again.
            await self._redis.execute_command("SET", self._keys.upkeep, place)
            if not place or looked_at >= self._count or self._is_late:
                return looked_at

    @property
    def _is_late(self) -> bool:
        return time.monotonic() > self._ends_at

    async def _look_at(self, session_ids: list[str], now_ms: float) -> None:
        found = await self._retention.facts(session_ids, FACT_FIELDS)
        for session_id, (values, ids) in zip(session_ids, found, strict=True):
            facts = SessionFacts.read(dict(zip(FACT_FIELDS, values, strict=True)), ids)
            for work in work_on(facts, self._bounds, now_ms):
                if self._is_late:
                    return
                try:
                    await self._do(work, session_id, facts, now_ms)
                except ResponseError as exc:  # the server's word about this session: the others are not to wait for it
                    log.warning("upkeep.failed", session_id=session_id, work=str(work), error=describe_error(exc))

    async def _do(self, work: Upkeep, session_id: str, facts: SessionFacts, now_ms: float) -> None:
        match work:
            case Upkeep.EXPIRE:
                await self._expire(session_id)
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
        """Give the number of the first event that is younger, among those that may go, by halving."""
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
        while isinstance(event, CellQueued):  # its time is that of the submit; the next one's is of when it was said
            event = await self._event(session_id, event_number(event.id) + 1)
        return event is None or event.at.timestamp() * 1000 < oldest_ms

    async def _event(self, session_id: str, number: int) -> Any:
        """Read one event; None if it is gone, or nobody of ours wrote it."""
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
