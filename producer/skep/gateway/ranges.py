"""Ranges of bytes in requests for files: RFC 9110, section 14. Several ranges in one request get the whole file."""

import re
from typing import NamedTuple

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE)


class ByteRange(NamedTuple):
    """The bytes from `start` up to, and without, `end`."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """The range begins after the end of the file."""


def read_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range that a header asks for; None for the whole file, also if the header is malformed.

    Raises Unsatisfiable for a range that the file does not have.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        if not int(last) or not size:
            raise Unsatisfiable
        return ByteRange(max(0, size - int(last)), size)
    start = int(first)
    end = size if not last else min(size, int(last) + 1)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return ByteRange(start, end)
