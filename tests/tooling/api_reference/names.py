"""What users import, and the page that describes it."""

import importlib
import inspect
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import skep
from skep_shared.events import BaseEvent

from .sources import class_node

CLIENT, RESULTS, OPTIONS, EVENTS, ERRORS, SYNC, TESTING = (
    "client", "results", "options", "events", "errors", "sync", "testing",
)  # fmt: skip
TITLES: Final = {
    CLIENT: "The client",
    RESULTS: "Results and descriptions",
    OPTIONS: "Options and settings",
    EVENTS: "Events",
    ERRORS: "Errors",
    SYNC: "The blocking client",
    TESTING: "For tests",
}
INTRODUCTIONS: Final = {
    CLIENT: "`import skep`: connecting, sessions, cells and files. [How a cell runs](../semantics.md) and "
    "[cells](../cells.md) say what code in a session can expect.",
    RESULTS: "What calls of [the client](client.md) return. All are immutable.",
    OPTIONS: "What a session and a client can be given. [Limits](../limits.md) has the bounds of each value.",
    EVENTS: "The entries of a session's record, as [`Session.events`](client.md#sessionevents) yields them. "
    "[Events](../events.md) says in which order they come. All are pydantic "
    "models (`event.model_dump_json()`), and have the fields of [`BaseEvent`](#baseevent).",
    ERRORS: "Every error that skep raises. The arguments are attributes, and survive pickling. "
    "[Troubleshooting](../troubleshooting.md) has remedies.",
    SYNC: "`import skep.sync`: the calls of [the client](client.md), blocking. What a call does, and what it raises, is "
    "said there; here are the signatures. [Recipes](../recipes.md) shows it in frameworks.",
    TESTING: "`import skep.testing`. [Testing](../testing.md) shows how to use it, and the fixtures of the plugin for "
    "pytest.",
}
# The order of a page; all that are not named here are added by their kind, see `_page_of`.
NAMED: Final = {
    CLIENT: [
        "connect", "Cluster", "Session", "Cell", "SessionFiles", "CellOptions", "CellRequest", "embedded",
        "EmbeddedCluster", "sign_job",
    ],
    RESULTS: [
        "Outcome", "CellFault", "CellFold", "CellStatus", "SessionInfo", "SessionState", "WorkerInfo", "Checkpoint",
        "FileInfo", "FilePiece", "Completion", "Completeness", "Inspection", "Variable",
    ],
    OPTIONS: ["SessionOptions", "Limits", "Detection", "Settings"],
    EVENTS: ["Event", "BaseEvent"],
    ERRORS: ["SkepError"],
}  # fmt: skip
# What calls return, and no user needs to import.
UNEXPORTED: Final = [
    (CLIENT, "skep.local.worker_process", "WorkerProcess"),
    (RESULTS, "skep.why", "Standstill"),
    (RESULTS, "skep.why", "DeferredCell"),
]
UNDOCUMENTED: Final = {"__version__"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name that users import."""

    name: str
    module: str  # that they import it from
    page: str
    value: Any

    @property
    def anchor(self) -> str:
        """Return the part of a link after the #, as GitHub makes it from the heading."""
        return slug(f"{self.name}")


def slug(heading: str) -> str:
    """Return the anchor of a heading that is a dotted name."""
    return heading.lower().replace(".", "")


def entries() -> list[Entry]:
    """Return everything that is described, in the order of the pages. Raises ValueError for a name without a page."""
    found = [Entry(name, "skep", _page_of(name), getattr(skep, name)) for name in _order(skep.__all__)]
    for page, module_name, name in UNEXPORTED:
        found.append(Entry(name, module_name, page, getattr(importlib.import_module(module_name), name)))
    for page, module_name in ((SYNC, "skep.sync"), (TESTING, "skep.testing")):
        module = importlib.import_module(module_name)
        names = sorted(module.__all__, key=lambda name: (inspect.isclass(getattr(module, name)), name))
        found += [Entry(name, module_name, page, getattr(module, name)) for name in names]
    return found


def _order(names: list[str]) -> list[str]:
    """Return the names as the pages have them: those with a place first, then by the order of their definition."""
    named = [name for order in NAMED.values() for name in order]
    others = [name for name in names if name not in {*named, *UNDOCUMENTED}]
    return [*named, *sorted(others, key=lambda name: class_node(getattr(skep, name)).lineno)]


def _page_of(name: str) -> str:
    for page, order in NAMED.items():
        if name in order:
            return page
    value = getattr(skep, name)
    if inspect.isclass(value) and issubclass(value, BaseException):
        return ERRORS
    if inspect.isclass(value) and issubclass(value, BaseEvent):
        return EVENTS
    raise ValueError(f"{name} has no page: add it to NAMED in {__file__}")


def is_enumeration(value: Any) -> bool:
    """Return whether a class is an enumeration."""
    return inspect.isclass(value) and issubclass(value, Enum)
