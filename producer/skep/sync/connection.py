"""One connection of `skep.sync`: the asynchronous cluster that its calls use; a forked process opens its own.

Everything here but the public methods runs on the background loop, so it needs no locks.
"""

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from skep.cluster import Cluster, connect
from skep.sync.background import BackgroundLoop
from skep.sync.process import background
from skep_shared.errors import ClientUnusable
from skep_shared.settings import Settings

R = TypeVar("R")
Open = Callable[[], AbstractAsyncContextManager[Cluster]]

CLOSED: Final = "it has been closed. Open another one with skep.sync.connect() where it is needed"


class _OpenCluster:
    """A cluster that is open in this process. One task enters and leaves its context manager."""

    def __init__(self, loop: BackgroundLoop, make: Open) -> None:
        self.loop = loop
        self.cluster: asyncio.Future[Cluster] = asyncio.get_running_loop().create_future()
        self.tasks: set[asyncio.Task[Any]] = set()  # calls and readers, which end before it is closed
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._hold(make), name="skep.sync connection")
        loop.at_end.append(self.close)

    @property
    def has_failed(self) -> bool:
        """Return whether it could not be opened."""
        return self.cluster.done() and self.cluster.exception() is not None

    @contextlib.contextmanager
    def owning(self, task: "asyncio.Task[Any] | None") -> Iterator[None]:
        """Cancel this task if the cluster is closed during the block."""
        assert task is not None  # noqa: S101 - the loop runs each call in one
        self.tasks.add(task)
        try:
            yield
        finally:
            self.tasks.discard(task)

    async def _hold(self, make: Open) -> None:
        try:
            async with make() as cluster:
                self.cluster.set_result(cluster)
                await self._closing.wait()
                for task in self.tasks:
                    task.cancel()
        except BaseException as exc:
            if self.cluster.done():
                raise
            self.cluster.set_exception(exc if isinstance(exc, Exception) else ClientUnusable(CLOSED))
            self.cluster.exception()  # retrieved: the call that waited may have been interrupted
        finally:
            self.loop.at_end.remove(self.close)

    async def close(self) -> None:
        """Close it, and wait until it is closed; the closing goes on if the wait is cancelled."""
        self._closing.set()
        if not self.cluster.done():
            self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    def close_soon(self) -> None:
        """Close it without waiting."""
        self._closing.set()


class Connection:
    """A client's cluster: the one that was opened, or in a fork another one with its settings."""

    def __init__(self) -> None:
        self._open: _OpenCluster | None = None
        self._settings: Settings | None = None
        self._is_closed = False

    def open(self, make: Open) -> None:
        """Open the cluster. Raises the errors of the asynchronous client."""
        loop = background()

        async def opened() -> None:
            open_ = self._hold_open(loop, make)
            try:
                self._settings = (await asyncio.shield(open_.cluster)).settings
            except asyncio.CancelledError:
                await open_.close()
                raise

        loop.wait(opened)

    def _hold_open(self, loop: BackgroundLoop, make: Open) -> _OpenCluster:
        open_ = self._open = _OpenCluster(loop, make)
        finalizer = weakref.finalize(self, _drop, open_)
        finalizer.atexit = False  # the loop closes then what is still open
        return open_

    def wait(self, call: Callable[[Cluster], Awaitable[R]]) -> R:
        """Await `call(cluster)` on the loop of this process, and return its result.

        Raises its errors, and ClientUnusable for a closed connection.
        """
        loop = background()
        return loop.wait(lambda: self._call(loop, call))

    def make(self, call: Callable[[Cluster], R]) -> R:
        """Return `call(cluster)`: for calls that return at once, but need the loop. Raises what `wait` raises."""

        async def done(cluster: Cluster) -> R:
            return call(cluster)

        return self.wait(done)

    async def _call(self, loop: BackgroundLoop, call: Callable[[Cluster], Awaitable[R]]) -> R:
        open_ = self._here(loop)
        cluster = await asyncio.shield(open_.cluster)
        with open_.owning(asyncio.current_task()):
            return await call(cluster)

    def start(self, task_of: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that ends with this connection; on the loop, and within a call."""
        open_ = self._here(background())
        task = asyncio.create_task(task_of, name="skep.sync reader")
        open_.tasks.add(task)
        task.add_done_callback(open_.tasks.discard)

    def _here(self, loop: BackgroundLoop) -> _OpenCluster:
        """Return what is open in this process. The first use in a fork opens it there. Raises ClientUnusable."""
        open_ = self._open
        if self._is_closed or open_ is None or self._settings is None:
            raise ClientUnusable(CLOSED)
        if open_.loop is not loop or open_.has_failed:
            settings = self._settings
            open_ = self._hold_open(loop, lambda: connect(settings=settings))
        return open_

    def close(self) -> None:
        """Close it. Calls that wait in other threads end with ClientUnusable.

        A fork closes only what was opened there. Harmless to repeat.
        """
        self._is_closed = True
        open_ = self._open
        if open_ is not None and open_.loop.is_here:
            open_.loop.wait(open_.close)


def _drop(open_: _OpenCluster) -> None:
    open_.loop.post(open_.close_soon)
