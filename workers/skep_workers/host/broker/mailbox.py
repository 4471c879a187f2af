"""This worker's mailbox: one blocking read for all of its sessions.

Entries are hints: a cell in an entry is also in its session's stream, and the next entry or the sweep makes up for a
lost one. So the reader may read entries twice, and may skip some.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from redis.asyncio import Redis

from skep_shared.broker.lane import Commands
from skep_shared.broker.mailbox_entries import MailboxEntry, unpack_mailbox_entry
from skep_shared.foreign_errors import describe_error
from skep_workers.host.broker.backoff import RETRIABLE, backoff_delays

log = structlog.get_logger()

PAGE_ENTRIES: Final = 500
TRIM_EVERY_ENTRIES: Final = 1000


class Mailbox:
    """Reads the stream `key`, and passes each entry to a callback, in order."""

    def __init__(
        self,
        blocking: Commands,
        redis: Redis,
        key: str,
        block_seconds: float,
        read_entry: Callable[[dict[bytes, bytes]], MailboxEntry] = unpack_mailbox_entry,
    ) -> None:
        self._blocking = blocking
        self._redis = redis
        self._key = key
        block_ms = max(1, int(block_seconds * 1000))
        self._read = ("XREAD", "COUNT", PAGE_ENTRIES, "BLOCK", block_ms, "STREAMS", key)
        self._read_entry = read_entry
        self._last = b"0-0"
        self._untrimmed = 0

    async def run(self, on_entry: Callable[[MailboxEntry], None]) -> None:
        """Read entries until cancelled."""
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
                for entry_id, flat in entries:
                    self._last = entry_id
                    try:
                        on_entry(self._read_entry(dict(zip(flat[::2], flat[1::2], strict=True))))
                    except (KeyError, ValueError) as exc:  # of another version, or not written by skep; only a hint
                        log.warning("mailbox.malformed", error=describe_error(exc))
                    except Exception:  # a defect in one session's residency must not end all of them
                        log.exception("mailbox.failed")
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
