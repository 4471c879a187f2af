"""Warnings of the compiler: each one is shown once per run of its cell, under the cell's name.

The compiler warns while it parses (invalid escapes) and while it generates code (`1 is 1`). Cached code would not warn
again. So source is first compiled with warnings as errors: if that succeeds, there is nothing to warn about, and the
result may be cached. Otherwise the source is compiled again, under the user's filters, each time that it runs.

`warnings.catch_warnings` is not used, because it makes every module of the process forget which warnings it has shown.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

from skep_workers.session.errors.parsing import parse_undisturbed

Arguments = TypeVarTuple("Arguments")
Made = TypeVar("Made")

_loaded = sys.modules.get  # the compiler uses the module that is loaded at that time
Filter = tuple[str, None, type[Warning], str, int]


def with_warnings_as_errors(filename: str, work: Callable[[*Arguments], Made], *args: *Arguments) -> Made:
    """Return what `work` returns; meanwhile, compiler warnings about the source of this file name are SyntaxErrors.

    Each new cell is processed by this function twice.
    """
    item: Filter = ("error", None, Warning, filename, 0)
    filters = _insert_filter(item)
    try:
        return work(*args)
    finally:
        _remove_filter(filters, item)


def quiet_compile(source: str, filename: str, mode: str, flags: int = 0) -> Any:
    """Return what `compile` returns for source that is only inspected, or raise its error; show no warning."""
    item: Filter = ("ignore", None, Warning, filename, 0)
    filters = _insert_filter(item)
    try:
        return parse_undisturbed(compile, source, filename, mode, flags, dont_inherit=True)
    finally:
        _remove_filter(filters, item)


def compiles_quietly(mode: str, source: str, filename: str) -> bool:
    """Return whether source compiles in this mode; show no warning."""
    try:
        quiet_compile(source, filename, mode)
    except SyntaxError:
        return False
    return True


@contextmanager
def without_warnings(filename: str) -> Iterator[None]:
    """Show no warning about the source of this file name."""
    item: Filter = ("ignore", None, Warning, filename, 0)
    filters = _insert_filter(item)
    try:
        yield
    finally:
        _remove_filter(filters, item)


@contextmanager
def without_repeated_warnings(filename: str) -> Iterator[None]:
    """Show a warning once that the compiler repeats, for a `finally` or for source that is compiled again."""
    module: Any = sys.modules.get("warnings", warnings)
    show: Callable[[Any], object] | None = getattr(module, "_showwarnmsg", None)  # what the interpreter looks up
    shown: set[tuple[object, ...]] = set()

    def show_once(message: Any) -> None:
        key = (str(message.message), message.category, message.lineno)
        if message.filename == filename and key in shown:
            return
        shown.add(key)
        if show is not None:
            show(message)

    if show is None:
        yield
        return
    module._showwarnmsg = show_once  # noqa: SLF001 - as above
    try:
        yield
    finally:
        module._showwarnmsg = show  # noqa: SLF001


def _insert_filter(item: Filter) -> list[Any] | None:
    """Insert a filter before all others. It matches one file only, so it doesn't affect threads that warn meanwhile."""
    filters = getattr(_loaded("warnings"), "filters", None)
    if type(filters) is not list:
        return None  # user code has replaced the list
    filters.insert(0, item)
    return filters


def _remove_filter(filters: list[Any] | None, item: Filter) -> None:
    if filters is None:
        return
    if filters and filters[0] is item:
        del filters[0]
    elif item in filters:  # a finalizer that ran meanwhile has inserted others before it
        filters.remove(item)
