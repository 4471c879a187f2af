"""Private names of the standard library that the engine uses where no public name does the same.

A later Python may not have one of them. Then the engine does without what it is for, and the zygote reports that on its
stderr, which is in the worker's log. Names that are only read at a cell's end, in objects of the user, are looked up
there: without one, the value can't be saved and is reported as lost.
"""

from typing import Any, Final

_missing: Final[list[str]] = []


def private(owner: Any, name: str, without: Any, consequence: str) -> Any:
    """Return an attribute of a module or class; if there is none, return `without`, and report the consequence."""
    found = getattr(owner, name, without)
    if not hasattr(owner, name):
        _missing.append(f"{owner.__name__.rpartition('.')[2]}.{name}: {consequence}")
    return found


def report_of_missing() -> str:
    """Return a line on each name that is missing, '' if there is none."""
    return "".join(f"this Python has no {each}\n" for each in _missing)
