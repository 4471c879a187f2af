"""Notices which sessions have new events, once for all senders of a process.

There is no list of new events in Redis. So the number of the last event of every session is read again and again, and
compared with the one before. With one look for all webhooks, their number does not matter.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

from skep.gateway.background_task import BackgroundTask
from skep.link import ShardLink
from skep.listings.index_pages import index_pages, read_each
from skep_shared.errors import SkepError

LOOK_SHARE: Final = 4  # a pause is at least so many times as long as the look before it
_log: Final = logging.getLogger(__name__)

Listener = Callable[[str], None]
Mark = tuple[bytes | None, bytes | None]  # last event, time of creation


class SessionChanges(BackgroundTask):
    """Calls its listeners with the full ids of sessions that may have new events; `async with` owns its task.

    In memory it has some 200 bytes for each session of the shard.
    """

    task_name = "skep sessions with new events"

    def __init__(self, link: ShardLink, poll_seconds: float) -> None:
        """`poll_seconds`: pause between two looks."""
        self._link = link
        self._poll_seconds = poll_seconds
        self._marks: dict[str, Mark] = {}
        self._listeners: set[Listener] = set()
        self._has_listeners = asyncio.Event()

    @contextlib.contextmanager
    def listened(self, listener: Listener) -> Iterator[None]:
        """Call the listener within this block. A change before it may have been reported to others only."""
        self._listeners.add(listener)
        self._has_listeners.set()
        try:
            yield
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._has_listeners.clear()

    async def _run(self) -> None:
        while True:
            await self._has_listeners.wait()
            began_at = time.monotonic()
            try:
                await self._look()
            except SkepError as exc:
                _log.warning("webhooks: %s", exc)
            await asyncio.sleep(max(self._poll_seconds, (time.monotonic() - began_at) * LOOK_SHARE))

    async def _look(self) -> None:
        link, keys, found = self._link, self._link.keys, set()
        async for full_ids in index_pages(link, keys.sessions):
            rows = await read_each(link, [("HMGET", keys.session(each), "last", "created_at") for each in full_ids])
            for full_id, (last, created_at) in zip(full_ids, rows, strict=True):
                found.add(full_id)
                if self._marks.get(full_id) != (last, created_at):
                    self._marks[full_id] = (last, created_at)
                    for listener in self._listeners:
                        listener(full_id)
        for full_id in self._marks.keys() - found:
            del self._marks[full_id]
