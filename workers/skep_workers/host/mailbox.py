"""This worker's mailbox: one blocking read for all of its sessions.

Entries are hints, never the truth: a cell that comes with one is also in its session's stream, and a lost entry is made
up for by the next one or by the sweep. So reading may start over, and may skip.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from skep_shared.foreign_errors import describe_error
from skep_shared.lane import Commands
from skep_workers.host.backoff import RETRIABLE, backoff_delays

log = structlog.get_logger()

PAGE_ENTRIES: Final = 500
TRIM_EVERY_ENTRIES: Final = 1000


class Mailbox:
    """Reads the stream `key` and hands each entry's fields on, in order."""

    def __init__(self, blocking: Commands, redis: Redis, key: str, block_seconds: float) -> None:
        self._blocking = blocking
        self._redis = redis
        self._key = key
        block_ms = max(1, int(block_seconds * 1000))
        self._read = ("XREAD", "COUNT", PAGE_ENTRIES, "BLOCK", block_ms, "STREAMS", key)
        self._last = b"0-0"
        self._untrimmed = 0

    async def run(self, on_entry: Callable[[dict[bytes, Any]], None]) -> None:
        """Read until cancelled."""
        delays = backoff_delays()
        while True:
            try:
                reply = await self._blocking.execute_command(*self._read, self._last)
            except RETRIABLE as exc:
                log.warning("mailbox.retry", error=describe_error(exc))
                await asyncio.sleep(next(delays))
                continue
            delays = backoff_delays()
            for _, entries in reply or ():
                for entry_id, fields in entries:
                    self._last = entry_id
                    on_entry(dict(zip(fields[::2], fields[1::2], strict=True)))
                self._untrimmed += len(entries)
            if self._untrimmed >= TRIM_EVERY_ENTRIES:
                await self._trim()

    async def _trim(self) -> None:
        try:
            await self._redis.xtrim(self._key, minid=self._last, approximate=True)
        except RETRIABLE as exc:
            log.warning("mailbox.trim_failed", error=describe_error(exc))
        else:
            self._untrimmed = 0
