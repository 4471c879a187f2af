"""A Lua script of this package, and how it is run: what all calls of scripts share."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, ClassVar

from redis.exceptions import NoScriptError

from skep_shared.keys import Keys
from skep_shared.lane import Commands, Lane


@dataclass(frozen=True, slots=True)
class ScriptSource:
    """The text of `lua/NAME.lua`, and the name by which the server keeps it."""

    name: str
    text: str = field(repr=False)
    sha: str


def load_script(name: str) -> ScriptSource:
    """Read a script."""
    text = files("skep_shared").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    return ScriptSource(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def load_scripts(*names: str) -> Mapping[str, ScriptSource]:
    """Read scripts, by name."""
    return {name: load_script(name) for name in names}


async def run_script(
    redis: Commands, source: ScriptSource, keys: Sequence[str], args: Sequence[str | bytes | int | float]
) -> list[Any]:
    """Run a script, also on a server that has forgotten it. Raises what the driver raises."""
    try:
        reply = await redis.execute_command("EVALSHA", source.sha, len(keys), *keys, *args)
    except NoScriptError:
        reply = await redis.execute_command("EVAL", source.text, len(keys), *keys, *args)
    answer: list[Any] = reply
    return answer


class ScriptCalls:
    """Scripts of one shard on one client."""

    sources: ClassVar[Mapping[str, ScriptSource]]

    def __init__(self, redis: Commands, keys: Keys) -> None:
        self._redis = redis
        self.keys = keys

    async def _call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int | float]) -> list[Any]:
        return await run_script(self._redis, self.sources[name], keys, args)

    def _post(
        self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int | float]
    ) -> asyncio.Future[Any] | None:
        """Send the call before anything else happens, and give the reply to come; None where only `_call` can."""
        if not isinstance(self._redis, Lane):
            return None
        return self._redis.post("EVALSHA", self.sources[name].sha, len(keys), *keys, *args)
