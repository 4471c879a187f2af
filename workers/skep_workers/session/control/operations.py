"""Operations on a session while a cell runs: each has an id, a state, a deadline, and an end.

They run one at a time on a separate thread, so that neither the control thread nor the cell waits for them. An
operation that is cancelled or late before its start never starts. One that is late while it runs is answered with an
error, and its result is dropped.
"""

import queue
from collections.abc import Callable, Mapping
from threading import Lock  # bound early: user code may patch threading
from typing import Any, Final

from skep_shared.json_form import without_surrogates
from skep_shared.protocol.frames import Reply, Request
from skep_shared.states import OperationState, OperationStep, next_operation
from skep_shared.values import decode_value, encode_value
from skep_workers.session.safeguards.clock import monotonic
from skep_workers.session.safeguards.native_threads import NativeThread

MAX_WAITING: Final = 64
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024


class OpenOperation:
    """A request and its state."""

    def __init__(self, request: Request, now: float) -> None:
        self.request: Final = request
        self.deadline: Final = now + request.deadline_seconds
        self.state = OperationState.PENDING

    def step(self, step: OperationStep) -> None:
        """Change the state. Raises IllegalTransition."""
        self.state = next_operation(self.state, step)


class OperationQueue:
    """The operations of one session process. The control thread calls `submit`, `cancel` and `expire`."""

    def __init__(self, handlers: Mapping[str, Callable[[dict[str, Any]], Any]], send: Callable[[Reply], None]) -> None:
        self._handlers = handlers
        self._send = send
        self._lock = Lock()
        self._queue: queue.SimpleQueue[OpenOperation] = queue.SimpleQueue()
        self._open: dict[int, OpenOperation] = {}
        self._thread: NativeThread | None = None

    def submit(self, request: Request) -> None:
        """Queue a request; its reply is sent when it ends."""
        operation = OpenOperation(request, monotonic())
        if request.kind not in self._handlers:
            self._refuse(request, f"unknown operation {request.kind!r}")
        elif len(self._open) >= MAX_WAITING:
            self._refuse(request, f"{MAX_WAITING} operations are waiting already")
        else:
            self._open[request.operation] = operation
            self._queue.put(operation)
            if self._thread is None:
                self._thread = NativeThread(self._serve, "skep-operations")
                self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Return whether no operation is open."""
        return not self._open

    def cancel(self, number: int) -> None:
        """End an operation without a reply: its client doesn't wait for it any more."""
        self._end(number, OperationStep.CANCEL, None)

    def expire(self) -> float | None:
        """Reply to operations that are late; return the next deadline (monotonic seconds)."""
        now = monotonic()
        for number, operation in list(self._open.items()):
            if now >= operation.deadline:
                late = encode_value(f"no answer within {operation.request.deadline_seconds:g} s")
                self._end(number, OperationStep.EXPIRE, Reply(number, is_error=True, payload=late))
        return min((operation.deadline for operation in list(self._open.values())), default=None)

    def _refuse(self, request: Request, reason: str) -> None:
        self._send(Reply(request.operation, is_error=True, payload=encode_value(reason)))

    def _end(self, number: int, step: OperationStep, reply: Reply | None) -> None:
        with self._lock:
            operation = self._open.pop(number, None)
            if operation is None:
                return
            operation.step(step)
        if reply is not None:
            self._send(reply)

    def _serve(self) -> None:
        while True:
            operation = self._queue.get()
            with self._lock:
                if operation.state is not OperationState.PENDING:
                    continue
                operation.step(OperationStep.START)
            self._end(operation.request.operation, OperationStep.FINISH, self._run(operation.request))

    def _run(self, request: Request) -> Reply:
        try:
            payload = encode_value(self._handlers[request.kind](decode_value(request.payload)))
            if len(payload) > MAX_ANSWER_BYTES:
                raise ValueError(f"the answer has {len(payload)} bytes, over the limit of {MAX_ANSWER_BYTES}")
            return Reply(request.operation, is_error=False, payload=payload)
        except BaseException as exc:  # noqa: BLE001 - objects of user code may raise anything when they are inspected
            reason = encode_value(without_surrogates(f"{type(exc).__name__}: {exc}"[:1000]))
            return Reply(request.operation, is_error=True, payload=reason)
