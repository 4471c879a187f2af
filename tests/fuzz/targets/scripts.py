"""Submits and requests: through the client's checks, and past them, into the real Lua scripts on a real Redis."""

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar

import msgpack
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from skep.local.redis_server import RedisServer
from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.keys import Keys
from skep_shared.broker.redis_client.connection import open_redis
from skep_shared.broker.script_source import run_script
from skep_shared.broker.submission import append_cells, cell_from_options, chained, pack_options
from skep_shared.errors import SkepError
from skep_shared.limits import check_cell_id, check_session_id
from skep_shared.models import SessionOptions
from skep_shared.settings import Settings

from ..target import Finding, as_bytes, unpack_input
from .entries import BODY

PREFIX = "t"
KEYS = Keys(PREFIX)
SESSION = "s"
# The keys that each script is called with for the session; of a fork, also those of one new session.
SCRIPT_KEYS = {
    "submit": (KEYS.session(SESSION), KEYS.cells(SESSION), KEYS.ids(SESSION), KEYS.waiting, KEYS.sessions),
    "watch": (KEYS.session(SESSION), KEYS.ids(SESSION)),
    "control": (KEYS.session(SESSION), KEYS.ids(SESSION), KEYS.waiting),
    "close": (KEYS.session(SESSION), KEYS.events(SESSION), KEYS.waiting),
    "name": (KEYS.session(SESSION), KEYS.checkpoints(SESSION), KEYS.names(SESSION)),
    "open": (KEYS.session(SESSION), KEYS.sessions),
    "update": (KEYS.session(SESSION),),
    "fork": (
        KEYS.session(SESSION), KEYS.checkpoints(SESSION), KEYS.pins(SESSION), KEYS.sessions,
        KEYS.session("new"), KEYS.checkpoints("new"),
    ),
}  # fmt: skip
CREATED = b"1700000000000"
CHECKED = {"session_id": "s", "cell_id": "c1", "code": "1"}


class Scripts:
    """Operations: [script, argument …] past the client's checks, ["client", options], ["hash", field, value].

    A script that fails must have written nothing. What a client has checked, no script may refuse by an error, unless
    something else has written to the session's hash before.
    """

    name: ClassVar[str] = "scripts"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._server = RedisServer()
        self._loop.run_until_complete(self._server.__aenter__())
        self._settings = Settings.load(redis_url=self._server.url, prefix=PREFIX)
        self._redis: Redis = open_redis(self._settings)
        self._scripts = ClientScripts(self._redis, KEYS)

    def close(self) -> None:
        """Stop the server."""
        self._loop.run_until_complete(self._redis.aclose())
        self._loop.run_until_complete(self._server.stop())
        self._loop.close()

    def seeds(self) -> Iterable[object]:
        """Yield calls as clients make them, after each other."""
        inline = (16384, 16)
        submit = ["submit", PREFIX, SESSION, "client", 100, b"", *inline, 0, "c1", BODY, "c2", BODY]
        limits = msgpack.packb({"limits": {"cells_per_minute": 3, "pending_cells": 5}})
        yield [
            submit,
            ["watch", "c1", "client"],
            ["control", PREFIX, SESSION, "interrupt", "c1", "cell", "", "z", "v1-00"],
        ]
        yield [
            ["submit", PREFIX, SESSION, "client", 100, limits, *inline, 1, "c1", BODY],
            submit,
            ["close", PREFIX, SESSION, "", ""],
        ]
        yield [
            ["open", SESSION, msgpack.packb({"expires_in": 2.5, "env": {"A": "b"}})],
            ["close", PREFIX, SESSION, "", "", "1"],
            ["update", PREFIX, SESSION, "0" * 40, limits, "", "d", "2.5"],
        ]
        yield [
            ["open", SESSION, limits],
            ["name", "17-1", "first", 1000, ""],
            ["control", PREFIX, SESSION, "operate", "", "process", "", "o", "o1"],
        ]
        yield [
            ["hash", "created_at", CREATED],
            ["hash", "state", "open"],
            ["fork", PREFIX, SESSION, CREATED, "0", "token", b"m", b"", "new"],
        ]
        yield [["hash", "owner", "w"], ["hash", "cursor", "1"], submit]
        options = {
            "timeout": 3.0,
            "labels": {"a": "b"},
            "inputs": {"x": [1, "a"]},
            "max_attempts": 2,
            "on_worker_loss": "fail",
        }
        yield [["client", CHECKED | {"options": options, "session": {"durability": "none", "labels": {"a": "b"}}}]]
        yield [["client", CHECKED | {"chain": ["c2", "c3"]}], ["client", CHECKED | {"chain": ["c2"]}]]

    def execute(self, data: bytes) -> None:
        """Call the scripts in order on an empty server."""
        self._loop.run_until_complete(self._execute(unpack_input(data) or []))

    async def _execute(self, operations: list[Any]) -> None:
        await self._redis.flushall()
        is_clean = True
        for operation in operations:
            match operation:
                case ["hash", field, value]:
                    is_clean = False
                    await self._redis.hset(KEYS.session(SESSION), as_bytes(field), as_bytes(value))  # type: ignore[arg-type,misc]
                case ["client", dict(fields)]:
                    await self._submit(fields, is_clean=is_clean)
                case [str(name), *arguments] if name in SCRIPT_KEYS:
                    is_clean = False
                    await self._run(name, [as_bytes(each) for each in arguments])

    async def _run(self, name: str, arguments: list[bytes]) -> None:
        """Run a script past all checks."""
        before = await self._contents()
        try:
            await run_script(self._redis, ClientScripts.sources[name], SCRIPT_KEYS[name], arguments)
        except ResponseError as exc:
            if await self._contents() != before:
                raise Finding(f"{name}.lua has failed after it had written: {exc}") from exc

    async def _submit(self, fields: dict[Any, Any], *, is_clean: bool) -> None:
        """Submit as the client does, with its checks."""
        before = await self._contents()
        try:
            session_id, cell_id = check_session_id(fields.get("session_id")), check_cell_id(fields.get("cell_id"))
            options, session = fields.get("options", {}), fields.get("session", {})
            if not _is_named(options) or not _is_named(session):
                return
            spec = cell_from_options(fields.get("code", ""), options)
            packed = pack_options(SessionOptions(**session), self._settings)
            ids = [cell_id, *map(check_cell_id, _chain_of(fields))]
            cells = chained([(each, spec) for each in ids])
        except (SkepError, ValueError):
            if await self._contents() != before:
                raise Finding("something was written before a check refused the cell") from None
            return
        try:
            await append_cells(
                self._scripts, session_id, cells, max_pending=100, client_id="client", options=packed, is_chain=True
            )
        except SkepError:
            pass
        except RedisError as exc:
            if is_clean or await self._contents() != before:
                raise Finding(f"submit.lua refuses what the client has checked: {exc}") from exc

    async def _contents(self) -> bytes:
        """Return a digest of all keys, the same for the same contents."""
        digest: bytes = await self._redis.execute_command("DEBUG", "DIGEST")
        return digest


def _is_named(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _chain_of(fields: dict[Any, Any]) -> list[Any]:
    chain = fields.get("chain", [])
    return chain if isinstance(chain, list) else [chain]
