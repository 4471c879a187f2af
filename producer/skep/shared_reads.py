"""Blocking reads of any number of streams on one connection, for the followers that get none of their own.

A follower's blocking read occupies a connection, and there are at most `max_connections`: so beyond a certain number,
followers share one read of all their streams. A new follower must not wait until that read ends by itself. So the read
includes one more stream, of this client's own, and a new follower writes an entry there to end the read.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from skep_shared.broker.lane import Commands
from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.broker.redis_client.redis_errors import REDIS_ERRORS
from skep_shared.events import event_number

PAGE_ENTRIES: Final = 100
WAKE_TTL_MS: Final = 600_000

Entries = list[tuple[bytes, list[bytes]]]


@dataclass(eq=False, slots=True)
class _Read:
    """One follower's read: its stream, its deadline, and the reply to come."""

    key: str
    after: int
    owned_by: str
    ends_at: float
    reply: "asyncio.Future[tuple[bytes | None, list[Any]]]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class SharedReads:
    """Reads streams for followers, all of them in one command at a time."""

    def __init__(self, blocking: Commands, writing: Commands, wake_key: str, block_seconds: float) -> None:
        """`blocking` is a connection for these reads alone; `writing` carries the entries that end them."""
        self._blocking = blocking
        self._writing = writing
        self._wake_key = wake_key
        self._wake_seen = b"0-0"
        self._block_seconds = block_seconds
        self._reads: list[_Read] = []
        self._task: asyncio.Task[None] | None = None
        self._waking: asyncio.Task[None] | None = None
        self._is_blocked = False

    async def read(self, key: str, after: str, owned_by: str) -> tuple[bytes | None, list[Any]]:
        """Wait for events after `after`; return the token of the session's owner, read before them, and the entries.

        There are none if none was written for a while. Raises the driver's errors.
        """
        wanted = _Read(key, event_number(after), owned_by, time.monotonic() + self._block_seconds)
        self._reads.append(wanted)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="skep shared reads")
        elif self._is_blocked and (self._waking is None or self._waking.done()):
            self._waking = asyncio.create_task(self._wake(), name="skep wake of shared reads")
        try:
            return await wanted.reply
        finally:
            if wanted in self._reads:
                self._reads.remove(wanted)

    async def aclose(self) -> None:
        """Stop reading, and cancel the reads that wait."""
        await cancel_until_ended(task for task in (self._task, self._waking) if task is not None)
        for wanted in self._reads:
            wanted.reply.cancel()

    async def _wake(self) -> None:
        # If this fails, for example because Redis is full, the new follower waits until the read ends by itself.
        with contextlib.suppress(*REDIS_ERRORS):
            await self._writing.execute_command("XADD", self._wake_key, "MAXLEN", 1, "*", "w", "")
            await self._writing.execute_command("PEXPIRE", self._wake_key, WAKE_TTL_MS)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0)  # followers that have just got a reply may start their next read
            await asyncio.sleep(0)
            reads = list(self._reads)
            if not reads:
                return
            self._is_blocked = True
            try:
                owners, streams = await self._read_all(reads)
            except REDIS_ERRORS as exc:
                for wanted in reads:
                    self._settle(wanted, exc)
                continue
            finally:
                self._is_blocked = False
            now = time.monotonic()
            for wanted in reads:
                entries = _entries_after(streams.get(wanted.key, []), wanted.after)
                if entries:
                    self._settle(wanted, (owners[wanted.owned_by], [(wanted.key.encode(), entries)]))
                elif now >= wanted.ends_at:
                    self._settle(wanted, (owners[wanted.owned_by], []))

    async def _read_all(self, reads: Sequence[_Read]) -> tuple[dict[str, bytes | None], dict[str, Entries]]:
        """Read the token of each session's owner, and then all the streams."""
        owned_by = sorted({wanted.owned_by for wanted in reads})
        afters: dict[str, int] = {}
        for wanted in reads:
            afters[wanted.key] = min(wanted.after, afters.get(wanted.key, wanted.after))
        seconds = max(0.001, min(wanted.ends_at for wanted in reads) - time.monotonic())
        asked = [self._blocking.execute_command("HGET", session, "token") for session in owned_by]
        *tokens, reply = await asyncio.gather(
            *asked,
            self._blocking.execute_command(
                "XREAD", "COUNT", PAGE_ENTRIES, "BLOCK", max(1, int(seconds * 1000)), "STREAMS",
                self._wake_key, *afters, self._wake_seen, *(f"{after}-0" for after in afters.values()),
            ),
        )  # fmt: skip
        streams: dict[str, Entries] = {name.decode(): entries for name, entries in reply or ()}
        woken = streams.pop(self._wake_key, [])
        if woken:
            self._wake_seen = woken[-1][0]
        return dict(zip(owned_by, tokens, strict=True)), streams

    def _settle(self, wanted: _Read, reply: tuple[bytes | None, list[Any]] | BaseException) -> None:
        if wanted.reply.done():
            return
        if isinstance(reply, BaseException):
            wanted.reply.set_exception(reply)
        else:
            wanted.reply.set_result(reply)
        self._reads.remove(wanted)


def _entries_after(entries: Entries, after: int) -> Entries:
    return [entry for entry in entries if event_number(entry[0]) > after]
