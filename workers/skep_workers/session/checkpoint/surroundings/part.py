"""What each part of the ambient state offers, and how it looks at values without running their code."""

from types import MethodType
from typing import Any, ClassVar, Final

PLAIN_DEPTH: Final = 6
_ENGINE: Final = "skep_workers."
_ATOMS: Final = frozenset({str, int, float, complex, bool, bytes, type(None)})
_CONTAINERS: Final = frozenset({list, tuple, set, frozenset})

# What a part has read: plain data, and by a name that is told to users the objects only a session's pickler can save.
Reading = tuple[Any, dict[str, Any]]


class Part:
    """One part of what a session has besides its names.

    name: its key in a checkpoint, also told where it could not be restored. is_needed_by_loading: restored before
    variables are; the others are restored after them, since imports and user code may change them meanwhile. library:
    the module that it is about; while that isn't loaded, the part isn't read.
    """

    name: ClassVar[str]
    is_needed_by_loading: ClassVar[bool] = False
    library: str | None = None

    def prepare(self) -> None:
        """Find out what takes long, once, in the process that session processes are forked of."""

    def begin(self) -> None:
        """Take what is now as what needs no saving; called when a session's process is set up, before its cells."""

    def read(self) -> Reading | None:
        """Return what differs from the start, None if nothing does. Called after every cell, so it must be cheap."""
        raise NotImplementedError

    def restore(self, state: Any) -> None:
        """Put plain data back that `read` has returned. Whatever this raises is told."""

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Put objects back, under the names that `read` gave them; those that were lost are missing."""

    def begin_as_twin(self) -> None:
        """Go on in a fork of the process: what a fork, or the engine in it, has changed needs no saving."""

    def forget(self, name: str, value: Any) -> None:
        """Take an object out of its place, in a fork: no checkpoint has it, so a restore would not have it either."""


def is_plain(value: Any, depth: int = PLAIN_DEPTH) -> bool:
    """Return whether a value consists of built-in types only, so that comparing and pickling it runs no other code."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if not depth:
        return False
    if kind in _CONTAINERS:
        return all(is_plain(item, depth - 1) for item in value)
    return kind is dict and all(is_plain(key, depth - 1) and is_plain(item, depth - 1) for key, item in value.items())


def is_the_engines(value: Any) -> bool:
    """Return whether a value is a bound method of the engine's."""
    return type(value) is MethodType and str(getattr(value.__func__, "__module__", "")).startswith(_ENGINE)
