"""Frames and series of polars, as bytes and back, by their Arrow memory.

polars' own pickling copies everything, and runs parts of it on a pool of threads. A forked child doesn't have that
pool, and would wait for it forever. So the memory of columns is used in place (see `arrow_export`), one column at a
time, since the export of a whole frame aligns its chunks in the pool first. polars is not imported here; a session that
has a frame has imported it.

polars' own pickling is used, chunk by chunk, for types that its Arrow interface restores as other types.
"""

import importlib
import sys
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer, is_definition
from skep_workers.session.checkpoint.reducers.libraries.arrow_export import export, size_bytes
from skep_workers.session.checkpoint.reducers.libraries.arrow_import import Column
from skep_workers.session.checkpoint.reducers.libraries.arrow_interface import Array, Schema, Unsupported
from skep_workers.session.checkpoint.reducers.libraries.polars_plans import reduce_plan

_SLACK_BYTES: Final = 64 * 1024
_MOST_CHUNKS: Final = 1000  # joining more chunks takes longer than copying one column
_supported: Final[dict[Any, bool]] = {}

SeriesPart = tuple[str, tuple[Any, ...]]  # a key of _MAKERS, and the arguments


def reducer_of(kind: type) -> Reducer | None:
    """Return the reducer for instances of this class, None if pickle does."""
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


def _part(series: Any) -> SeriesPart:
    polars = sys.modules["polars"]
    if series.dtype == polars.Object:
        return "objects", (series.name, series.to_list())
    if _is_supported(series):
        schema, arrays = export(series)
        if arrays and sum(size_bytes(schema, array) for array in arrays) <= 2 * series.estimated_size() + _SLACK_BYTES:
            flags = {name for name, value in series.flags.items() if value}
            return "arrow", (series.name, schema, arrays, flags)
    # A part of a larger column, or another type: polars copies its own values only.
    return "states", (series.name, [chunk.__getstate__() for chunk in series.get_chunks()])


def _is_supported(series: Any) -> bool:
    """Return whether a column of this type is restored with the same type; tried once, on an empty column."""
    found = _supported.get(series.dtype)
    if found is None:
        empty = series.clear()
        try:
            schema, arrays = export(empty)
            found = bool(arrays) and _from_arrow("", schema, arrays).dtype == series.dtype
        except Exception:  # noqa: BLE001 - any refusal of the library; then its own pickling is used
            found = False
        _supported[series.dtype] = found
    return found


def make_series(kind: str, arguments: tuple[Any, ...]) -> Any:
    """Make a series from its saved parts."""
    maker: Any = _MAKERS[kind]
    return maker(*arguments)


def make_frame(columns: list[SeriesPart], height: int) -> Any:
    """Make a frame from its columns."""
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
