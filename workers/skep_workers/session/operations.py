"""Operations on a session while a cell runs: each has an id, a state, a deadline, and an end.

They run one after the other on a thread of their own, so that neither the control thread nor the cell waits for them.
One that is cancelled or late before it starts never starts; one that is late while it runs is answered as late, and its
result dropped when it comes.
"""

import queue
from collections.abc import Callable, Mapping
from threading import Lock  # bound early: user code may patch threading
from typing import Any, Final

from skep_shared.frames import Reply, Request
from skep_shared.json_form import without_surrogates
from skep_shared.states import OperationState, OperationStep, next_operation
from skep_shared.values import decode_value, encode_value
from skep_workers.session.clock import monotonic
from skep_workers.session.native_threads import NativeThread

MAX_WAITING: Final = 64
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024


class Operation:
    """One request and where it stands."""

    def __init__(self, request: Request, now: float) -> None:
        self.request: Final = request
        self.deadline: Final = now + request.deadline_seconds
        self.state = OperationState.PENDING

    def step(self, step: OperationStep) -> None:
        """Go on. Raises IllegalTransition."""
        self.state = next_operation(self.state, step)


class Operations:
    """The operations of one session process. `submit`, `cancel` and `expire` belong to the control thread."""

    def __init__(
        self, handlers: Mapping[str, Callable[[dict[str, Any]], Any]], answer: Callable[[Reply], None]
    ) -> None:
        self._handlers = handlers
        self._answer = answer
        self._lock = Lock()
        self._queue: queue.SimpleQueue[Operation] = queue.SimpleQueue()
        self._open: dict[int, Operation] = {}
        self._thread: NativeThread | None = None

    def submit(self, request: Request) -> None:
        """Take a request; its answer comes later."""
        operation = Operation(request, monotonic())
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
        """Tell whether none is open."""
        return not self._open

    def cancel(self, number: int) -> None:
        """End an operation that nobody waits for any more."""
        self._end(number, OperationStep.CANCEL, None)

    def expire(self) -> float | None:
        """Answer what is late; gives the next deadline (monotonic seconds)."""
        now = monotonic()
        for number, operation in list(self._open.items()):
            if now >= operation.deadline:
                late = encode_value(f"no answer within {operation.request.deadline_seconds:g} s")
                self._end(number, OperationStep.EXPIRE, Reply(number, is_error=True, payload=late))
        return min((operation.deadline for operation in list(self._open.values())), default=None)

    def _refuse(self, request: Request, reason: str) -> None:
        self._answer(Reply(request.operation, is_error=True, payload=encode_value(reason)))

    def _end(self, number: int, step: OperationStep, reply: Reply | None) -> None:
        with self._lock:
            operation = self._open.pop(number, None)
            if operation is None:
                return
            operation.step(step)
        if reply is not None:
            self._answer(reply)

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
        except BaseException as exc:  # noqa: BLE001 - the session's objects may raise anything when looked at
            reason = encode_value(without_surrogates(f"{type(exc).__name__}: {exc}"[:1000]))
            return Reply(request.operation, is_error=True, payload=reason)
