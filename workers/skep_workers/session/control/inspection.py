"""Inspection of a session while a cell may be running: complete, inspect, variables.

It runs on the thread of operations, and runs no code of the user's objects: see introspection.py. jedi, if the
session's environment has it, reads the cell's text, and those values that it can inspect without running code.
"""

import builtins
import functools
import inspect
import keyword
import re
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, Final

from skep_shared.json_form import without_surrogates
from skep_shared.states import PAGE_OF_VARIABLES
from skep_workers.session.control.introspection import (
    FUNCTION_KINDS,
    MISSING,
    PLAIN_KINDS,
    attempt,
    attribute_names,
    attribute_of,
    describe_variable,
    function_of,
    is_class,
    is_one_of,
    module_name,
    own_doc,
    short_repr,
    type_name,
)
from skep_workers.session.runtime.internals import EXIT_CODE
from skep_workers.session.runtime.namespace import NamespaceManager

MAX_MATCHES: Final = 500
MAX_TEXT_CHARS: Final = 64 * 1024
MAX_ITEMS_INSPECTED: Final = 1000
_STEM: Final = re.compile(r"\w*$")
_NAME_PATH: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\.?$|[^\W\d]\w*$")
_PART: Final = re.compile(r"[^\W\d]\w*|\[-?\d+\]")
_PLACE: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*|\[-?\d+\])*")  # `a.b[0].c`
_INERT_METACLASSES: Final = frozenset(
    {"builtins", "abc", "enum", "typing"}
)  # modules whose metaclasses run no user code


class Inspector:
    """Inspects one namespace."""

    def __init__(self, namespace: NamespaceManager) -> None:
        self._namespace = namespace
        self.handlers: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
            "complete": lambda q: self.complete(str(q["code"]), int(q["cursor"])),
            "inspect": lambda q: self.inspect(str(q["name"])),
            "variables": lambda q: self.variables(int(q.get("start", 0))),
        }

    def complete(self, code: str, cursor: int) -> dict[str, Any]:
        """Return {matches, start, end, left_out}: names that fit from `start` to the cursor (both in characters)."""
        cursor = max(0, min(cursor, len(code)))
        before = code[:cursor]
        path = _first(_NAME_PATH, before)
        base, dot, _ = path.rpartition(".")
        stem = _first(_STEM, before)
        subject = self._look_up(base) if dot else MISSING
        if subject is not MISSING:
            found = set(attribute_names(subject))
        else:
            bare = bool(path) and not dot and not before[: -len(path)].rstrip().endswith(".")
            found = {*self._user_names(), *keyword.kwlist, *dir(builtins)} if bare else set()
            found |= self._found_by_jedi(code, before)
        matches = sorted(name for name in found if name.startswith(stem) and (stem or not name.startswith("_")))
        return {
            "matches": matches[:MAX_MATCHES],
            "start": cursor - len(stem),
            "end": cursor,
            "left_out": max(0, len(matches) - MAX_MATCHES),
        }

    def inspect(self, name: str) -> dict[str, Any]:
        """Return {found, name, type, signature, doc, file, source, repr, cut} of a name; a missing text is None.

        The name may be dotted and contain indexes of items: `a.b[0].c`.
        """
        subject = self._look_up(name)
        if subject is MISSING:
            return {"found": False, "name": name}
        # An instance is described by its class, since its own attributes may be computed.
        definition = subject if _is_definition(subject) else type(subject)
        function = function_of(subject)
        if function is not MISSING:
            definition = function
        is_inert = not is_class(definition) or module_name(type(definition)) in _INERT_METACLASSES
        texts = {
            "signature": attempt(lambda: str(inspect.signature(_called(subject, is_inert=is_inert)))),
            "doc": attempt(lambda: _doc(subject, definition)) if is_inert else None,
            "file": attempt(lambda: inspect.getfile(definition)) if is_inert else None,
            "source": attempt(lambda: inspect.getsource(definition)) if is_inert else None,
        }
        whole = {name: without_surrogates(text) for name, text in texts.items() if isinstance(text, str)}
        return {
            "found": True,
            "name": name,
            "type": type_name(subject),
            **dict.fromkeys(texts),
            **{name: text[:MAX_TEXT_CHARS] for name, text in whole.items()},
            "repr": short_repr(subject),
            "cut": [name for name, text in whole.items() if len(text) > MAX_TEXT_CHARS],
        }

    def variables(self, start: int = 0) -> list[dict[str, Any]]:
        """Return a page of the user's variables, from this index on. After a full page there may be more.

        Each has {name, type, shape, length, bytes, repr}; an unknown value is None.
        """
        names = self._namespace.names
        users = [name for name in self._user_names() if not name.startswith("__") and name != EXIT_CODE]
        found = [(name, names.get(name, MISSING)) for name in users]
        found = [(name, value) for name, value in found if value is not MISSING]
        return [{"name": name, **describe_variable(value)} for name, value in found[start : start + PAGE_OF_VARIABLES]]

    def _user_names(self) -> list[str]:
        return [name for name in self._namespace.user_names() if type(name) is str]

    def _look_up(self, path: str) -> Any:
        if _PLACE.fullmatch(path.strip()) is None:
            return MISSING
        first, *rest = _PART.findall(path)
        subject = self._namespace.names.get(first, MISSING)
        if subject is MISSING:
            subject = vars(builtins).get(first, MISSING)
        for part in rest:
            if subject is MISSING:
                return MISSING
            subject = _item_of(subject, int(part[1:-1])) if part[0] == "[" else attribute_of(subject, part)
        return subject

    def _found_by_jedi(self, code: str, before: str) -> set[str]:
        try:
            import jedi  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: PLC0415 - only if wanted
        except ImportError:
            return set()
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1)
        names = {name: value for name, value in list(self._namespace.names.items()) if _is_inert(value)}
        return {completion.name for completion in jedi.Interpreter(code, [names]).complete(line, column)}


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(0) if found else ""


def _item_of(subject: Any, number: int) -> Any:
    """Return an item of a list or a tuple, or MISSING. This runs no user code."""
    exists = is_one_of(type(subject), (list, tuple)) and -len(subject) <= number < len(subject)
    return attempt(lambda: subject[number]) if exists else MISSING


def _is_definition(subject: Any) -> bool:
    return is_class(subject) or is_one_of(type(subject), (*FUNCTION_KINDS, ModuleType))


def _doc(subject: Any, definition: Any) -> str | None:
    own = own_doc(subject) if definition is type(subject) else None
    return inspect.getdoc(definition) if own is None else inspect.cleandoc(own)


def _called(subject: Any, *, is_inert: bool) -> Any:
    """Return the function that runs when the object is called. Raises TypeError if there is none in Python."""
    if type(subject) is not property and function_of(subject) is not MISSING:
        return subject if type(subject) is functools.partial else function_of(subject)
    if _is_definition(subject):
        if is_inert:
            return subject
        found = attribute_of(subject, "__init__")  # any other attribute may be computed by the user's metaclass
    else:
        found = attribute_of(type(subject), "__call__")
    if type(found) is not FunctionType:
        raise TypeError("it is not written in Python")
    return found.__get__(object())


def _is_inert(value: Any) -> bool:
    """Return whether inspecting the value, even deeply, runs no user code."""
    kind = type(value)
    if is_one_of(kind, (list, tuple, set, frozenset, dict)):
        parts = [*value, *value.values()] if kind is dict else value
        return len(value) <= MAX_ITEMS_INSPECTED and all(is_one_of(type(part), PLAIN_KINDS) for part in list(parts))
    if is_class(value):
        return module_name(kind) in _INERT_METACLASSES
    return module_name(kind) != "__main__"
