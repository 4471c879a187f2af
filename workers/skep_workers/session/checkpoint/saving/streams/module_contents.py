"""Names in modules of the session's own that can't be saved.

They are left out, and reported. But the module's file may bind such a name again, as with a connection or a client that
it opens. Then a restore imports the module again, and sets the rest of its names to the saved values.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from skep_workers.session.checkpoint.reducers.module_files import stored_names_of
from skep_workers.session.checkpoint.reducers.modules import ModuleContent
from skep_workers.session.checkpoint.unchanged.fingerprints import is_immutable


class ImportAgain(Exception):
    """A module has to be saved by its name; importing it again binds `names`."""

    def __init__(self, module: ModuleType, names: frozenset[str]) -> None:
        super().__init__()
        self.module = module
        self.names = names


def failing_names(module: ModuleType, reason: Callable[[str, Any], str]) -> dict[str, str]:
    """Return the names in a module that can't be saved, with reasons. Raises ImportAgain.

    reason: returns why the value of a name can't be saved, '' if it can.
    """
    names = ModuleContent(module).names()
    failed = {name: why for name, value in names.items() if not is_immutable(value) and (why := reason(name, value))}
    if failed:
        bound = stored_names_of(module)
        if bound is not None and not bound.isdisjoint(failed):
            raise ImportAgain(module, bound & failed.keys())
    return failed
