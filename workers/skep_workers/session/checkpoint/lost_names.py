"""Names that a checkpoint could not save, of variables or in modules: reading one says which it was, when, and why.

The lookup itself stays Python's own, at full speed; the NameError that ends it is explained when it ends the cell.
"""

from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True, slots=True)
class LostName:
    """A variable that was there at a checkpoint and isn't after a restore."""

    name: str
    reason: str
    checkpoint: str


class LostNames:
    """What was lost in the latest restore; binding a name again takes it out."""

    def __init__(self) -> None:
        self._lost: dict[str, LostName] = {}

    def remember(self, lost: list[LostName]) -> None:
        """Take the losses of a restore."""
        self._lost = {each.name: each for each in lost}

    def explain(self, exc: BaseException) -> None:
        """Add to a NameError what became of the name, if that is known."""
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
        """Return the loss that has caused an exception: of a variable, or of a name in a module."""
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
    """Return in one line why something could not be saved or restored; the exception's own text is user code."""
    name = type.__dict__["__name__"].__get__(type(exc))
    try:
        lines = str(exc).strip().splitlines()
    except BaseException:  # noqa: BLE001 - its __str__ may raise anything
        lines = []
    return f"{name}: {lines[0]}"[:300] if lines else name[:300]
