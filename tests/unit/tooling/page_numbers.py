"""Numbers as the tables of docs/ show them: with a unit that follows from the name."""

from collections.abc import Iterable
from typing import Any, Final

from pydantic.fields import FieldInfo

_TIMES: Final = (
    ("seconds", " s"), ("timeout", " s"), ("grace", " s"), ("expires", " s"), ("days", " days"), ("ms", " ms")
)  # fmt: skip
_UNITS: Final = (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))


def shown(name: str, value: float | None) -> str:
    """Return a value of a setting or a constant of this name, such as "64 KiB", "5 s", "10,000" or "none"."""
    if value is None:
        return "none"
    words = name.lower().split("_")
    if "bytes" in words or name == "output_limit":
        return _shown_bytes(int(value))
    unit = next((unit for word, unit in _TIMES if word in words), "")
    return f"{value:,.15g}{unit}"


def bounds(name: str, field: FieldInfo) -> str:
    """Return which values a setting accepts, such as "1 to 100", "from 1 s" or "above 0 s, to 60 s"."""
    given = dict(_constraints(field.metadata))
    annotation: Any = field.annotation
    for part in getattr(annotation, "__args__", ()):  # Optional[Annotated[…]]
        for info in getattr(part, "__metadata__", ()):
            given |= dict(_constraints(info.metadata))
    low = f"above {shown(name, given['gt'])}," if "gt" in given else shown(name, given["ge"])
    if "le" in given:
        return f"{low} to {shown(name, given['le'])}"
    return low.rstrip(",") if "gt" in given else f"from {low}"


def _constraints(metadata: Iterable[Any]) -> Iterable[tuple[str, float]]:
    for each in metadata:
        for kind in ("gt", "ge", "le"):
            if hasattr(each, kind):
                yield kind, getattr(each, kind)


def _shown_bytes(value: int) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS if value >= size and value % size == 0), ("bytes", 1))
    return f"{value // size:,} {unit}"
