"""The names in a session's namespace, and among the built-ins, that belong to the engine."""

from typing import Final

RESULT_NAMES: Final = ("_", "__", "___")

OWN_RESULTS: Final = "__own_results__"  # the list of the result names that user code has bound itself, if any
WARNINGS: Final = "__warningregistry__"  # where the interpreter records the warnings that a module has shown
HELPER: Final = "__skep_magic__"  # the built-in name of the object whose methods translated magics call
EXIT_CODE: Final = "_exit_code"  # the variable with the status of the latest command; lists of variables omit it

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
