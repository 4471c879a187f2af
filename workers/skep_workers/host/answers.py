"""Answers to operations on their way to the clients that wait for them: one queue and one sender a worker.

They outlive the stay of the session that they are about: what comes for a session that has left is answered too.
"""

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from skep_shared.keys import Keys
from skep_shared.states import AnswerKind
from skep_shared.values import encode_value
from skep_workers.host.backoff import RETRIABLE, backoff_delays

log = structlog.get_logger()

MAX_ANSWERS: Final = 10_000
MAX_ANSWERS_BYTES: Final = 64 * 1024 * 1024
BATCH_ANSWERS: Final = 100
BATCH_BYTES: Final = 1024 * 1024
REPLIES_KEPT: Final = 100_000
SENT_SECONDS: Final = 5.0  # that a worker which stops waits for its answers


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """What a client asked for, as its mailbox entry says. expires_at: monotonic seconds, when it waits no longer."""

    client_id: str
    operation_id: str
    kind: str
    payload: bytes
    deadline_seconds: float
    expires_at: float = float("inf")

    @classmethod
    def of_entry(cls, fields: dict[bytes, Any]) -> "OperationRequest":
        """Read a mailbox entry. Raises KeyError, ValueError."""
        seconds = float(fields[b"d"])
        return cls(
            fields[b"c"].decode(),
            fields[b"o"].decode(),
            fields[b"m"].decode(),
            fields[b"p"],
            seconds,
            time.monotonic() + seconds,
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    request: OperationRequest
    kind: AnswerKind
    payload: bytes


class Answers:
    """The answers of one worker that are still to be sent."""

    def __init__(self, redis: Redis, keys: Keys, reply_ttl_seconds: float) -> None:
        self._redis = redis
        self._keys = keys
        self._ttl_ms = int(reply_ttl_seconds * 1000)
        self._waiting: deque[_Answer] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, request: OperationRequest, kind: AnswerKind, payload: bytes) -> None:
        """Have an answer sent; where too much waits already, the reason for that in its place."""
        if len(self._waiting) >= MAX_ANSWERS:
            log.warning("operation.answer_dropped", kind=request.kind)  # the client has its own deadline
            return
        if self._bytes + len(payload) > MAX_ANSWERS_BYTES:
            limit = f"answers of {MAX_ANSWERS_BYTES} bytes wait to be sent already: is Redis away?"
            kind, payload = AnswerKind.ERROR, encode_value(limit)
        self._waiting.append(_Answer(request, kind, payload))
        self._bytes += len(payload)
        self._idle.clear()
        self._wake.set()

    def send_back(self, request: OperationRequest) -> None:
        """Have the client send its request again: the session is not here, or not any more."""
        self.add(request, AnswerKind.MOVED, encode_value("the session was leaving its worker"))

    async def run(self) -> None:
        """Send until cancelled; what Redis doesn't take is sent again as long as its client waits."""
        delays = backoff_delays()
        while True:
            await self._wake.wait()
            batch = self._next_batch()
            try:
                if batch:
                    await self._send(batch)
            except RETRIABLE as exc:
                log.warning("operation.answers_retry", error=repr(exc))
                await asyncio.sleep(next(delays))
                self._drop_expired()
            else:
                delays = backoff_delays()
                for _ in batch:
                    self._drop_first()
            if not self._waiting:
                self._wake.clear()
                self._idle.set()

    async def sent(self) -> None:
        """Wait until the answers so far have been sent; not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SENT_SECONDS):
                await self._idle.wait()

    def _next_batch(self) -> list[_Answer]:
        batch: list[_Answer] = []
        size = 0
        for answer in self._waiting:
            if batch and (len(batch) >= BATCH_ANSWERS or size + len(answer.payload) > BATCH_BYTES):
                break
            batch.append(answer)
            size += len(answer.payload)
        return batch

    def _drop_first(self) -> None:
        self._bytes -= len(self._waiting.popleft().payload)

    def _drop_expired(self) -> None:
        now = time.monotonic()
        self._waiting = deque(answer for answer in self._waiting if answer.request.expires_at > now)
        self._bytes = sum(len(answer.payload) for answer in self._waiting)

    async def _send(self, batch: list[_Answer]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for answer in batch:
                key = self._keys.replies(answer.request.client_id)
                fields: dict[Any, Any] = {
                    "o": answer.request.operation_id,
                    "x": int(answer.kind),
                    "d": answer.payload,
                }
                pipe.xadd(key, fields, maxlen=REPLIES_KEPT, approximate=True)
                pipe.pexpire(key, self._ttl_ms)
            await pipe.execute()
