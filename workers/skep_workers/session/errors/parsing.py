"""Parsing in a process where a finalizer may parse source in the middle of it.

Before 3.12, CPython counts the depth of the tree that it builds in a variable of the whole interpreter. The garbage
collector may run while the tree is built, and a finalizer that it runs may parse source as well, or print a traceback,
which does so. The count is then wrong, and the outer parse fails: `SystemError: AST constructor recursion depth
mismatch`. Traceback printing itself needs no such care: if its parse fails, only the finer carets are missing.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from skep_shared.originals import gc

Parsed = TypeVar("Parsed")

_DISTURBED: Final = "AST constructor recursion depth mismatch"


def parse_undisturbed(parse: Callable[..., Parsed], *args: object, **options: object) -> Parsed:
    """Return what `parse` returns for these arguments; if a finalizer disturbed it, repeat it without the collector.

    The first call runs with the collector, because disabling it affects all threads and is almost never needed.
    """
    try:
        return parse(*args, **options)
    except SystemError as exc:
        if not str(exc).startswith(_DISTURBED):
            raise
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return parse(*args, **options)
    finally:
        if was_enabled:
            gc.enable()
