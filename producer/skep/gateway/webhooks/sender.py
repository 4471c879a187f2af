"""Sends the events of one webhook, as the only process that does so: it holds the webhook's lease.

At its start it looks at all sessions, later at those that have changed or that still have events to send. The events
of a session are sent one after the other, each until it is accepted; sessions do not wait for each other. A cursor
moves in the step that checks the lease. So every event is accepted at least once, in order; one whose acceptance could
not be recorded is sent again.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from skep.gateway.webhooks.definition import Webhook
from skep.gateway.webhooks.delivery import Answer, Poster
from skep.gateway.webhooks.messages import message_of
from skep.gateway.webhooks.retries import Failure, next_failure, why_disabled
from skep.gateway.webhooks.session_changes import SessionChanges
from skep.gateway.webhooks.settings import WebhookSettings
from skep.gateway.webhooks.signature import signed_headers
from skep.gateway.webhooks.store import cursor_text, read_cursor
from skep.link import ShardLink
from skep.listings.index_pages import index_pages, read_each
from skep.reader import stored_events
from skep_shared.broker.redis_client.redis_errors import REDIS_ERRORS
from skep_shared.broker.webhook_scripts import Progress, WebhookScripts
from skep_shared.events import Event, event_number
from skep_shared.models import SessionOptions

EVENTS_A_ROUND: Final = 100  # of one session, so that the others get their turn
EVENTS_PASSED: Final = 1_000  # that are not sent, after which the cursor is moved
CLEAN_SECONDS: Final = 3600.0
SPARE_CURSORS: Final = 1_000  # of sessions that are gone; beyond that they are removed
PAGE: Final = 200
LEASE_PART: Final = 0.8  # after this part of a lease without a renewal, nothing more is sent


class LeaseLost(Exception):
    """Another process sends for the webhook now, or it was changed or removed."""


class Disabled(Exception):
    """The webhook has been disabled."""


@dataclass(frozen=True, slots=True)
class Due:
    """A session with events to send, and the try that failed before."""

    full_id: str
    created_at_ms: int
    cursor: int
    last: int
    failure: Failure | None


class Sender:
    """Sends for one webhook until its lease is lost, or it is disabled."""

    def __init__(
        self,
        link: ShardLink,
        poster: Poster,
        changes: SessionChanges,
        settings: WebhookSettings,
        *,
        webhook: Webhook,
        token: str,
    ) -> None:
        """`token`: what this process has in the webhook's lease."""
        self._link = link
        self._changes = changes
        self._poster = poster
        self._settings = settings
        self._webhook = webhook
        self._token = token
        self._scripts = WebhookScripts(link.redis, link.keys)
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._in_delivery: set[str] = set()
        self._pending: dict[str, None] = {}  # in order
        self._has_pending = asyncio.Event()
        self._retry_at: dict[str, float] = {}  # Unix times

    async def run(self) -> None:
        """Send until the lease is lost or the webhook is disabled. Raises RedisUnavailable and RedisRefused."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._renew(), name=f"lease of webhook {self._webhook.full_name}")
                group.create_task(self._send(), name=f"deliveries of webhook {self._webhook.full_name}")
        except* (LeaseLost, Disabled):
            pass

    async def release(self) -> None:
        """End the lease, so that another process can send at once."""
        with contextlib.suppress(*REDIS_ERRORS):  # it ends by itself
            await self._scripts.renew(self._webhook.full_name, self._token, 0)

    async def _renew(self) -> None:
        lease_seconds = self._settings.lease_seconds
        ends_at = time.monotonic() + lease_seconds * LEASE_PART
        while True:
            await asyncio.sleep(lease_seconds / 4)
            asked_at = time.monotonic()
            with contextlib.suppress(*REDIS_ERRORS):
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(0.0, ends_at - asked_at)):
                    if not await self._scripts.renew(self._webhook.full_name, self._token, int(lease_seconds * 1000)):
                        raise LeaseLost
                    ends_at = asked_at + lease_seconds * LEASE_PART
            if time.monotonic() >= ends_at:
                raise LeaseLost

    async def _confirm_lease(self) -> None:
        """Raise LeaseLost if the webhook was changed or removed: then nothing more may be sent as it was."""
        name, lease_ms = self._webhook.full_name, int(self._settings.lease_seconds * 1000)
        if not await self._link.persist(lambda: self._scripts.renew(name, self._token, lease_ms)):
            raise LeaseLost

    async def _send(self) -> None:
        index = self._link.keys.sessions_of(self._webhook.tenant) if self._webhook.tenant else self._link.keys.sessions
        with self._changes.listened(self._note_change):
            async for full_ids in index_pages(self._link, index):
                for full_id in full_ids:
                    self._note_change(full_id)
            cleaned_at = -math.inf
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._wait_for_pending()
                    if time.monotonic() - cleaned_at >= CLEAN_SECONDS:
                        await self._remove_old_cursors(index)
                        cleaned_at = time.monotonic()
                    for page in self._take_pending():
                        for due in await self._find_due(page):
                            await self._slots.acquire()
                            self._in_delivery.add(due.full_id)
                            group.create_task(self._deliver(due), name=f"deliveries of {due.full_id}")
                    await asyncio.sleep(self._settings.poll_seconds)

    async def _wait_for_pending(self) -> None:
        """Wait until sessions have changed, or until the next try of one is due."""
        while True:
            now = time.time()
            for full_id in [each for each, retry_at in self._retry_at.items() if retry_at <= now]:
                del self._retry_at[full_id]
                self._note_change(full_id)
            if self._has_pending.is_set():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll_seconds if self._retry_at else None):
                    await self._has_pending.wait()

    def _note_change(self, full_id: str) -> None:
        if self._webhook.wants_session(full_id):
            self._pending[full_id] = None
            self._has_pending.set()

    def _take_pending(self) -> list[list[str]]:
        """Return the pending sessions, in pages; one that changes or still has events to send becomes pending again."""
        full_ids = list(self._pending)
        self._pending.clear()
        self._has_pending.clear()
        return [full_ids[start : start + PAGE] for start in range(0, len(full_ids), PAGE)]

    async def _find_due(self, page: Sequence[str]) -> list[Due]:
        """Return the sessions with events after their cursors, unless they wait for the next try or are in delivery."""
        # Only this task adds sessions to those in delivery: the cursors that are read here can't be outdated.
        full_ids = [full_id for full_id in page if full_id not in self._in_delivery]
        if not full_ids:
            return []
        keys, name = self._link.keys, self._webhook.full_name
        cursors, failures, *rows = await read_each(
            self._link,
            [
                ("HMGET", keys.webhook_cursors(name), *full_ids),
                ("HMGET", keys.webhook_failures(name), *full_ids),
                *(("HMGET", keys.session(each), "last", "created_at") for each in full_ids),
            ],
        )
        found = []
        for full_id, stored, packed, (last, created_at) in zip(full_ids, cursors, failures, rows, strict=True):
            if created_at is None:
                continue
            cursor = read_cursor(stored, int(created_at))
            if int(last or 0) == cursor:  # less is not equal: then Redis has gone back to an earlier state
                continue
            failure = None if packed is None else Failure.unpack(packed)
            if failure is not None and failure.next_at > time.time():
                self._retry_at[full_id] = failure.next_at
                continue
            found.append(Due(full_id, int(created_at), cursor, int(last or 0), failure))
        return await self._with_labels(found) if self._webhook.labels else found

    async def _with_labels(self, found: Sequence[Due]) -> list[Due]:
        """Return the sessions that have the labels, and record that nothing is to be sent of the others."""
        packed = await read_each(
            self._link, [("HGET", self._link.keys.session(due.full_id), "options") for due in found]
        )
        labels = [SessionOptions.unpack(options or b"").labels for options in packed]
        is_wanted = [self._webhook.has_labels(each) for each in labels]
        await self._record(
            [
                Progress(due.full_id, cursor_text(due.last, due.created_at_ms))
                for due, wanted in zip(found, is_wanted, strict=True)
                if not wanted
            ]
        )
        return [due for due, wanted in zip(found, is_wanted, strict=True) if wanted]

    async def _deliver(self, due: Due) -> None:
        """Send events of a session, in a slot that is free afterwards."""
        try:
            await self._confirm_lease()
            await self._send_events(due)
        finally:
            self._in_delivery.discard(due.full_id)
            self._slots.release()
            self._note_change(due.full_id)  # there may be more to send

    async def _send_events(self, due: Due) -> None:
        """Send events of a session until one is not accepted, or until there are enough for this round."""
        sent, passed, recorded = 0, due.cursor, due.cursor
        pages = cast("AsyncGenerator[Event, None]", stored_events(self._link, due.full_id, due.cursor))
        async with contextlib.aclosing(pages) as events:
            async for event in events:
                number = event_number(event.id)
                if self._webhook.wants_kind(event.kind):
                    answer = await self._post(due, event)
                    if answer.failure:
                        await self._record_failure(due, passed, number, answer)
                        return
                    sent += 1
                passed = number
                if self._webhook.wants_kind(event.kind) or passed - recorded >= EVENTS_PASSED:
                    await self._record([self._progress(due, passed)])
                    recorded = passed
                if sent >= EVENTS_A_ROUND:
                    return
        if passed != recorded:
            await self._record([self._progress(due, passed)])

    async def _post(self, due: Due, event: Event) -> Answer:
        message = message_of(self._webhook, due.full_id, due.created_at_ms, event)
        headers = signed_headers(self._webhook.secret, message.id, message.body, at=time.time())
        return await self._poster.post(self._webhook.url, headers, message.body)

    async def _record_failure(self, due: Due, passed: int, number: int, answer: Answer) -> None:
        """Record when the event is sent again, or disable the webhook. Raises LeaseLost, Disabled."""
        now = time.time()
        failure = next_failure(number, answer, due.failure, self._settings, now=now)
        reason = why_disabled(due.full_id, failure, answer, self._settings, now=now)
        await self._record([self._progress(due, passed, failure)], reason)

    def _progress(self, due: Due, number: int, failure: Failure | None = None) -> Progress:
        packed = b"" if failure is None else failure.pack()
        return Progress(due.full_id, cursor_text(number, due.created_at_ms), packed)

    async def _record(self, sessions: Sequence[Progress], disabled_because: str = "") -> None:
        """Record progress. Raises LeaseLost, Disabled."""
        if not sessions:
            return
        name, token = self._webhook.full_name, self._token
        is_ours = await self._link.persist(
            lambda: self._scripts.record(name, token, sessions, disabled_because=disabled_because)
        )
        if not is_ours:
            raise LeaseLost
        if disabled_because:
            raise Disabled

    async def _remove_old_cursors(self, index: str) -> None:
        """Remove the cursors of purged sessions, when there are many."""
        link, key = self._link, self._link.keys.webhook_cursors(self._webhook.full_name)
        count, sessions = await read_each(link, [("HLEN", key), ("ZCARD", index)])
        if count <= sessions + SPARE_CURSORS:
            return
        place = 0
        while True:
            [(place, page)] = await read_each(link, [("HSCAN", key, str(place), "COUNT", "500")])
            full_ids = [name.decode() for name in page]
            exist = await read_each(link, [("EXISTS", link.keys.session(each)) for each in full_ids])
            gone = [each for each, exists in zip(full_ids, exist, strict=True) if not exists]
            if gone:
                await read_each(link, [("HDEL", key, *gone)])
            if not place:
                return
