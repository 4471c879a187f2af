"""Operations on one session (complete, inspect, variables) as they pass through the host.

An answer is written to the client's reply stream, which also has outcomes. When the process ends, the host answers what
it has not answered. When the residency ends, the client is asked to send its operation again.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from skep_shared.broker.mailbox_entries import OperationRequest
from skep_shared.errors import OperationFailed
from skep_shared.protocol.frames import Reply, Request
from skep_shared.states import AnswerKind
from skep_shared.values import decode_value, encode_value
from skep_workers.host.broker.answers import Answers

MOST_WAITING: Final = 1000
MOST_OPEN: Final = 32  # operations that a process has at a time; it refuses more than twice as many
ANSWER_SECONDS: Final = 2.0  # for the process to report that it is late
REMEMBERED: Final = 1000  # requests that are recognized if they arrive twice, after their sender lost its connection


class ProcessGone(Exception):
    """The process has ended before it answered."""


class HostOperations:
    """The operations of one session."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._numbers = itertools.count(1)
        self._open: dict[int, OperationRequest] = {}
        self._settled = asyncio.Event()
        self._settled.set()
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        self._known: deque[str] = deque(maxlen=REMEMBERED)
        self._waiting: deque[OperationRequest] = deque()  # for a process, or for room there

    @property
    def has_waiting(self) -> bool:
        """Return whether an operation waits for a process."""
        return bool(self._waiting)

    def is_new(self, request: OperationRequest) -> bool:
        """Return whether a request has arrived for the first time, and remember it."""
        if request.operation_id in self._known:
            return False
        self._known.append(request.operation_id)
        return True

    def add(self, request: OperationRequest) -> None:
        """Add an operation for the process; refuse it if too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            self.refuse(request, f"{MOST_WAITING} operations of the session are waiting already")
        else:
            self._waiting.append(request)

    def begin(self) -> Iterator[Request]:
        """Yield the frames to send to the process now."""
        while self._waiting and len(self._open) < MOST_OPEN:
            request = self._waiting.popleft()
            number = next(self._numbers)
            self._open[number] = request
            self._settled.clear()
            yield Request(number, request.kind, request.payload, request.deadline_seconds)

    def end(self, reply: Reply) -> None:
        """Receive an answer of the process."""
        call = self._calls.pop(reply.operation, None)
        if call is not None and not call.done():
            call.set_result(reply)
        request = self._open.pop(reply.operation, None)
        if request is not None:
            self._answers.add(request, AnswerKind.ERROR if reply.is_error else AnswerKind.RESULT, reply.payload)
        if not self._open:
            self._settled.set()

    async def call(self, send: Callable[[Request], None], kind: str, question: object, seconds: float) -> Any:
        """Send a request of the host itself, and return the result. Raises OperationFailed, ProcessGone."""
        number = next(self._numbers)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        send(Request(number, kind, encode_value(question), seconds))
        try:
            async with asyncio.timeout(seconds + ANSWER_SECONDS):
                reply = await answer
        except TimeoutError:
            raise OperationFailed(f"{kind}: the session's process has not answered for {seconds:g} s") from None
        finally:
            self._calls.pop(number, None)
        if reply.is_error:
            raise OperationFailed(str(decode_value(reply.payload)))
        return decode_value(reply.payload)

    def answer(self, request: OperationRequest, result: object) -> None:
        """Answer an operation that the host has carried out itself."""
        self._answers.add(request, AnswerKind.RESULT, encode_value(result))

    def refuse(self, request: OperationRequest, reason: str) -> None:
        """Answer an operation with the reason why it is not carried out."""
        self._answers.add(request, AnswerKind.ERROR, encode_value(reason))

    def refuse_full(self, request: OperationRequest, reason: str) -> None:
        """Answer an operation that is not carried out because Redis is full."""
        self._answers.add(request, AnswerKind.FULL, encode_value(reason))

    def abandon(self, reason: str) -> None:
        """Answer the operations that the ended process can't answer any more."""
        for request in self._remove_open():
            self.refuse(request, reason)

    def refuse_waiting(self, reason: str) -> None:
        """Refuse what waits for a process: none can be started."""
        while self._waiting:
            self.refuse(self._waiting.popleft(), reason)

    def add_unhandled(self, requests: Iterable[OperationRequest]) -> None:
        """Add requests that no other part of the residency has answered, for `send_back`."""
        self._waiting += requests

    def requeue_open(self) -> None:
        """Make what the process has not answered wait for the next process: this one has left in order."""
        self._waiting.extendleft(reversed(self._remove_open()))

    def send_back(self) -> None:
        """Ask the clients to send again what is not answered: the residency has ended."""
        self.requeue_open()
        while self._waiting:
            self._answers.send_back(self._waiting.popleft())

    async def settled(self, seconds: float) -> None:
        """Wait until the process has answered everything that it was sent, at most this long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    def _remove_open(self) -> list[OperationRequest]:
        for call in self._calls.values():
            if not call.done():
                call.set_exception(ProcessGone)
        requests, self._open = self._open, {}
        self._settled.set()
        return list(requests.values())
