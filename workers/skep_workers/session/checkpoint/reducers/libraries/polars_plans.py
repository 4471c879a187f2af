"""Lazy frames and expressions of polars, as bytes and back.

polars pickles the Python functions in a plan by calling `pickle.dumps`, as its documentation says. That call gets a
marker instead, and the functions themselves are saved with all other functions of the session. As copies they would not
see later changes of the variables that they use.
"""

import pickle
import re
import threading
from pickle import PicklingError
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced

# Functions of restored plans, which look them up in each run; so do plans that are derived from them.
_functions: Final[dict[str, Any]] = {}
_MARK: Final = "skep-function-"
_MARKS: Final = re.compile(_MARK.encode() + rb"([0-9a-f]{16})")


class _Function:
    """A stand-in for a Python function in a plan."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __reduce__(self) -> Reduced:
        return find_function, (_MARK + self._key,)


def reduce_plan(plan: Any) -> Reduced:
    """Reduce a plan, and the functions in it. Raises PicklingError."""
    functions: dict[str, Any] = {}
    original, thread = pickle.dumps, threading.get_ident()

    def name(value: Any, *arguments: Any, **options: Any) -> bytes:
        if threading.get_ident() != thread:
            return original(value, *arguments, **options)
        key = _key(value)
        functions[key] = value
        return original(_Function(key), protocol=pickle.HIGHEST_PROTOCOL)

    pickle.dumps = name  # type: ignore[assignment]
    try:
        state = plan.__getstate__()
    finally:
        pickle.dumps = original
    used = {key.decode() for key in _MARKS.findall(state)}
    if not used >= functions.keys():
        raise PicklingError("polars doesn't keep Python functions as is expected here")
    kept = {key: functions.get(key, _functions.get(key)) for key in sorted(used)}
    return make_plan, (type(plan), state, kept)


def _key(value: Any) -> str:
    """Return a key for a function, unique among the plans of this process, and the same in each call."""
    number = id(value)
    while _functions.get(key := f"{number:016x}", value) is not value:
        number += 1
    return key


def make_plan(kind: Any, state: bytes, functions: dict[str, Any]) -> Any:
    """Make a lazy frame or an expression, with these functions in it."""
    _functions.update(functions)
    plan = kind.__new__(kind)
    plan.__setstate__(state)
    return plan


def find_function(marked: str) -> Any:
    """Return the function of a restored plan by its marker."""
    return _functions[marked.removeprefix(_MARK)]
