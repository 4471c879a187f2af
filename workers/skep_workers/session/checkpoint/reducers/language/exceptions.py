"""Exceptions with their causes, as bytes and back; checkpoints refer to the functions here that make them."""

from typing import Any

from skep_workers.session.checkpoint.reducers.definitions import class_attribute, is_made_by_c


def reduce_exception(exc: BaseException) -> Any:
    """Reduce an exception with its cause and context; a restore calls no `__init__` that a cell has defined."""
    kind = type(exc)
    base: Any = next(base for base in kind.__mro__ if is_made_by_c(base))
    if (
        class_attribute(kind, "__reduce__") is not class_attribute(base, "__reduce__")
        or class_attribute(kind, "__reduce_ex__") is not object.__reduce_ex__
        or class_attribute(kind, "__setstate__") is not class_attribute(base, "__setstate__")
        or class_attribute(kind, "__getstate__") is not class_attribute(base, "__getstate__")
    ):
        return NotImplemented
    reduced = base.__reduce__(exc)
    fields = dict(reduced[2]) if len(reduced) > 2 and isinstance(reduced[2], dict) else {}
    state = (fields, exc.__cause__, exc.__context__, exc.__suppress_context__)
    return make_exception, (base, kind, *reduced[1]), state, None, None, set_exception_state


def make_exception(base: Any, kind: Any, *arguments: Any) -> BaseException:
    """Make an exception as its built-in base does."""
    made: BaseException = base.__new__(kind, *arguments)
    base.__init__(made, *arguments)
    return made


def set_exception_state(exc: BaseException, state: tuple[dict[str, Any], Any, Any, bool]) -> None:
    """Set an exception's fields, cause and context."""
    fields, exc.__cause__, exc.__context__, exc.__suppress_context__ = state
    exc.__setstate__(fields)
