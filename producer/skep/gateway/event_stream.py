"""One stream to one client: from its first byte to whatever ends it first.

A stream ends with its session, when its client has gone, when its token is no longer valid, when its client reads
nothing for too long, when Redis is away for too long, and when the gateway closes. After all but the first two the
client may resume.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from skep.gateway.context import Caller
from skep.gateway.problems import Problem, Refused, problem_of
from skep.gateway.streams.sse import CONTENT_TYPE, KEEP_ALIVE, error_frame, retry_frame
from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.errors import SkepError

END_SECONDS: Final = 2.0  # to send why it ends, to a client that may not read


class EventStream(Response):
    """Sends the pages of an iterator as they come, and comments during silence."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._caller = caller
        self.pages: AsyncIterator[bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        gateway = self._caller.gateway
        ended = gateway.shutdown.register()
        waits: dict[asyncio.Future[Any], str] = {
            asyncio.create_task(self._pump(send), name="event stream"): "end",
            asyncio.create_task(_client_gone(receive), name="client of an event stream"): "gone",
            asyncio.create_task(
                gateway.tokens.wait_until_invalid(self._caller.access), name="token of an event stream"
            ): "token",
            ended: "shutdown",
        }
        pump = next(iter(waits))
        reason = "gone"
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            reason = next(name for future, name in waits.items() if future in done)
            if reason == "end" and pump.exception() is not None:
                reason = "slow" if isinstance(pump.exception(), Refused) else "error"
            await cancel_until_ended(task for task in waits if isinstance(task, asyncio.Task))
            if reason != "gone":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(END_SECONDS):
                        await self._end(send, reason, pump)
        finally:
            await cancel_until_ended(task for task in waits if isinstance(task, asyncio.Task))
            gateway.shutdown.forget(ended)
            gateway.metrics.stream_ended(reason)

    async def _pump(self, send: Send) -> None:
        settings = self._caller.gateway.settings
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self._send(send, retry_frame(settings.retry_ms))
        assert self.pages is not None  # noqa: S101 - set before it is sent
        pages = aiter(self.pages)
        waiting: asyncio.Task[bytes] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(pages))
                await asyncio.wait([waiting], timeout=settings.keep_alive_seconds)
                if not waiting.done():
                    await self._send(send, KEEP_ALIVE)
                    continue
                page, waiting = waiting, None
                try:
                    data = page.result()
                except StopAsyncIteration:
                    return
                await self._send(send, data)
        finally:
            if waiting is not None:
                await cancel_until_ended([waiting])
            await pages.aclose()  # type: ignore[attr-defined]  # an asynchronous generator

    async def _send(self, send: Send, data: bytes) -> None:
        """Send data. Raises Refused if the client has not read what was sent before for too long."""
        seconds = self._caller.gateway.settings.unread_seconds
        try:
            async with asyncio.timeout(seconds):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            kind = (408, "The client does not read", "Resume after the last event, with its id as Last-Event-ID.")
            raise Refused("SlowReader", kind, f"It has read nothing for {seconds:g} s.", seconds=seconds) from None

    async def _end(self, send: Send, reason: str, pump: "asyncio.Future[Any]") -> None:
        """Send the reason of the end, and the end."""
        gateway = self._caller.gateway
        last = b""
        if reason == "shutdown":
            last = retry_frame(gateway.settings.retry_ms, "the gateway is closing")
        elif reason == "token":
            kind = "The token is no longer valid"
            problem = Problem(
                type="urn:skep:Unauthorized", title=kind, status=401, detail=f"{kind}.", remedy="Use another token."
            )
            last = error_frame(problem)
        elif pump.done() and not pump.cancelled() and (exc := pump.exception()) is not None:
            if isinstance(exc, Refused):
                last = error_frame(exc.problem)
            elif isinstance(exc, SkepError):
                last = error_frame(problem_of(exc)[0])
            else:
                raise exc
        await send({"type": "http.response.body", "body": last, "more_body": False})


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
