"""Names in a session's namespace that belong to the engine."""

from typing import Final

RESULT_NAMES: Final = ("_", "__", "___")

OWN_RESULTS: Final = "__own_results__"  # a list of those that user code has bound to something else, if there are any
EXIT_CODE: Final = "_exit_code"  # the status of the latest command; a variable that lists leave out

# Never overwritten by a merge, and kept by clear().
ENGINE_INTERNALS: Final = frozenset(
    {
        *RESULT_NAMES,
        "_exception",
        OWN_RESULTS,
        "__annotations__",
        "__builtins__",
        "__doc__",
        "__loader__",
        "__name__",
        "__package__",
        "__spec__",
    }
)
