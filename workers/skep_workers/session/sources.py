"""inspect.getsource for classes that cells define.

inspect finds a function's source by its code object, which names the cell. A class has none: inspect looks for the file
of its module, and `__main__` has no file here. The file name of a method, or of the cell that names the class, stands
in.
"""

import inspect
import linecache
from types import FunctionType
from typing import Any, Final

CELL_PREFIX: Final = "<cell "


def install_class_sources() -> None:
    """Teach inspect.getfile about classes of `__main__`."""
    getfile = inspect.getfile

    def getfile_of_cells(subject: Any) -> str:
        if isinstance(subject, type) and subject.__module__ == "__main__":
            name = _cell_of(subject)
            if name is not None:
                return name
        return getfile(subject)

    inspect.getfile = getfile_of_cells  # type: ignore[assignment]


def _cell_of(subject: type) -> str | None:
    for member in vars(subject).values():
        function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if not isinstance(function, FunctionType) or not function.__qualname__.startswith(f"{subject.__qualname__}."):
            continue
        if function.__code__.co_filename.startswith(CELL_PREFIX):
            return function.__code__.co_filename
    for name in reversed(list(linecache.cache)):
        if name.startswith(CELL_PREFIX) and any(
            line.lstrip().startswith(f"class {subject.__name__}") for line in linecache.getlines(name)
        ):
            return name
    return None
