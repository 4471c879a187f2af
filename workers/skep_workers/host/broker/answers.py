"""Send answers to operations to the clients that wait for them: one queue and one sender for each worker.

Answers outlive the residency of their session: operations for a session that has left are answered too.
"""

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis

from skep_shared.broker.keys import Keys
from skep_shared.broker.mailbox_entries import OperationRequest
from skep_shared.broker.redis_client.redis_errors import is_out_of_memory
from skep_shared.broker.reply_entries import OperationAnswer
from skep_shared.broker.worker_scripts import WorkerScripts
from skep_shared.foreign_errors import describe_error, reason_of
from skep_shared.states import AnswerKind
from skep_shared.values import encode_value
from skep_workers.host.broker.backoff import RETRIABLE, backoff_delays

log = structlog.get_logger()

MAX_ANSWERS: Final = 10_000
MAX_ANSWERS_BYTES: Final = 64 * 1024 * 1024
MAX_BYTES_WHEN_FULL: Final = 32 * 1024  # of an answer that is written to a full Redis all the same
BATCH_ANSWERS: Final = 100
BATCH_BYTES: Final = 1024 * 1024
REPLIES_KEPT: Final = 100_000
SENT_SECONDS: Final = 5.0  # longest time that a worker which stops waits for its answers to be sent


@dataclass(frozen=True, slots=True)
class _Queued:
    """An answer, and the request that it is for."""

    request: OperationRequest
    answer: OperationAnswer


class Answers:
    """The queue of answers that one worker still has to send."""

    def __init__(self, redis: Redis, keys: Keys, reply_ttl_seconds: float) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = WorkerScripts(redis, keys)
        self._ttl_ms = int(reply_ttl_seconds * 1000)
        self._waiting: deque[_Queued] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, request: OperationRequest, kind: AnswerKind, payload: bytes) -> None:
        """Queue an answer; if too many bytes wait already, queue an error in its place."""
        if len(self._waiting) >= MAX_ANSWERS:
            log.warning("operation.answer_dropped", kind=request.kind)  # the client has its own deadline
            return
        if self._bytes + len(payload) > MAX_ANSWERS_BYTES:
            limit = f"answers of {MAX_ANSWERS_BYTES} bytes are waiting to be sent already: is Redis unreachable?"
            kind, payload = AnswerKind.ERROR, encode_value(limit)
        self._waiting.append(_Queued(request, OperationAnswer(request.operation_id, kind, payload)))
        self._bytes += len(payload)
        self._idle.clear()
        self._wake.set()

    def send_back(self, request: OperationRequest) -> None:
        """Make the client send its request again: the session is not here, or not any more."""
        self.add(request, AnswerKind.MOVED, encode_value("the session was leaving its worker"))

    def refuse_signature(self, request: OperationRequest, what: str, reason: str) -> None:
        """Answer that the signature of a request was refused."""
        self.add(request, AnswerKind.UNSIGNED, encode_value([what, reason]))

    async def run(self) -> None:
        """Send until cancelled; answers that Redis refuses are sent again as long as their clients wait."""
        delays = backoff_delays()
        while True:
            await self._wake.wait()
            batch = self._next_batch()
            try:
                if batch:
                    await self._send(batch)
            except RETRIABLE as exc:
                log.warning("operation.answers_retry", error=describe_error(exc))
                await asyncio.sleep(next(delays))
                self._discard_expired()
            else:
                delays = backoff_delays()
                for _ in batch:
                    self._discard_first()
            if not self._waiting:
                self._wake.clear()
                self._idle.set()

    async def wait_until_sent(self) -> None:
        """Wait until the answers so far have been sent, at most SENT_SECONDS."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SENT_SECONDS):
                await self._idle.wait()

    def _next_batch(self) -> list[_Queued]:
        batch: list[_Queued] = []
        size = 0
        for queued in self._waiting:
            payload_bytes = len(queued.answer.payload)
            if batch and (len(batch) >= BATCH_ANSWERS or size + payload_bytes > BATCH_BYTES):
                break
            batch.append(queued)
            size += payload_bytes
        return batch

    def _discard_first(self) -> None:
        self._bytes -= len(self._waiting.popleft().answer.payload)

    def _discard_expired(self) -> None:
        now = time.monotonic()
        self._waiting = deque(queued for queued in self._waiting if queued.request.expires_at > now)
        self._bytes = sum(len(queued.answer.payload) for queued in self._waiting)

    async def _send(self, batch: list[_Queued]) -> None:
        try:
            await self._send_plainly(batch)
        except RETRIABLE as exc:
            if not is_out_of_memory(exc):
                raise
            log.warning("redis.full", what="answers", error=describe_error(exc))
            await self._send_though_full(batch, reason_of(exc))

    async def _send_though_full(self, batch: list[_Queued], reason: str) -> None:
        """Send small answers, and for larger ones the reason for their absence, as their clients wait."""
        for queued in batch:
            kind, payload = queued.answer.kind, queued.answer.payload
            if len(payload) > MAX_BYTES_WHEN_FULL:
                kind, payload = AnswerKind.FULL, encode_value(f"the answer has {len(payload)} bytes: {reason}")
            request = queued.request
            await self._scripts.answer(request.client_id, request.operation_id, int(kind), payload, self._ttl_ms)

    async def _send_plainly(self, batch: list[_Queued]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for queued in batch:
                key = self._keys.replies(queued.request.client_id)
                pipe.xadd(key, queued.answer.pack(), maxlen=REPLIES_KEPT, approximate=True)
                pipe.pexpire(key, self._ttl_ms)
            await pipe.execute()
