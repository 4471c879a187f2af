"""An asyncio event loop on a virtual clock, shared by several machines that can be frozen one by one.

Time jumps to the next timer whenever nothing is ready, so waiting costs nothing and a run is the same each time. What
runs belongs to the `Node` that its context names: callbacks, timers and tasks inherit it from where they were made. A
paused node's callbacks are kept until it is resumed, while time passes for all others: the effect of SIGSTOP.

The loop keeps references to its tasks and ends them itself. A task without references would end when the garbage
collector happens to run: in the middle of this run or of a later one.
"""

import asyncio
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

NODE: ContextVar["Node | None"] = ContextVar("NODE", default=None)
END_ROUNDS = 20  # a task that is cancelled so often, and goes on, never ends
END_STEPS = 20_000  # a round


class Stalled(Exception):
    """Nothing is left that could ever happen, or too much has."""


class Node:
    """A machine: whatever runs in its context stops while it is paused."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_paused = False
        self.is_dead = False
        self.parked: list[asyncio.Handle] = []
        self.context = copy_context()
        self.context.run(NODE.set, self)

    def __repr__(self) -> str:
        return f"<{self.name}>"


class VirtualLoop(asyncio.AbstractEventLoop):
    """Enough of a loop for asyncio's own tasks, futures, timeouts, queues and task groups; no I/O."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self.steps = 0
        self.faults: list[str] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._most_tasks = 1000  # above this number, tasks that have ended are dropped
        self._paused: dict[Node, None] = {}

    @property
    def pending(self) -> list[asyncio.Task[Any]]:
        """The tasks that have not ended, oldest first."""
        return [task for task in self._tasks if not task.done()]

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is passed over when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        if len(self._tasks) > self._most_tasks:
            self._forget_ended()
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def _forget_ended(self) -> None:
        """Drop the tasks that have ended, except those whose error no code has retrieved yet."""
        self._tasks = [task for task in self._tasks if not task.done() or task._log_traceback]
        self._most_tasks = 2 * len(self._tasks) + 1000

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self.create_future()
        future.set_result(func(*args))
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    def pause(self, node: Node, seconds: float) -> None:
        """Freeze a node; a pause that is already under way is kept."""
        if not node.is_paused:
            node.is_paused = True
            self._paused[node] = None
            self.call_later(seconds, self.resume, node, context=Context())

    def resume(self, node: Node) -> None:
        """Resume a node; callbacks that became due meanwhile run in order."""
        node.is_paused = False
        self._paused.pop(node, None)
        parked, node.parked = node.parked, []
        self._ready.extend(parked)

    def run_until_done(self, future: asyncio.Future[Any], *, max_steps: int) -> None:
        """Run until the future is done. Raises Stalled."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        ready, timers = self._ready, self._timers
        limit = self.steps + max_steps
        try:
            while not future.done():
                if not ready:
                    if not timers:
                        raise Stalled(f"at {self._now:.3f}: nothing will ever happen again")
                    when, _, timer = heapq.heappop(timers)
                    self._now = max(self._now, when)
                    ready.append(timer)
                    while timers and timers[0][0] <= self._now:
                        ready.append(heapq.heappop(timers)[2])
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                node = handle._context.get(NODE)
                if node is not None and node.is_paused:
                    node.parked.append(handle)
                    continue
                self.steps += 1
                if self.steps > limit:
                    ready.appendleft(handle)  # its task would never wake up, not even to its end
                    raise Stalled(f"at {self._now:.3f}: {max_steps} steps, and no end")
                handle._run()
        finally:
            events._set_running_loop(before)

    def end(self) -> None:
        """Cancel whatever has not ended, as often as it takes; no time passes, no timer comes.

        Tasks that don't end, and errors that no code has retrieved, are added to the faults.
        """
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for node in list(self._paused):
                self.resume(node)
            for _ in range(END_ROUNDS):
                pending = self.pending
                for task in pending:
                    task.cancel()
                self._timers.clear()
                for _ in range(END_STEPS if pending else 0):
                    if not self._ready:
                        break
                    handle = self._ready.popleft()
                    if not handle._cancelled:
                        handle._run()
        finally:
            events._set_running_loop(before)
        for task in self._tasks:
            if not task.done():
                self.faults.append(f"{task.get_name()} does not end: {task.get_coro()!r}")
            elif task._log_traceback:
                self.faults.append(f"the error of {task.get_name()} was never looked at: {task.exception()!r}")
        self._ready.clear()
        self._tasks.clear()
