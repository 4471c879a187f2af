"""Frames and series of polars, as bytes and back, by their Arrow memory.

polars' own pickling copies everything, and runs parts of it on a pool of threads, which a forked child doesn't have: it
would wait there for ever. So columns are taken as they lie (see `arrow_memory`), one by one, since a frame's own stream
aligns chunks with the pool first. polars is not imported here; where there is a frame, there is polars.

What polars' own pickling does is used for types that its Arrow interface gives back as others, a chunk at a time.
"""

import importlib
import sys
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.arrow_export import export, size_bytes
from skep_workers.session.checkpoint.reducers.arrow_import import Column
from skep_workers.session.checkpoint.reducers.arrow_interface import Array, Schema, Unsupported
from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer, is_definition
from skep_workers.session.checkpoint.reducers.polars_plans import reduce_plan

_SLACK_BYTES: Final = 64 * 1024
_MOST_CHUNKS: Final = 1000  # more of them take longer to put together than one takes to copy
_supported: Final[dict[Any, bool]] = {}

Part = tuple[str, tuple[Any, ...]]  # one of _MAKERS, and what it takes


def reducer_of(kind: type) -> Reducer | None:
    """Return what saves an instance of this class, None if pickle does."""
    polars = sys.modules.get("polars")
    if polars is None:
        return None
    if kind is polars.Series:
        return _reduce_series
    if kind is polars.DataFrame:
        return _reduce_frame
    is_plan = issubclass(kind, polars.LazyFrame | polars.Expr) and not is_definition(kind)
    return reduce_plan if is_plan else None


def _reduce_series(series: Any) -> Reduced:
    return make_series, _part(series)


def _reduce_frame(frame: Any) -> Reduced:
    return make_frame, ([_part(column) for column in frame.get_columns()], frame.height)


def _part(series: Any) -> Part:
    polars = sys.modules["polars"]
    if series.dtype == polars.Object:
        return "objects", (series.name, series.to_list())
    if _is_supported(series):
        schema, arrays = export(series)
        if arrays and sum(size_bytes(schema, array) for array in arrays) <= 2 * series.estimated_size() + _SLACK_BYTES:
            flags = {name for name, value in series.flags.items() if value}
            return "arrow", (series.name, schema, arrays, flags)
    # A part of a larger column, or another type: polars copies what is used of it.
    return "states", (series.name, [chunk.__getstate__() for chunk in series.get_chunks()])


def _is_supported(series: Any) -> bool:
    """Return whether a column of this type comes back as one; tried once for each type, with no values."""
    found = _supported.get(series.dtype)
    if found is None:
        empty = series.clear()
        try:
            schema, arrays = export(empty)
            found = bool(arrays) and _from_arrow("", schema, arrays).dtype == series.dtype
        except Exception:  # noqa: BLE001 - a library refuses as it likes; its own pickling is next
            found = False
        _supported[series.dtype] = found
    return found


def make_series(kind: str, arguments: tuple[Any, ...]) -> Any:
    """Make a series of what was saved of it."""
    maker: Any = _MAKERS[kind]
    return maker(*arguments)


def make_frame(columns: list[Part], height: int) -> Any:
    """Make a frame of its columns."""
    polars = importlib.import_module("polars")
    if not columns and height:
        return polars.DataFrame({"": range(height)}).select([])
    return polars.DataFrame([make_series(*column) for column in columns])


def _from_arrow(name: str, schema: Schema, arrays: list[Array], flags: Any = ()) -> Any:
    polars = importlib.import_module("polars")
    made = None
    for array in arrays:
        column = Column(schema, array)
        try:
            chunk = polars.Series(name, column)
        finally:
            column.close()
        made = chunk if made is None else made.append(chunk)
    if made is None:
        raise Unsupported("a column without chunks")
    if "SORTED_ASC" in flags or "SORTED_DESC" in flags:
        made = made.set_sorted(descending="SORTED_DESC" in flags)
    return made


def _from_states(name: str, states: list[bytes]) -> Any:
    polars = importlib.import_module("polars")
    made = None
    for state in states:
        chunk = polars.Series.__new__(polars.Series)
        chunk.__setstate__(state)
        made = chunk if made is None else made.append(chunk)
    return polars.Series(name, []) if made is None else made


def _of_objects(name: str, values: list[Any]) -> Any:
    polars = importlib.import_module("polars")
    return polars.Series(name, values, dtype=polars.Object)


_MAKERS: Final = {"arrow": _from_arrow, "states": _from_states, "objects": _of_objects}
