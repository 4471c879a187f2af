"""Iterators over what the asynchronous client yields.

A reader on the background loop goes ahead of the caller by a bounded number of items, so most steps need no other
thread. It ends with the iterator: also when that is dropped half-way.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Final, Generic, Self, TypeVar, cast

from skep.cluster import Cluster
from skep.sync.background import BackgroundLoop
from skep.sync.connection import Connection
from skep.sync.process import background
from skep_shared.errors import ClientUnusable

T = TypeVar("T")

MOST_AHEAD: Final = 64  # items that have been read and not been asked for


class _Reader(Generic[T]):
    """Reads items on the loop. It doesn't refer to the iterator, so that a dropped iterator is noticed."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source
        self.items: deque[T] = deque()
        self.error: BaseException | None = None
        self.is_started = False
        self.is_done = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Wait until there is an item, or the end."""
        if not self.items and not self.is_done:
            self._news.clear()
            self._room.set()
            await self._news.wait()

    def make_room(self) -> None:
        """Continue reading: items have been taken."""
        self._room.set()

    async def run(self) -> None:
        """Read to the end."""
        self._task = asyncio.current_task()
        try:
            async with contextlib.aclosing(cast("AsyncGenerator[T, None]", self._source)):
                async for item in self._source:
                    self.items.append(item)
                    self._news.set()
                    while len(self.items) >= MOST_AHEAD:
                        self._room.clear()
                        await self._room.wait()
        except asyncio.CancelledError:
            self.error = ClientUnusable("it was closed while this iterator was read")
        except Exception as exc:  # noqa: BLE001 - the iterator raises it
            self.error = exc
        finally:
            self.is_done = True
            self._news.set()
            self._ended.set()

    def cancel(self) -> None:
        """Stop reading."""
        if self._task is not None and not self.is_done:
            self._task.cancel()

    async def end(self) -> None:
        """Stop reading, and wait for the end of it."""
        if self._task is not None:
            self.cancel()
            await self._ended.wait()


class Reading(Iterator[T]):
    """An iterator over items from the cluster; `close`, or a `with` block, ends it early.

    It may be used by one thread at a time, in the process that made it.
    """

    def __init__(self, connection: Connection, make: Callable[[Cluster], AsyncIterator[T]]) -> None:
        self._loop: BackgroundLoop = background()
        self._connection = connection
        self._is_closed = False
        self._reader: _Reader[T] = connection.make(lambda cluster: _Reader(make(cluster)))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """Return the next item. Raises the errors of the asynchronous iterator, and ClientUnusable in a fork."""
        self._check_process()
        reader = self._reader
        if self._is_closed:
            raise StopIteration
        while True:
            try:
                item = reader.items.popleft()
            except IndexError:
                if reader.is_done:
                    return self._end()
                self._connection.wait(self._wait)
            else:
                if len(reader.items) == MOST_AHEAD // 2:
                    self._loop.post(reader.make_room)
                return item

    def _end(self) -> T:
        """Raise the error that the reader ended with, once, and StopIteration otherwise."""
        self._is_closed = True
        error, self._reader.error = self._reader.error, None
        raise error or StopIteration

    async def _wait(self, _cluster: Cluster) -> None:
        reader = self._reader
        if not reader.is_started:
            reader.is_started = True
            self._connection.start(reader.run())
        await reader.wait()

    def _check_process(self) -> None:
        if not self._loop.is_here:
            limit = f"this iterator was made before a fork; this is process {os.getpid()}"
            raise ClientUnusable(f"{limit}. Make another one here, after the last event that was read")

    def close(self) -> None:
        """End it, and release what it holds. Harmless to repeat, and in a fork."""
        self._is_closed = True
        if self._loop.is_here:
            self._loop.wait(self._reader.end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __del__(self) -> None:
        """Stop reading: the iterator was dropped."""
        reader = getattr(self, "_reader", None)  # without one, it could not be made
        # Not otherwise: a Ctrl-C that arrives in here is lost.
        if reader is not None and reader.is_started and not reader.is_done:
            self._loop.post(reader.cancel)
