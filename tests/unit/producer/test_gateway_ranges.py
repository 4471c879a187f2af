"""Ranges of bytes in requests for files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.gateway.ranges import ByteRange, Unsatisfiable, read_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", ByteRange(0, 1)),
        ("Bytes=2-5", ByteRange(2, 6)),
        ("bytes= 2-5 ", ByteRange(2, 6)),
        ("bytes=2-", ByteRange(2, 10)),
        ("bytes=9-99", ByteRange(9, 10)),
        ("bytes=-3", ByteRange(7, 10)),
        ("bytes=-99", ByteRange(0, 10)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("bytes=1.5-2", None),
        ("items=0-1", None),
    ],
)
def test_a_range_of_ten_bytes_is_read(header, expected):
    assert read_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_beyond_the_end_is_unsatisfiable(header):
    with pytest.raises(Unsatisfiable):
        read_range(header, 10)


def test_an_empty_file_has_no_range():
    for header in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        with pytest.raises(Unsatisfiable):
            read_range(header, 0)


@given(st.text(max_size=30) | st.from_regex(r"bytes=\d*-\d*", fullmatch=True), st.integers(0, 2**40))
def test_whatever_is_asked_for_is_within_the_file(header, size):
    try:
        found = read_range(header, size)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found.start < found.end <= size
