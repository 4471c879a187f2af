"""Names in a session's namespace that belong to the engine."""

from typing import Final

RESULT_NAMES: Final = ("_", "__", "___")

# Never overwritten by a merge, and kept by clear().
ENGINE_INTERNALS: Final = frozenset(
    {
        *RESULT_NAMES,
        "_exception",
        "__annotations__",
        "__builtins__",
        "__doc__",
        "__loader__",
        "__name__",
        "__package__",
        "__spec__",
    }
)
