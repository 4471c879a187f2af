"""Clients of the Redis in memory, and everything that can go wrong between them and it.

A request or its reply gets lost, late, or meets its sender's death or sleep: just before it is sent, or just after it
has been applied. Lost means a timeout or a broken connection, by chance; late means applied long after its sender has
given up. So a sender never knows more than a real one would.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Self

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from skep_shared.scripts import Scripts

from .memory_redis import MemoryRedis, ServerError, encoded
from .script_model import Reply, ScriptModel
from .virtual_loop import Node, VirtualLoop

NET = Context()  # no node's: what happens in the network goes on whoever is paused
_NAME_OF_SHA = {source.sha: name for name, source in Scripts.sources.items()}
_NAME_OF_TEXT = {source.text: name for name, source in Scripts.sources.items()}


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

    def pick(self, chance: float) -> str:
        """Give the fate that a number in [0, 1) means, "" for none."""
        for name in self.__dataclass_fields__:
            chance -= getattr(self, name)
            if chance < 0:
                return name
        return ""

    @property
    def total(self) -> float:
        """Give the chance that anything happens."""
        return sum(getattr(self, name) for name in self.__dataclass_fields__)

    def tame(self) -> "Rates":
        """Leave out what happens to the sender itself."""
        return replace(self, pause_before=0.0, pause_after=0.0, kill_before=0.0, kill_after=0.0)


CALM = Rates()

# Steps at which a worker falls asleep more often than by chance: behind its claim, before its writes. Only so does an
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
        """Let nothing more happen to its requests."""
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
        """Have `apply` done at the server, and give what it gives. Raises the driver's errors."""
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
        if fate == "reply_lost" and isinstance(apply, _Batch):
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
        future.exception()  # seen: whoever waited for it may be gone


def _fail(future: asyncio.Future[Any], text: str) -> None:
    _settle(future, None, RedisConnectionError(text))


def _time_out(future: asyncio.Future[Any]) -> None:
    _settle(future, None, RedisTimeoutError("Timeout reading from socket"))


class _Batch:
    """Commands of a pipeline; when the connection breaks, only the first few may have been done."""

    def __init__(self, commands: list[Callable[[], Any]]) -> None:
        self.commands = commands
        self.count = len(commands)

    def __call__(self) -> list[Any]:
        return [command() for command in self.commands[: self.count]]


def _as_dict(flat: Iterable[bytes]) -> dict[bytes, bytes]:
    items = iter(flat)
    return dict(zip(items, items, strict=True))


class MemoryClient:
    """What the host and the clients know as `Redis`, for one machine."""

    def __init__(self, network: Network, node: Machine) -> None:
        self._network = network
        self._node = node
        self._store = network.redis

    async def aclose(self) -> None:
        """Nothing is open."""

    def _call(self, what: str, apply: Callable[[], Any]) -> Any:
        return self._network.call(self._node, what, apply)

    async def execute_command(self, name: str, *args: Any) -> Any:
        """Run a script, or a command that the driver doesn't parse."""
        if name == "EVALSHA":
            return await self._evaluate(_NAME_OF_SHA[args[0]], args, knows_text=False)
        if name == "EVAL":
            return await self._evaluate(_NAME_OF_TEXT[args[0]], args, knows_text=True)
        if name == "XREAD":  # of one stream
            _, count, _, block_ms, _, stream, after = args
            found = await self._network.read(self._node, encoded(stream), encoded(after), count, block_ms / 1000)
            return [[encoded(stream), [(entry_id, list(flat)) for entry_id, flat in found]]] if found else None
        key = encoded(args[0])
        match name:
            case "HGET":
                return await self._call("hget", lambda: self._store.hget(key, encoded(args[1])))
            case "HMGET":
                return await self._call("hmget", lambda: self._store.hmget(key, *map(encoded, args[1:])))
            case "HKEYS" | "SMEMBERS":
                return await self._call(name.lower(), lambda: list(self._store.get(key) or ()))
            case "HVALS":
                return await self._call("hvals", lambda: list((self._store.get(key) or {}).values()))
            case "HLEN" | "SCARD" | "ZCARD":
                return await self._call(name.lower(), lambda: len(self._store.get(key) or ()))
            case "XRANGE":
                low, high, most = encoded(args[1]), encoded(args[2]), int(args[4])
                return await self._call("xrange", lambda: self._store.xrange(key, low, high, most))
            case "EXISTS":
                return await self._call("exists", lambda: int(self._store.exists(key)))
            case "ZREVRANGE":
                most = int(args[2]) + 1
                return await self._call("zrevrange", lambda: self._store.up_to(key, float("inf"))[::-1][:most])
            case "HGETALL":
                return await self._call("hgetall", lambda: dict(self._store.get(key) or {}))
        raise NotImplementedError(name)

    async def _evaluate(self, name: str, args: tuple[Any, ...], *, knows_text: bool) -> Reply:
        count = int(args[1])
        keys = [encoded(key) for key in args[2 : 2 + count]]
        rest = [encoded(arg) for arg in args[2 + count :]]
        network = self._network
        if name == "commit" and "commit in two steps" in network.model.bugs:
            reply: Reply = await self._call("commit", lambda: network.model._commit(keys, rest, ("events",)))
            if reply[0] in {b"OK", b"DUP"}:
                reply = await self._call("commit", lambda: network.model._commit(keys, rest, ("cursor",)))
            return reply

        def run() -> Reply:
            if knows_text:
                network.is_flushed = False
            elif network.is_flushed:
                raise NoScriptError("NOSCRIPT No matching script.")
            reply = network.model.call(name, keys, rest)
            if name == "claim" and reply[0] == b"OK":
                network.on_claim(self._node, rest[1].decode(), reply)
            return reply

        answer: Reply = await self._call(name, run)
        return answer

    async def xadd(self, key: str, fields: dict[Any, Any], maxlen: int, *, approximate: bool) -> bytes:
        """XADD."""
        flat = [encoded(part) for pair in fields.items() for part in pair]
        return bytes(await self._call("xadd", lambda: self._store.xadd(encoded(key), None, *flat)))

    async def hset(self, key: str, name: Any, value: Any) -> None:
        """HSET."""
        await self._call("hset", lambda: self._store.hset(encoded(key), {encoded(name): value}))

    async def exists(self, key: str) -> int:
        """EXISTS."""
        return int(await self._call("exists", lambda: self._store.exists(encoded(key))))

    async def delete(self, *keys: str) -> int:
        """DEL."""
        return int(await self._call("del", lambda: self._store.delete(*map(encoded, keys))))

    async def xrange(self, key: str, min: str = "-", max: str = "+", count: int | None = None) -> list[Any]:  # noqa: A002 - redis-py's names
        """XRANGE."""
        low, high = encoded(min), encoded(max)
        found = await self._call("xrange", lambda: self._store.xrange(encoded(key), low, high, count))
        return [(entry_id, _as_dict(flat)) for entry_id, flat in found]

    async def xtrim(self, key: str, *, minid: bytes, approximate: bool) -> int:
        """XTRIM."""
        return int(await self._call("xtrim", lambda: self._store.xtrim_minid(encoded(key), minid)))

    def pipeline(self, *, transaction: bool) -> "MemoryPipeline":
        """A pipeline without MULTI."""
        assert not transaction
        return MemoryPipeline(self._network, self._node)

    # --- arq, as far as skep counts on it: a queue that may lose a job with its worker, and may run one twice

    async def enqueue_job(self, name: str, session_id: str, **_: float) -> None:
        """Put an activation on the queue."""
        await self._call("enqueue", lambda: self._store.xadd(b"arq", None, b"s", session_id))

    async def zcount(self, *_: Any) -> int:
        """Count the jobs in the queue, which is a stream here."""

        def count() -> int:
            stream = self._store.get(b"arq")
            return len(stream.ids) if stream is not None else 0

        return int(await self._call("zcount", count))


class MemoryPipeline:
    """Commands that travel together."""

    def __init__(self, network: Network, node: Machine) -> None:
        self._network = network
        self._node = node
        self._commands: list[Callable[[], Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing to give back."""

    def hmget(self, key: str, names: list[str]) -> None:
        store = self._network.redis
        self._commands.append(lambda: store.hmget(encoded(key), *map(encoded, names)))

    def hget(self, key: str, name: str) -> None:
        store = self._network.redis
        self._commands.append(lambda: store.hget(encoded(key), encoded(name)))

    def hset(self, key: str, name: bytes, value: bytes) -> None:
        store = self._network.redis
        self._commands.append(lambda: store.hset(encoded(key), {name: value}))

    def xadd(self, key: str, fields: dict[Any, Any], maxlen: int, *, approximate: bool) -> None:
        store = self._network.redis
        flat = [encoded(part) for pair in fields.items() for part in pair]
        self._commands.append(lambda: store.xadd(encoded(key), None, *flat))

    def pexpire(self, key: str, ms: int) -> None:
        store = self._network.redis
        self._commands.append(lambda: store.pexpire(encoded(key), ms))

    def lpush(self, key: str, value: bytes) -> None:
        """arq's wake list: whoever waits for the queue is woken by the job itself here."""

    def ltrim(self, key: str, start: int, end: int) -> None:
        """See `lpush`."""

    def expire(self, key: str, seconds: int) -> None:
        """See `lpush`."""

    async def execute(self) -> list[Any]:
        """Send them."""
        if not self._commands:
            return []
        return list(await self._network.call(self._node, "pipeline", _Batch(self._commands)))
