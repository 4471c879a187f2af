"""The interface of the parts of the ambient state, and checks of values that run no code of theirs."""

from types import MethodType
from typing import Any, ClassVar, Final

PLAIN_DEPTH: Final = 6
_ENGINE: Final = "skep_workers."
_ATOMS: Final = frozenset({str, int, float, complex, bool, bytes, type(None)})
_CONTAINERS: Final = frozenset({list, tuple, set, frozenset})

# The result of reading a part: plain data; and objects, by names that are shown to users, for the session's pickler.
Reading = tuple[Any, dict[str, Any]]


class Part:
    """One part of a session's state besides its names.

    name: its key in a checkpoint, also shown in reports. is_needed_by_loading: it is restored before the variables;
    other parts are restored after them, since imports and user code may change them meanwhile. library: the module that
    it belongs to; while that isn't loaded, the part isn't read.
    """

    name: ClassVar[str]
    is_needed_by_loading: ClassVar[bool] = False
    library: str | None = None

    def prepare(self) -> None:
        """Do the slow part of reading once, in the process that session processes are forked from."""

    def begin(self) -> None:
        """Record the present state as not to be saved; called when the process is set up, before any cell runs."""

    def read(self) -> Reading | None:
        """Return what differs from the start, None if nothing does. Called after every cell, so it must be cheap."""
        raise NotImplementedError

    def restore(self, state: Any) -> None:
        """Restore from the plain data that `read` has returned. Exceptions are reported."""

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Restore objects, by the names that `read` has returned; lost ones are missing."""

    def begin_as_twin(self) -> None:
        """Continue in a fork of the process: changes by the fork, or by the engine in it, are not to be saved."""

    def forget(self, name: str, value: Any) -> None:
        """Remove an object, in a fork: it is not in the checkpoint, so a restore would not have it either."""


def is_plain(value: Any, depth: int = PLAIN_DEPTH) -> bool:
    """Return whether a value consists of built-in types only, so that comparing or pickling it runs no other code."""
    kind = type(value)
    if type(kind) is type and kind in _ATOMS:  # a metaclass may compare its classes by code of its own
        return True
    if not depth:
        return False
    if type(kind) is type and kind in _CONTAINERS:
        return all(is_plain(item, depth - 1) for item in value)
    return kind is dict and all(is_plain(key, depth - 1) and is_plain(item, depth - 1) for key, item in value.items())


def is_the_engines(value: Any) -> bool:
    """Return whether a value is a bound method of the engine's."""
    return type(value) is MethodType and str(getattr(value.__func__, "__module__", "")).startswith(_ENGINE)
