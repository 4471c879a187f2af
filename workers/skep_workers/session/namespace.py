"""The one namespace of a session: the dict of its `__main__` module, from the first cell to the last.

It is never copied and never replaced. Functions keep the dict they were defined in as their globals; a second dict
would leave them with stale names.
"""

import builtins
import sys
from types import ModuleType
from typing import Any, Final

RESULT_NAMES: Final = ("_", "__", "___")


class NamespaceManager:
    """Owns the dict that every cell runs in, which is `sys.modules["__main__"].__dict__` too."""

    def __init__(self) -> None:
        module = ModuleType("__main__", None)
        self.names: Final[dict[str, Any]] = module.__dict__
        self.names["__builtins__"] = builtins
        sys.modules["__main__"] = module

    def bind(self, values: dict[str, Any]) -> None:
        """Set names from outside, before a cell runs."""
        self.names.update(values)

    def push_result(self, value: object) -> None:
        """Move `_` to `__` and `__` to `___`, and set `_`; None moves nothing."""
        if value is None:
            return
        names = self.names
        for older, newer in (("___", "__"), ("__", "_")):
            if newer in names:
                names[older] = names[newer]
        names["_"] = value
