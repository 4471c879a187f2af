"""A Lua script of this package, and how it is run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from skep_shared.lane import Commands


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
