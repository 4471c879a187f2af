"""Entries of a reply stream: what a worker packs, the client reads."""

import pytest

from skep_shared.broker.reply_entries import CommittedCell, OperationAnswer, unpack_reply
from skep_shared.broker.script_replies import Placed
from skep_shared.states import AnswerKind


def as_sent(fields):
    """Return packed fields as Redis returns them: flat, and as bytes."""
    return [part if isinstance(part, bytes) else str(part).encode() for pair in fields.items() for part in pair]


@pytest.mark.parametrize("kind", AnswerKind)
def test_an_answer_is_read_as_it_was_packed(kind):
    answer = OperationAnswer("o1", kind, b"payload")

    assert unpack_reply(as_sent(answer.pack())) == answer


def test_the_stored_form_of_an_answer_is_fixed():
    answer = OperationAnswer("o1", AnswerKind.RESULT, b"payload")

    assert as_sent(answer.pack()) == [b"o", b"o1", b"x", b"0", b"d", b"payload"]


def test_the_reply_for_a_cell_has_all_the_events_that_came_along():
    fields = [b"s", b"session", b"c", b"cell", b"q", b"3", b"f", b"7", b"l", b"9", b"e", b"one", b"e", b"two"]

    assert unpack_reply(fields) == CommittedCell("session", "cell", Placed(3, 7, 9), (b"one", b"two"))


@pytest.mark.parametrize("fields", [[], [b"o", b"o1"], [b"s", b"session", b"c", b"cell"], [b"odd"]])
def test_another_entry_is_refused(fields):
    with pytest.raises((KeyError, ValueError)):
        unpack_reply(fields)
