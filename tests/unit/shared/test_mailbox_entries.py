"""Entries of mailboxes and of the cells' streams: their stored form is fixed, and each is read as it was written."""

import time

import pytest

from skep_shared.broker.mailbox_entries import (
    ActivateSession,
    CancelCell,
    CellsSubmitted,
    CloseSession,
    InputAnswer,
    InterruptCell,
    Operate,
    OperationRequest,
    SubmittedCell,
    UnknownEntry,
    UpdateSession,
    unpack_mailbox_entry,
)

OF_CELL = {b"c": b"c1", b"b": b"\x81\xa4code\xa11", b"t": b"1700000000123"}
OF_OPERATION = {b"c": b"client", b"o": b"o1", b"m": b"variables", b"p": b"\x00", b"d": b"12.5"}
CELL = SubmittedCell("s1", 7, "c1", b"\x81\xa4code\xa11", 1_700_000_000_123.0)


def as_stored(fields):
    """Return packed fields as Redis stores them."""
    return {name.encode(): value if isinstance(value, bytes) else str(value).encode() for name, value in fields.items()}


@pytest.mark.parametrize(
    ("stored", "entry"),
    [
        ({b"k": b"cell", b"q": b"7", **OF_CELL}, CELL),
        ({b"k": b"wake", b"q": b"7"}, CellsSubmitted("s1", 7)),
        ({b"k": b"interrupt", b"q": b"0"}, InterruptCell("s1", 0)),
        ({b"k": b"cancel", b"q": b"7"}, CancelCell("s1", 7)),
        ({b"k": b"answer", b"q": b"0", b"x": "é".encode()}, InputAnswer("s1", "é")),
        ({b"k": b"answer", b"q": b"0", b"x": b""}, InputAnswer("s1", "")),
        ({b"k": b"answer", b"q": b"0"}, InputAnswer("s1", None)),
        ({b"k": b"close", b"q": b"0"}, CloseSession("s1")),
        ({b"k": b"update", b"q": b"0", b"d": b"2.5"}, UpdateSession("s1", 2.5)),
        ({b"k": b"update", b"q": b"0", b"d": b""}, UpdateSession("s1", None)),
        ({b"k": b"activate"}, ActivateSession("s1")),
        ({b"k": b"dance", b"q": b"0"}, UnknownEntry("s1", "dance")),
        ({b"k": b"\xff"}, UnknownEntry("s1", "\ufffd")),
    ],
)
def test_an_entry_is_read_from_its_stored_form(stored, entry):
    assert unpack_mailbox_entry({b"s": b"s1", **stored}) == entry


def test_a_cell_of_the_sessions_stream_has_the_same_fields():
    assert SubmittedCell.unpack("s1", 7, OF_CELL) == CELL


def test_an_operation_is_read_from_its_stored_form_and_expires_by_the_readers_clock():
    before = time.monotonic()
    entry = unpack_mailbox_entry({b"k": b"operate", b"s": b"s1", b"q": b"0", **OF_OPERATION})
    request = entry.request

    expected = OperationRequest("client", "o1", "variables", b"\x00", 12.5, expires_at=request.expires_at)
    assert entry == Operate("s1", expected)
    assert before <= request.expires_at - 12.5 <= time.monotonic()


@pytest.mark.parametrize(
    ("packed", "stored"),
    [
        (OperationRequest("client", "o1", "variables", b"\x00", 12.5).pack(), OF_OPERATION),
        (InputAnswer("s1", "é").pack(), {b"x": "é".encode()}),
        (InputAnswer("s1", None).pack(), {}),
        (ActivateSession("s1").pack(), {b"k": b"activate", b"s": b"s1"}),
        (UpdateSession("s1", 2.5).pack(), {b"d": b"2.5"}),
        (UpdateSession("s1", None).pack(), {b"d": b""}),
    ],
)
def test_the_stored_form_is_fixed(packed, stored):
    assert list(as_stored(packed).items()) == list(stored.items())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"k": b"wake", b"q": b"1"},
        {b"k": b"wake", b"s": b"s1"},
        {b"k": b"wake", b"s": b"s1", b"q": b"one"},
        {b"k": b"wake", b"s": b"\xff", b"q": b"1"},
        {b"k": b"cell", b"s": b"s1", b"q": b"1"},
        {b"k": b"answer", b"s": b"s1", b"x": b"\xff"},
        {b"k": b"operate", b"s": b"s1", **OF_OPERATION, b"d": b"soon"},
        {b"k": b"update", b"s": b"s1"},
        {b"k": b"update", b"s": b"s1", b"d": b"soon"},
        {b"k": b"update", b"s": b"s1", b"d": b"nan"},
        {b"k": b"update", b"s": b"s1", b"d": b"0"},
        {b"k": b"update", b"s": b"s1", b"d": b"-1"},
    ],
)
def test_another_entry_is_refused(fields):
    with pytest.raises((KeyError, ValueError)):
        unpack_mailbox_entry(fields)


@pytest.mark.parametrize("time_text", [b"inf", b"-inf", b"nan", b"1e300", b""])
def test_a_time_that_no_clock_can_have_is_refused(time_text):
    with pytest.raises(ValueError, match=r"time of at most|could not convert"):
        unpack_mailbox_entry({b"k": b"cell", b"s": b"s1", b"q": b"7", **OF_CELL, b"t": time_text})
    with pytest.raises(ValueError, match=r"time of at most|could not convert"):
        unpack_mailbox_entry({b"k": b"operate", b"s": b"s1", b"q": b"0", **OF_OPERATION, b"d": time_text})


@pytest.mark.parametrize("kind", [b"cell", b"wake", b"interrupt", b"cancel"])
@pytest.mark.parametrize("seq", [b"-1", b"9007199254740993", b"1" * 30])
def test_a_number_that_no_cell_can_have_is_refused(kind, seq):
    with pytest.raises(ValueError, match="the seq of a cell is from 0"):
        unpack_mailbox_entry({b"k": kind, b"s": b"s1", b"q": seq, **OF_CELL})
