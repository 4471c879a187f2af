"""Names that a checkpoint could not save, of variables or in modules: the error of reading one explains its loss.

The lookup itself remains Python's own, at full speed. The explanation is added to the NameError that ends a cell.
"""

from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True, slots=True)
class LostName:
    """A variable that existed at a checkpoint and doesn't exist after a restore."""

    name: str
    reason: str
    checkpoint: str


class LostNames:
    """The names that were lost in the latest restore."""

    def __init__(self) -> None:
        self._lost: dict[str, LostName] = {}

    def record(self, lost: list[LostName]) -> None:
        """Record the names that a restore has lost."""
        self._lost = {each.name: each for each in lost}

    def explain(self, exc: BaseException) -> None:
        """Add to a NameError why its name was lost, if it was."""
        seen: set[int] = set()
        current: BaseException | None = exc
        while current is not None and id(current) not in seen:
            seen.add(id(current))
            lost = self._lost_by(current)
            if lost is not None:
                message = f"{current}: it was lost after checkpoint {lost.checkpoint}, since {lost.reason}"
                current.args = (message, *current.args[1:])
            current = current.__cause__ or current.__context__

    def _lost_by(self, exc: BaseException) -> LostName | None:
        """Return the lost variable, or lost name in a module, that has caused an exception."""
        if isinstance(exc, NameError) and exc.name is not None:
            return self._lost.get(exc.name) or self._lost.get(f"{_module_of_error(exc)}.{exc.name}")
        if isinstance(exc, AttributeError) and issubclass(type(exc.obj), ModuleType):
            return self._lost.get(f"{ModuleType.__getattribute__(exc.obj, '__name__')}.{exc.name}")
        return None


def _module_of_error(exc: BaseException) -> str:
    """Return the name of the module whose code has raised an exception."""
    traceback = exc.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return str(traceback.tb_frame.f_globals.get("__name__")) if traceback is not None else ""


def describe(exc: BaseException) -> str:
    """Return one line about an exception; its `__str__` may be user code, and fail."""
    name = type.__dict__["__name__"].__get__(type(exc))
    try:
        lines = str(exc).strip().splitlines()
    except BaseException:  # noqa: BLE001 - its __str__ may raise anything
        lines = []
    return f"{name}: {lines[0]}"[:300] if lines else name[:300]
