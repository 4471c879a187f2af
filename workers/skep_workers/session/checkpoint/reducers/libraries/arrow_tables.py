"""Slices of pyarrow's arrays and tables, as bytes and back.

pyarrow pickles all of the buffers that a slice is a part of. Where that is much larger than the slice, the slice is
written as an Arrow stream instead, which contains only its own values. pyarrow is not imported here; a session that has
such an array has imported it.
"""

import importlib
import sys
from pickle import PickleBuffer
from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer

_SLACK_BYTES: Final = 64 * 1024


def reducer_of(kind: type) -> Reducer | None:
    """Return the reducer for instances of this class, None if pickle does."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None or not hasattr(pyarrow, "Table"):
        return None
    kinds = (pyarrow.Array, pyarrow.ChunkedArray, pyarrow.RecordBatch, pyarrow.Table)
    return _reduce if issubclass(kind, kinds) else None


def _reduce(value: Any) -> Any:
    pyarrow = sys.modules["pyarrow"]
    table = _as_table(pyarrow, value)
    if value.get_total_buffer_size() <= 2 * value.nbytes + _SLACK_BYTES or _has_extensions(pyarrow, table):
        return NotImplemented
    sink = pyarrow.BufferOutputStream()
    options = pyarrow.ipc.IpcWriteOptions(use_threads=False)  # a forked child has no pool of threads
    with pyarrow.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    names = [name for name in _KINDS if isinstance(value, getattr(pyarrow, name))]
    return _made_by(names[0], sink.getvalue())


_KINDS: Final = ("Table", "RecordBatch", "ChunkedArray", "Array")


def _made_by(name: str, written: Any) -> Reduced:
    return make_slice, (name, PickleBuffer(written))


def _as_table(pyarrow: Any, value: Any) -> Any:
    if isinstance(value, pyarrow.Table):
        return value
    if isinstance(value, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([value])
    return pyarrow.Table.from_arrays([value], [""])


def _has_extensions(pyarrow: Any, table: Any) -> bool:
    return any(isinstance(field.type, pyarrow.BaseExtensionType) for field in table.schema)


def make_slice(name: str, written: Any) -> Any:
    """Make a slice again: an array, a chunked array, a batch or a table."""
    pyarrow = importlib.import_module("pyarrow")
    ipc = importlib.import_module("pyarrow.ipc")
    options = ipc.IpcReadOptions(use_threads=False)
    table = ipc.open_stream(pyarrow.py_buffer(written), options=options).read_all()
    if name == "Table":
        return table
    if name == "RecordBatch":
        [batch] = table.combine_chunks().to_batches() or [None]
        return batch if batch is not None else pyarrow.RecordBatch.from_pylist([], schema=table.schema)
    column = table.column(0)
    if name == "ChunkedArray":
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
