"""Operations on sessions (complete, inspect, variables) as they pass through the host.

An answer goes into the client's reply stream, beside outcomes. When the process ends, what it has not answered is
answered for it.
"""

import asyncio
import contextlib
import itertools
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from skep_shared.foreign_errors import describe_error
from skep_shared.frames import Reply, Request
from skep_shared.keys import Keys
from skep_shared.states import AnswerKind
from skep_shared.values import encode_value
from skep_workers.host.backoff import RETRIABLE

log = structlog.get_logger()

MAX_ANSWERS: Final = 1000
REPLIES_KEPT: Final = 100_000
SENT_SECONDS: Final = 5.0  # that a stay's end waits for its answers


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """What a client asked for, as its mailbox entry says."""

    client_id: str
    operation_id: str
    kind: str
    payload: bytes
    deadline_seconds: float

    @classmethod
    def of_entry(cls, fields: dict[bytes, Any]) -> "OperationRequest":
        """Read a mailbox entry."""
        return cls(
            fields[b"c"].decode(), fields[b"o"].decode(), fields[b"m"].decode(), fields[b"p"], float(fields[b"d"])
        )


class HostOperations:
    """The operations of one session."""

    def __init__(self, redis: Redis, keys: Keys, reply_ttl_seconds: float) -> None:
        self._redis = redis
        self._keys = keys
        self._ttl_ms = int(reply_ttl_seconds * 1000)
        self._numbers = itertools.count(1)
        self._open: dict[int, OperationRequest] = {}
        self._answers: asyncio.Queue[tuple[OperationRequest, AnswerKind, bytes]] = asyncio.Queue(MAX_ANSWERS)
        self.waiting: list[OperationRequest] = []

    def begin(self, request: OperationRequest) -> Request:
        """Give the frame for the process."""
        number = next(self._numbers)
        self._open[number] = request
        return Request(number, request.kind, request.payload, request.deadline_seconds)

    def end(self, reply: Reply) -> None:
        """Take the process's answer."""
        request = self._open.pop(reply.operation, None)
        if request is not None:
            self._answer(request, AnswerKind.ERROR if reply.is_error else AnswerKind.RESULT, reply.payload)

    def answer(self, request: OperationRequest, result: object) -> None:
        """Answer an operation that the host has done itself."""
        self._answer(request, AnswerKind.RESULT, encode_value(result))

    def refuse(self, request: OperationRequest, reason: str) -> None:
        """Answer an operation with the reason why it isn't done."""
        self._answer(request, AnswerKind.ERROR, encode_value(reason))

    def abandon(self, reason: str) -> None:
        """Answer what the process can't answer any more."""
        requests, self._open = self._open, {}
        for request in requests.values():
            self._answer(request, AnswerKind.ERROR, encode_value(reason))

    def take_back(self) -> None:
        """Have what the process has not answered wait for the next process: this one has left in order."""
        requests, self._open = self._open, {}
        self.waiting += requests.values()

    def send_back(self) -> None:
        """Have the clients send again what waits: the session has no owner now."""
        requests, self.waiting = self.waiting, []
        for request in requests:
            self._answer(request, AnswerKind.MOVED, encode_value("the session was leaving its worker"))

    async def run(self) -> None:
        """Send answers until cancelled."""
        while True:
            await self._send(*await self._answers.get())
            self._answers.task_done()

    async def sent(self) -> None:
        """Wait until the answers so far have been sent, or have met an error of Redis; not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SENT_SECONDS):
                await self._answers.join()

    async def _send(self, request: OperationRequest, kind: AnswerKind, payload: bytes) -> None:
        key = self._keys.replies(request.client_id)
        fields: dict[Any, Any] = {"o": request.operation_id, "x": int(kind), "d": payload}
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.xadd(key, fields, maxlen=REPLIES_KEPT, approximate=True)
                pipe.pexpire(key, self._ttl_ms)
                await pipe.execute()
        except RETRIABLE as exc:  # the client asks again, or has its own deadline
            log.warning("operation.answer_lost", error=describe_error(exc))

    def _answer(self, request: OperationRequest, kind: AnswerKind, payload: bytes) -> None:
        try:
            self._answers.put_nowait((request, kind, payload))
        except asyncio.QueueFull:
            log.warning("operation.answer_dropped", kind=request.kind)
