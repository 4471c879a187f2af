"""The gateway's end, as everything that waits sees it: streams and waits end first, then the server."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from skep_shared.broker.redis_client.cancellation import cancel_until_ended

T = TypeVar("T")


class Closing(Exception):
    """The gateway is closing, so a wait has ended early."""


class Shutdown:
    """Announces that the gateway closes. Streams register a future each, which costs less than a task."""

    def __init__(self) -> None:
        self.has_begun = False
        self._waiting: set[asyncio.Future[None]] = set()

    def begin(self) -> None:
        """End everything that waits."""
        self.has_begun = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def register(self) -> "asyncio.Future[None]":
        """Return a future that is done when the end begins; to be passed to `forget` later."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.has_begun:
            future.set_result(None)
        self._waiting.add(future)
        return future

    def forget(self, future: "asyncio.Future[None]") -> None:
        """Forget a future that is not waited for any more."""
        self._waiting.discard(future)

    async def unless(self, wanted: Coroutine[Any, Any, T], name: str) -> T:
        """Return the result of `wanted`. Raises Closing if the end begins before; `wanted` is cancelled then."""
        task = asyncio.create_task(wanted, name=name)
        ended = self.register()
        try:
            waits: set[asyncio.Future[Any]] = {task, ended}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Closing
        finally:
            self.forget(ended)
            await cancel_until_ended([task])
