"""skep's Lua scripts in Python, on memory: same keys and arguments in, same replies out.

Each function follows its `.lua` line by line; `test_conformance.py` runs the same histories through both and compares
every reply and everything that is stored. With a name of `SEEDED_BUGS` a script is wrong in a known way, for the test
of the checker.
"""

from collections.abc import Callable
from typing import Any

from skep_shared.broker.scripts import Scripts

from .memory_redis import MemoryRedis, encoded
from .script_base import Reply
from .script_cells import CellScripts
from .script_checkpoints import CheckpointScripts
from .script_owners import OwnerScripts
from .script_requests import RequestScripts


class ScriptModel(CellScripts, OwnerScripts, RequestScripts, CheckpointScripts):
    """The scripts of one server."""

    def __init__(self, redis: MemoryRedis, bugs: frozenset[str] = frozenset()) -> None:
        super().__init__(redis, bugs)
        self._scripts: dict[str, Callable[..., Reply]] = {name: getattr(self, f"_{name}") for name in Scripts.sources}

    def call(self, name: str, keys: list[bytes], args: list[bytes]) -> Reply:
        """Run a script."""
        return self._scripts[name](keys, args)

    def run(self, name: str, keys: tuple[Any, ...], args: tuple[Any, ...]) -> Reply:
        """Run a script with what the driver would be given."""
        return self._scripts[name]([encoded(key) for key in keys], [encoded(arg) for arg in args])
