"""The `Redis` client of hosts and clients in the simulation: its commands, sent through the simulated network."""

from collections.abc import Callable, Iterable
from typing import Any, Self

from redis.exceptions import NoScriptError

from skep_shared.broker.scripts import Scripts

from ..model.memory_redis import encoded
from ..model.script_base import Reply
from .network import Batch, Machine, Network
from .queueing_model import QUEUE

_NAME_OF_SHA = {source.sha: name for name, source in Scripts.sources.items()}
_NAME_OF_TEXT = {source.text: name for name, source in Scripts.sources.items()}


def _as_dict(flat: Iterable[bytes]) -> dict[bytes, bytes]:
    items = iter(flat)
    return dict(zip(items, items, strict=True))


class MemoryClient:
    """The `Redis` client of one machine."""

    def __init__(self, network: Network, node: Machine) -> None:
        self._network = network
        self._node = node
        self._store = network.redis

    async def aclose(self) -> None:
        """Do nothing: no connection is open."""

    def abort(self) -> None:
        """Do nothing: no connection is open, and the call that waited for an answer has ended."""

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

    async def zcount(self, *_: Any) -> int:
        """Count the jobs in arq's queue, which is a stream here."""

        def count() -> int:
            stream = self._store.get(QUEUE)
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
        """Do nothing: there is no connection to return."""

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

    async def execute(self) -> list[Any]:
        """Send them."""
        if not self._commands:
            return []
        return list(await self._network.call(self._node, "pipeline", Batch(self._commands)))
