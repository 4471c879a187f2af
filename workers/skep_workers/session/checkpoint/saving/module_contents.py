"""What of a module of the session's own can't be saved, and what is made of that.

The names that can't be saved are left out, and reported. But where the module's file would bind them again, as it does
with a connection or a client that it opens, the module is imported again in a restore, and given the rest of its names
as they were.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from skep_workers.session.checkpoint.reducers.module_files import stored_names_of
from skep_workers.session.checkpoint.reducers.modules import ModuleContent
from skep_workers.session.checkpoint.unchanged.fingerprints import is_immutable


class ImportAgain(Exception):
    """A module has to be saved by its name; `names` are those that importing it again gives."""

    def __init__(self, module: ModuleType, names: frozenset[str]) -> None:
        super().__init__()
        self.module = module
        self.names = names


def failing_names(module: ModuleType, reason: Callable[[str, Any], str]) -> dict[str, str]:
    """Return the names in a module that can't be saved, with reasons. Raises ImportAgain.

    reason: tells why the value of a name can't be saved, '' if it can.
    """
    names = ModuleContent(module).names()
    failed = {name: why for name, value in names.items() if not is_immutable(value) and (why := reason(name, value))}
    if failed:
        bound = stored_names_of(module)
        if bound is not None and not bound.isdisjoint(failed):
            raise ImportAgain(module, bound & failed.keys())
    return failed
