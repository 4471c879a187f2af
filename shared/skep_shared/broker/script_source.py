"""Load and run the Lua scripts of this package."""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, ClassVar, Final

from redis.exceptions import NoScriptError

from skep_shared.broker.keys import Keys
from skep_shared.broker.lane import Commands, Lane
from skep_shared.signing import Signer

_INCLUDES: Final = re.compile(r"^-- Includes (\w+)\.lua", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ScriptSource:
    """The text of `lua/NAME.lua` after the parts that it includes, and the hash by which the server caches it."""

    name: str
    text: str = field(repr=False)
    sha: str


def load_script(name: str) -> ScriptSource:
    """Read a script, with the parts that its head says it includes."""
    text = _read(name)
    for included in reversed(_INCLUDES.findall(text)):
        text = f"{_read(included)}\n{text}"
    return ScriptSource(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return files("skep_shared.broker").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


def load_scripts(*names: str) -> Mapping[str, ScriptSource]:
    """Read scripts, by name."""
    return {name: load_script(name) for name in names}


async def run_script(
    redis: Commands, source: ScriptSource, keys: Sequence[str], args: Sequence[str | bytes | int | float]
) -> list[Any]:
    """Run a script, also on a server that hasn't cached it. Raises the driver's errors."""
    try:
        reply = await redis.execute_command("EVALSHA", source.sha, len(keys), *keys, *args)
    except NoScriptError:
        reply = await redis.execute_command("EVAL", source.text, len(keys), *keys, *args)
    answer: list[Any] = reply
    return answer


class ScriptCalls:
    """Scripts of one shard on one client."""

    sources: ClassVar[Mapping[str, ScriptSource]]

    def __init__(self, redis: Commands, keys: Keys, signer: Signer | None = None) -> None:
        """`signer`: signs what is written and checks what is read; None: neither."""
        self._redis = redis
        self.keys = keys
        self.signer = signer

    async def _call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int | float]) -> list[Any]:
        return await run_script(self._redis, self.sources[name], keys, args)

    def _post(
        self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int | float]
    ) -> asyncio.Future[Any] | None:
        """Send the call at once and return the future reply; None if only `_call` can send it."""
        if not isinstance(self._redis, Lane):
            return None
        return self._redis.post("EVALSHA", self.sources[name].sha, len(keys), *keys, *args)
