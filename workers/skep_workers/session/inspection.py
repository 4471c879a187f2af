"""Looking into a session while a cell may be running: complete, inspect, variables.

Runs on a thread of its own. User code is kept out where Python allows it: attributes are looked up statically, sizes
and shapes are read only off known types, a short repr is made only of plain data.
"""

import builtins
import inspect
import keyword
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from skep_workers.session.namespace import NamespaceManager

MAX_MATCHES: Final = 500
MAX_VARIABLES: Final = 5000
MAX_SHORT_REPR: Final = 120
MAX_SOURCE_CHARS: Final = 64 * 1024
_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes)
_SIZED: Final = (str, bytes, bytearray, list, tuple, dict, set, frozenset, range)
_STEM: Final = re.compile(r"\w*$")
_NAME_PATH: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\.?$|[^\W\d]\w*$")


class Inspector:
    """Answers questions about one namespace."""

    def __init__(self, namespace: NamespaceManager) -> None:
        self._namespace = namespace
        self.handlers: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
            "complete": lambda q: self.complete(str(q["code"]), int(q["cursor"])),
            "inspect": lambda q: self.inspect(str(q["name"])),
            "variables": lambda _: self.variables(),
        }

    def complete(self, code: str, cursor: int) -> dict[str, Any]:
        """Give {matches, start, end}: what could stand from `start` to the cursor (both in characters)."""
        cursor = max(0, min(cursor, len(code)))
        jedi = _jedi()
        if jedi is not None:
            return self._complete_with(jedi, code, cursor)
        found = _NAME_PATH.search(code[:cursor])
        path = found.group(0) if found else ""
        base, dot, stem = path.rpartition(".")
        if dot:
            subject = self._look_up(base)
            candidates = [] if subject is _MISSING else _static_names(subject)
        else:
            candidates = [*self._namespace.user_names(), *keyword.kwlist, *dir(builtins)]
        matches = sorted({name for name in candidates if name.startswith(stem) and (stem or not name.startswith("_"))})
        return {"matches": matches[:MAX_MATCHES], "start": cursor - len(stem), "end": cursor}

    def _complete_with(self, jedi: Any, code: str, cursor: int) -> dict[str, Any]:
        before = code[:cursor]
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1)
        names = dict(self._namespace.names)
        completions = jedi.Interpreter(code, [names]).complete(line, column)
        names_found = [completion.name for completion in completions][:MAX_MATCHES]
        stem = _stem(before)
        return {"matches": names_found, "start": cursor - len(stem), "end": cursor}

    def inspect(self, name: str) -> dict[str, Any]:
        """Give {found, name, type, signature, doc, file, source} of a dotted name; what there isn't is None."""
        subject = self._look_up(name)
        if subject is _MISSING:
            return {"found": False, "name": name}
        return {
            "found": True,
            "name": name,
            "type": _type_name(subject),
            "signature": _attempt(lambda: str(inspect.signature(subject))),
            "doc": _attempt(lambda: inspect.getdoc(subject)),
            "file": _attempt(lambda: inspect.getfile(subject)),
            "source": _attempt(lambda: inspect.getsource(subject)[:MAX_SOURCE_CHARS]),
            "repr": _short_repr(subject),
        }

    def variables(self) -> list[dict[str, Any]]:
        """Give {name, type, shape, length, bytes, repr} of each of the user's names; what isn't known is None."""
        names = self._namespace.names
        return [
            {"name": name, **describe_variable(names[name])}
            for name in self._namespace.user_names()[:MAX_VARIABLES]
            if name in names and not name.startswith("__")
        ]

    def _look_up(self, path: str) -> Any:
        first, *rest = path.strip().split(".")
        subject = self._namespace.names.get(first, _MISSING)
        if subject is _MISSING:
            subject = getattr(builtins, first, _MISSING)
        for part in rest:
            if subject is _MISSING:
                return _MISSING
            subject = _static_attribute(subject, part)
        return subject


_MISSING: Final = object()


def _stem(before: str) -> str:
    """Give the part of a name that stands before the cursor."""
    found = _STEM.search(before)
    return found.group(0) if found else ""


def _jedi() -> Any:
    """Give jedi where the session's environment has it."""
    try:
        import jedi  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: PLC0415 - only if wanted
    except ImportError:
        return None
    return jedi


def _static_attribute(subject: Any, name: str) -> Any:
    """Give an attribute without running properties or __getattr__."""
    if type(subject) is type(sys):
        return vars(subject).get(name, _MISSING)
    try:
        found = inspect.getattr_static(subject, name)
    except AttributeError:
        return _MISSING
    return found.__func__ if isinstance(found, staticmethod | classmethod) else found


def _static_names(subject: Any) -> list[str]:
    names: set[str] = set()
    own = vars(subject) if hasattr(type(subject), "__dict__") and hasattr(subject, "__dict__") else {}
    names.update(name for name in own if isinstance(name, str))
    kinds = subject.__mro__ if isinstance(subject, type) else type(subject).__mro__
    for kind in kinds:
        names.update(vars(kind))
    return sorted(names)


def describe_variable(value: Any) -> dict[str, Any]:
    """Give type, shape, length, size in bytes and a short repr, each only where that is safe."""
    module = type(value).__module__.partition(".")[0]
    known = module in {"numpy", "pandas", "polars", "torch", "scipy", "xarray"}
    shape = _attempt(lambda: [int(part) for part in value.shape]) if known else None
    size = _attempt(lambda: int(value.nbytes)) if known else None
    if known and size is None:
        size = _attempt(lambda: int(value.memory_usage(deep=False).sum()))
    length = len(value) if type(value) in _SIZED else None
    return {
        "type": _type_name(value),
        "shape": shape,
        "length": length,
        "bytes": size if size is not None else _attempt(lambda: object.__sizeof__(value)),
        "repr": _short_repr(value),
    }


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _short_repr(value: Any) -> str:
    """Give the repr of plain data, and of the first items of plain containers; else only what it is."""
    kind = type(value)
    if kind in {str, bytes}:
        return _cut(repr(value[: MAX_SHORT_REPR + 1]))
    if kind is int and value.bit_length() > 2000:
        return f"<int of {value.bit_length()} bits>"
    if kind in _PLAIN:
        return _cut(repr(value))
    if kind in {list, tuple, set, frozenset, dict}:
        return _cut(_container_repr(value))
    if kind is type(sys):
        return f"<module {value.__name__}>"
    if isinstance(value, type):
        return f"<class {value.__qualname__}>"
    name = getattr(value, "__qualname__", None) if callable(value) and hasattr(kind, "__call__") else None  # noqa: B004
    return f"<{_type_name(value)} {name}>" if isinstance(name, str) else f"<{_type_name(value)}>"


def _container_repr(value: Any) -> str:
    brackets: dict[type, str] = {list: "[]", tuple: "()"}
    brackets_of_kind = brackets.get(type(value), "{}")
    shown = []
    for count, item in enumerate(value.copy() if hasattr(value, "copy") and len(value) < 1000 else value):
        if count == 10:
            shown.append("…")
            break
        text = _item_repr(item)
        shown.append(f"{text}: {_item_repr(value[item])}" if isinstance(value, Mapping) else text)
    return brackets_of_kind[0] + ", ".join(shown) + brackets_of_kind[1]


def _item_repr(item: Any) -> str:
    return _short_repr(item) if type(item) in _PLAIN else f"<{_type_name(item)}>"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHORT_REPR else text[: MAX_SHORT_REPR - 1] + "…"


def _attempt(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception:  # noqa: BLE001 - what can't be read is told as None
        return None
