"""Operations on one session (complete, inspect, variables) as they pass through the host.

An answer goes into the client's reply stream, beside outcomes. When the process ends, what it has not answered is
answered for it; when the stay ends, the client is told to send it again.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from skep_shared.errors import OperationFailed
from skep_shared.frames import Reply, Request
from skep_shared.states import AnswerKind
from skep_shared.values import decode_value, encode_value
from skep_workers.host.answers import Answers, OperationRequest

MOST_WAITING: Final = 1000
MOST_OPEN: Final = 32  # that a process is asked at a time; it refuses more than twice as many
ANSWER_SECONDS: Final = 2.0  # for the process to say that it is late
REMEMBERED: Final = 1000  # requests that are known should they come twice: their sender had lost the connection


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
        self.waiting: deque[OperationRequest] = deque()  # for a process, or for room there

    def is_new(self, request: OperationRequest) -> bool:
        """Return whether a request comes for the first time, and remember it."""
        if request.operation_id in self._known:
            return False
        self._known.append(request.operation_id)
        return True

    def add(self, request: OperationRequest) -> None:
        """Take a request for the process."""
        if len(self.waiting) >= MOST_WAITING:
            self.refuse(request, f"{MOST_WAITING} operations of the session are waiting already")
        else:
            self.waiting.append(request)

    def begin(self) -> Iterator[Request]:
        """Yield the frames that the process is to be sent now."""
        while self.waiting and len(self._open) < MOST_OPEN:
            request = self.waiting.popleft()
            number = next(self._numbers)
            self._open[number] = request
            self._settled.clear()
            yield Request(number, request.kind, request.payload, request.deadline_seconds)

    def end(self, reply: Reply) -> None:
        """Take the process's answer."""
        call = self._calls.pop(reply.operation, None)
        if call is not None and not call.done():
            call.set_result(reply)
        request = self._open.pop(reply.operation, None)
        if request is not None:
            self._answers.add(request, AnswerKind.ERROR if reply.is_error else AnswerKind.RESULT, reply.payload)
        if not self._open:
            self._settled.set()

    async def call(self, send: Callable[[Request], None], kind: str, question: object, seconds: float) -> Any:
        """Ask the process for something of the host's own. Raises OperationFailed, ProcessGone."""
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
        """Answer an operation that the host has done itself."""
        self._answers.add(request, AnswerKind.RESULT, encode_value(result))

    def refuse(self, request: OperationRequest, reason: str) -> None:
        """Answer an operation with the reason why it isn't done."""
        self._answers.add(request, AnswerKind.ERROR, encode_value(reason))

    def abandon(self, reason: str) -> None:
        """Answer what the process can't answer any more."""
        for request in self._take_open():
            self.refuse(request, reason)

    def give_up(self, reason: str) -> None:
        """Answer what waits for a process: none can be started."""
        while self.waiting:
            self.refuse(self.waiting.popleft(), reason)

    def take_back(self) -> None:
        """Have what the process has not answered wait for the next process: this one has left in order."""
        self.waiting.extendleft(reversed(self._take_open()))

    def send_back(self) -> None:
        """Have the clients send again what is not answered: the session's stay has ended."""
        self.take_back()
        while self.waiting:
            self._answers.send_back(self.waiting.popleft())

    async def settled(self, seconds: float) -> None:
        """Wait until the process has answered what it was asked, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    def _take_open(self) -> list[OperationRequest]:
        for call in self._calls.values():
            if not call.done():
                call.set_exception(ProcessGone)
        requests, self._open = self._open, {}
        self._settled.set()
        return list(requests.values())
