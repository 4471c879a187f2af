"""How NumPy prints arrays and handles floating point errors."""

import sys
from importlib import import_module
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.surroundings.part import Part, Reading, is_plain

_CALL: Final = "numpy.geterrcall()"
_PRINT: Final = "numpy.get_printoptions()[{!r}]"
_ERRORS: Final = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_BUFFER: Final = 8192
_PRINTING: Final = {
    "edgeitems": 3,
    "threshold": 1000,
    "floatmode": "maxprec",
    "precision": 8,
    "suppress": False,
    "linewidth": 75,
    "nanstr": "nan",
    "infstr": "inf",
    "sign": "-",
    "formatter": None,
    "legacy": False,
    "override_repr": None,
}


class NumpySettings(Part):
    """Print options, the handling of floating point errors, and the size of buffers of universal functions."""

    name = "numpy"
    library = "numpy"

    def read(self) -> Reading | None:
        """Return the settings that differ from the defaults. NumPy 2 has them in the context that cells run in."""
        numpy = sys.modules["numpy"]

        def read_all() -> tuple[Any, ...]:
            return numpy.geterr(), numpy.geterrcall(), numpy.getbufsize(), numpy.get_printoptions()

        errors, call, buffer, printing = registry.in_cells(read_all)
        if printing == _PRINTING and errors == _ERRORS and call is None and buffer == _BUFFER:
            return None
        changed = {name: value for name, value in printing.items() if name in _PRINTING and value != _PRINTING[name]}
        odd = {_PRINT.format(name): value for name, value in changed.items() if not is_plain(value)}
        plain = {name: value for name, value in changed.items() if is_plain(value)}
        state = {"errors": None if errors == _ERRORS else errors, "buffer": buffer, "printing": plain}
        return state, odd | ({} if call is None else {_CALL: call})

    def restore(self, state: Any) -> None:
        """Set the settings that are plain data."""
        numpy: Any = import_module("numpy")

        def apply() -> None:
            if state["errors"] is not None:
                numpy.seterr(**state["errors"])
            if state["buffer"] != _BUFFER:
                numpy.setbufsize(state["buffer"])
            numpy.set_printoptions(**state["printing"])

        registry.in_cells(apply)

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Set the settings that are functions of cells."""
        numpy: Any = import_module("numpy")

        def apply() -> None:
            if _CALL in objects:
                numpy.seterrcall(objects[_CALL])
            for name in _PRINTING:
                if _PRINT.format(name) in objects:
                    numpy.set_printoptions(**{name: objects[_PRINT.format(name)]})

        registry.in_cells(apply)
