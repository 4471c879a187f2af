"""The network between nodes and the Redis in memory, with everything that can go wrong on it.

A request or its reply is lost or late, or its sender dies or pauses just before it is sent or just after it was applied,
or the server refuses requests for a while. Lost means a timeout or a broken connection, by chance. Late means applied
long after its sender has given up. So a sender never knows more than a real one would.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from redis.exceptions import BusyLoadingError, NoScriptError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..model.memory_redis import MemoryRedis, ServerError
from ..model.script_base import Reply
from ..model.script_model import ScriptModel
from .virtual_loop import Node, VirtualLoop

# Error replies that pass: nothing has been done. In words of Redis 6.2 and 7, as the driver hands them on.
REFUSALS = (
    ReadOnlyError("You can't write against a read only replica."),
    BusyLoadingError("Redis is loading the dataset in memory"),
    ResponseError("NOREPLICAS Not enough good replicas to write."),
    ResponseError("CLUSTERDOWN The cluster is down"),
    ResponseError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
    ResponseError(
        "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk."
    ),
    ResponseError("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
    ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"),
    ResponseError("Error running script (call to f_0): @user_script:12: -READONLY You can't write against a replica."),
    ResponseError("NEWCODE a condition that a later version has a code for"),
)

NET = Context()  # belongs to no node: the network keeps working while nodes are paused


@dataclass(frozen=True)
class Rates:
    """Chances of each fate, for every request."""

    request_lost: float = 0.0
    reply_lost: float = 0.0
    late: float = 0.0
    pause_before: float = 0.0
    pause_after: float = 0.0
    kill_before: float = 0.0
    kill_after: float = 0.0
    refused: float = 0.0

    def pick(self, chance: float) -> str:
        """Return the fate that a number in [0, 1) means, "" for none."""
        for name in self.__dataclass_fields__:
            chance -= getattr(self, name)
            if chance < 0:
                return name
        return ""

    @property
    def total(self) -> float:
        """Return the chance that anything happens."""
        return sum(getattr(self, name) for name in self.__dataclass_fields__)

    def tame(self) -> "Rates":
        """Leave out what happens to the sender itself."""
        return replace(self, pause_before=0.0, pause_after=0.0, kill_before=0.0, kill_after=0.0)


CALM = Rates()

# Steps at which a worker falls asleep more often than by chance: after its claim, before its writes. Only so does an
# owner wake up with a write in hand that just fits, because its successor has not written yet.
NAMED_STEPS = {
    "claim": ("pause_after", 6.0),
    "emit": ("pause_before", 4.0),
    "commit": ("pause_before", 4.0),
    "release": ("pause_before", 4.0),
}


class Machine(Node):
    """A node that talks to Redis."""

    def __init__(self, name: str, rates: Rates = CALM) -> None:
        super().__init__(name)
        self.rates = rates
        self.total = rates.total
        self.cut_off_until = 0.0

    def calm_down(self) -> None:
        """Stop all faults for its requests."""
        self.rates, self.total, self.cut_off_until = CALM, 0.0, 0.0


class Network:
    """One Redis, and the ways to it."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        redis: MemoryRedis,
        model: ScriptModel,
        *,
        timeout_seconds: float,
        lease_seconds: float,
        on_kill: Callable[[Machine, str], None],
        on_fault: Callable[[str, Machine, str, float], None],
    ) -> None:
        self.loop = loop
        self.rng = rng
        self.redis = redis
        self.model = model
        self._timeout = timeout_seconds
        self._lease = lease_seconds
        self._on_kill = on_kill
        self._on_fault = on_fault
        self._waiters: dict[bytes, list[tuple[Machine, bytes, int, asyncio.Future[Any]]]] = {}
        self.down_until = 0.0
        self.is_flushed = False
        self.calls = 0
        self.trace: Callable[[Machine, str, object], None] | None = None
        self.on_claim: Callable[[Machine, str, Reply], None] = lambda *_: None
        redis.on_xadd = self._wake

    def _latency(self) -> float:
        rng = self.rng
        chance = rng.random()
        return chance * 0.001 if chance < 0.97 else rng.random() * 0.03

    def pause_seconds(self) -> float:
        """Draw how long a machine sleeps: up to three leases."""
        return self.rng.uniform(0.05, 3.0) * self._lease

    async def call(self, node: Machine, what: str, apply: Callable[[], Any], *, timeout: float | None = None) -> Any:
        """Apply the request at the server and return its result. Raises the driver's errors."""
        if node.is_dead:
            raise asyncio.CancelledError
        self.calls += 1
        loop, rng = self.loop, self.rng
        fate = ""
        if node.total and (chance := rng.random()) < node.total:
            fate = node.rates.pick(chance)
        elif (
            node.total
            and what in NAMED_STEPS
            and rng.random() < getattr(node.rates, NAMED_STEPS[what][0]) * NAMED_STEPS[what][1]
        ):
            fate = NAMED_STEPS[what][0]
        if fate:
            if fate == "kill_before":
                self._on_kill(node, f"before {what}")
                raise asyncio.CancelledError
            if fate == "pause_before":
                seconds = self.pause_seconds()
                self._on_fault("pause", node, f"before {what}", seconds)
                loop.pause(node, seconds)
                await asyncio.sleep(0)
                if node.is_dead:
                    raise asyncio.CancelledError
        patience = self._timeout if timeout is None else timeout
        future: asyncio.Future[Any] = loop.create_future()
        now = loop.time()
        if now < self.down_until:
            loop.call_later(self._latency(), _fail, future, "Connection refused", context=NET)
        elif now < node.cut_off_until:
            loop.call_later(patience, _time_out, future, context=NET)
        elif fate == "request_lost":
            self._on_fault("request lost", node, what, 0.0)
            self._lose(future, patience)
        elif fate == "refused":
            refusal = rng.choice(REFUSALS)
            self._on_fault("refused", node, f"{what}: {refusal}", 0.0)
            loop.call_later(self._latency(), _settle, future, None, type(refusal)(*refusal.args), context=NET)
        elif fate == "late":
            late = patience + rng.random() * 2 * self._lease
            self._on_fault("late", node, what, late)
            loop.call_later(patience, _time_out, future, context=NET)
            loop.call_later(late, self._apply, node, what, apply, None, "", context=NET)
        else:
            loop.call_later(self._latency(), self._apply, node, what, apply, future, fate, context=NET)
        return await future

    def _lose(self, future: asyncio.Future[Any], patience: float) -> None:
        if self.rng.random() < 0.5:
            self.loop.call_later(patience, _time_out, future, context=NET)
        else:
            self.loop.call_later(self._latency(), _fail, future, "Connection lost", context=NET)

    def _apply(
        self, node: Machine, what: str, apply: Callable[[], Any], future: asyncio.Future[Any] | None, fate: str
    ) -> None:
        if self.loop.time() < self.down_until:
            if future is not None:
                _fail(future, "Connection lost")
            return
        if fate == "reply_lost" and isinstance(apply, Batch):
            apply.count = self.rng.randrange(len(apply.commands) + 1)
        error: Exception | None = None
        reply: Any = None
        try:
            reply = apply()
        except NoScriptError as exc:
            error = exc
        except ServerError as exc:
            error = ResponseError(str(exc))
        if self.trace is not None:
            self.trace(node, what, error or reply)
        if future is None:
            return
        if fate == "reply_lost":
            self._on_fault("reply lost", node, what, 0.0)
            self._lose(future, self._timeout)
            return
        if fate == "kill_after" and not node.is_dead:
            self._on_kill(node, f"after {what}")
            return
        if fate == "pause_after" and not node.is_dead:
            seconds = self.pause_seconds()
            self._on_fault("pause", node, f"after {what}", seconds)
            self.loop.pause(node, seconds)
        self.loop.call_later(self._latency(), _settle, future, reply, error, context=NET)

    # --- blocking reads

    async def read(self, node: Machine, key: bytes, after: bytes, count: int, block_seconds: float) -> list[Any]:
        """XREAD with BLOCK, of one stream: its entries, [] if none came in time."""

        def first() -> Any:
            found = self.redis.xread(key, after, count)
            if found:
                return found
            future: asyncio.Future[Any] = self.loop.create_future()
            self._waiters.setdefault(key, []).append((node, after, count, future))
            return future

        patience = block_seconds + 2.0
        found = await self.call(node, "xread", first, timeout=patience)
        if not isinstance(found, asyncio.Future):
            return list(found)
        self.loop.call_later(block_seconds, _settle, found, [], None, context=NET)
        return list(await found)

    def _wake(self, key: bytes) -> None:
        waiters = self._waiters.pop(key, None)
        if waiters is None:
            return
        now = self.loop.time()
        for node, after, count, future in waiters:
            if future.done() or node.is_dead:
                continue
            if now < node.cut_off_until:
                self.loop.call_later(2.0, _time_out, future, context=NET)
                continue
            # Read when it arrives: what the script that wakes it adds besides comes along.
            self.loop.call_later(self._latency(), self._deliver, key, after, count, future, context=NET)

    def _deliver(self, key: bytes, after: bytes, count: int, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_result(self.redis.xread(key, after, count))

    def break_connections(self) -> None:
        """Every blocking read ends with an error, as when Redis restarts."""
        waiters, self._waiters = self._waiters, {}
        for waiting in waiters.values():
            for _, _, _, future in waiting:
                _fail(future, "Connection closed by server")


def _settle(future: asyncio.Future[Any], reply: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(reply)
    else:
        future.set_exception(error)
        future.exception()  # mark the error as seen: its waiter may be gone


def _fail(future: asyncio.Future[Any], text: str) -> None:
    _settle(future, None, RedisConnectionError(text))


def _time_out(future: asyncio.Future[Any]) -> None:
    _settle(future, None, RedisTimeoutError("Timeout reading from socket"))


class Batch:
    """Commands of a pipeline; when the connection breaks, only the first few may have been done."""

    def __init__(self, commands: list[Callable[[], Any]]) -> None:
        self.commands = commands
        self.count = len(commands)

    def __call__(self) -> list[Any]:
        return [command() for command in self.commands[: self.count]]
