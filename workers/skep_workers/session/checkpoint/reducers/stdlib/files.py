"""Closed files and the standard streams, as bytes and back; checkpoints refer to the function here that makes a file.

A block `with open(…) as file:` leaves a closed file in its variable. Without this module, every such block would make
checkpoints report a variable that can't be saved, although its loss changes nothing for the user.
"""

import io
import sys
from pickle import PicklingError  # bound early: user code may patch pickle
from types import FunctionType
from typing import Any, Final

from skep_shared.originals import os
from skep_workers.session.checkpoint.reducers.definitions import Reduced

STANDARD: Final = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
BUFFERED: Final = (io.BufferedReader, io.BufferedWriter, io.BufferedRandom)
IN_MEMORY: Final = (io.BytesIO, io.StringIO)
_BUFFERS: Final = {kind.__name__: kind for kind in BUFFERED}
_IN_MEMORY: Final = {kind.__name__: kind for kind in IN_MEMORY}


def reduce_stream(file: Any, otherwise: str) -> Reduced:
    """Reduce a standard stream to its name in `sys`. Raises PicklingError(otherwise) for any other object."""
    for name in STANDARD:
        if getattr(sys, name, None) is file:
            return getattr, (sys, name)
    raise PicklingError(otherwise)


def reduce_stream_method(function: FunctionType) -> Any:
    """Reduce the function that a session's stream has as its `write`; NotImplemented for any other function."""
    for name in STANDARD:
        stream = getattr(sys, name, None)
        if getattr(stream, "write", None) is function:
            return getattr, (stream, "write")
    return NotImplemented


def reduce_file(file: Any) -> Reduced:
    """Reduce a closed file to what can still be read of it. Raises PicklingError for an open one."""
    if not file.closed:
        return reduce_stream(file, "an open file can't be saved")
    text = (file.encoding, file.errors, file.line_buffering) if isinstance(file, io.TextIOWrapper) else None
    buffer = file.buffer if text else file
    raw = buffer.raw if type(buffer) in BUFFERED else buffer
    kind = type(buffer).__name__ if raw is not buffer else ""
    if type(raw) is io.FileIO:
        place = (getattr(raw, "name", None), raw.mode, raw.closefd)
    elif type(raw) in IN_MEMORY:
        place = None
    else:
        raise PicklingError(f"a closed file on top of {type(raw).__name__} can't be saved")
    set_again = "mode" if text else "name"
    state = {name: value for name, value in vars(file).items() if name != set_again}
    return make_closed_file, (place, kind, text, vars(file).get("mode") if text else None), state or None


def reduce_file_in_memory(file: Any) -> Any:
    """Reduce a closed file in memory; pickle saves an open one."""
    return (make_closed_in_memory, (type(file).__name__,), vars(file) or None) if file.closed else NotImplemented


def make_closed_file(place: Any, kind: str, text: Any, mode: str | None) -> Any:
    """Make a closed file that opened nothing of its name.

    place: (name, mode, closefd) of the FileIO below, None if that is a BytesIO. kind: the class of its buffer, '' for
    none. text: (encoding, errors, line_buffering) of a text file, None for bytes. mode: the text file's attribute.
    """
    if place is None:
        raw: Any = io.BytesIO()
    else:
        # A descriptor and no path: mode x refuses a file that exists.
        fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        raw = io.FileIO(fd, place[1], closefd=place[2])
    file: Any = _BUFFERS[kind](raw) if kind else raw
    if text:
        file = io.TextIOWrapper(file, text[0], text[1], line_buffering=text[2])
    file.close()
    if place is not None:
        if not raw.closefd:
            os.close(fd)
        raw.name = place[0]
    if mode is not None:
        file.mode = mode
    return file


def make_closed_in_memory(kind: str) -> Any:
    """Make a closed BytesIO or StringIO."""
    file = _IN_MEMORY[kind]()
    file.close()
    return file
