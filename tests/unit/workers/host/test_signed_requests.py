"""Requests in a worker's mailbox: signed ones are followed, others become refusals, and nothing raises otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep_shared.broker.keys import Keys
from skep_shared.broker.mailbox_entries import (
    CellsSubmitted,
    CloseSession,
    InputAnswer,
    InterruptCell,
    Operate,
    OperationRequest,
    RefusedRequest,
    UpdateSession,
    unpack_mailbox_entry,
)
from skep_shared.broker.signatures import request_signature
from skep_shared.signing import Signer
from skep_workers.host.broker.signed_requests import SignedRequests

SIGNER = Signer(["key-of-the-shard-0123456789abcdef0123"], "t")
REQUESTS = SignedRequests(SIGNER, None, Keys("t"))
OPERATION = OperationRequest("client", "o1", "rollback", b"payload", 3.0)


def entry_of(kind, session_id="s", cell_id="", seq=0, signer=SIGNER, **fields):
    """Return a request as control.lua puts it into a mailbox."""
    flat = request_signature(signer, session_id, kind, cell_id, fields) if signer is not None else ()
    sent = {"k": kind, "s": session_id, "q": seq, **fields, **dict(zip(flat[::2], flat[1::2], strict=True))}
    return {name.encode(): value if isinstance(value, bytes) else str(value).encode() for name, value in sent.items()}


def test_signed_requests_are_followed():
    assert REQUESTS.read_entry(entry_of("interrupt")) == InterruptCell("s", 0)
    assert REQUESTS.read_entry(entry_of("interrupt", cell_id="c é", seq=3)) == InterruptCell("s", 3, "c é")
    assert REQUESTS.read_entry(entry_of("answer", x="é")) == InputAnswer("s", "é")
    read = REQUESTS.read_entry(entry_of("operate", **OPERATION.pack()))
    assert isinstance(read, Operate)
    assert (read.request.kind, read.request.payload) == ("rollback", b"payload")
    assert REQUESTS.read_entry(entry_of("update", d="2.5")) == UpdateSession("s", 2.5)
    close = {b"k": b"close", b"s": b"s", b"q": b"0", b"z": SIGNER.text("close", "s", "").encode()}
    assert REQUESTS.read_entry(close) == CloseSession("s")


def test_a_worker_without_a_key_ignores_signatures():
    entry = entry_of("answer", x="é")

    assert SignedRequests(None, None, Keys("t")).read_entry(entry) == unpack_mailbox_entry(entry)


def test_entries_that_only_say_where_to_look_need_no_signature():
    assert REQUESTS.read_entry({b"k": b"wake", b"s": b"s", b"q": b"4"}) == CellsSubmitted("s", 4)


@pytest.mark.parametrize(
    "entry",
    [
        entry_of("interrupt", signer=None),
        entry_of("interrupt") | {b"s": b"other"},
        entry_of("interrupt") | {b"k": b"cancel"},
        entry_of("interrupt", cell_id="c", seq=1) | {b"i": b"d"},
        entry_of("answer", x="yes") | {b"x": b"no"},
        {name: value for name, value in entry_of("answer", x="yes").items() if name != b"x"},
        entry_of("interrupt", signer=Signer(["another-key-0123456789abcdef0123456"], "t")),
        entry_of("update", d="2.5") | {b"d": b"0.1"},
        {b"k": b"close", b"s": b"s", b"q": b"0"},
        {b"k": b"close", b"s": b"t", b"q": b"0", b"z": SIGNER.text("close", "s", "").encode()},
    ],
)
def test_other_requests_are_refused(entry):
    refused = REQUESTS.read_entry(entry)

    assert isinstance(refused, RefusedRequest)
    assert refused.session_id == entry[b"s"].decode()
    assert refused.operation is None


def test_a_refused_operation_can_be_answered():
    refused = REQUESTS.read_entry(entry_of("operate", **OPERATION.pack()) | {b"m": b"hibernate"})

    assert isinstance(refused, RefusedRequest)
    assert refused.operation is not None
    assert (refused.operation.client_id, refused.operation.operation_id) == ("client", "o1")


@given(st.data())
def test_a_changed_entry_is_refused_or_can_not_be_read(data):
    entry = entry_of("operate", **OPERATION.pack()) if data.draw(st.booleans()) else entry_of("answer", x="yes")
    name = data.draw(st.sampled_from(sorted(entry.keys() - {b"q"})))
    changed = entry | {name: data.draw(st.binary(max_size=40))}
    if changed == entry or changed[b"k"] in {b"cell", b"wake", b"activate"}:
        return
    try:
        read = REQUESTS.read_entry(changed)
    except (KeyError, ValueError):
        return
    assert type(read).__name__ in {"RefusedRequest", "UnknownEntry"}
