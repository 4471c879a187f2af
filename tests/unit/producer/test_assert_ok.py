"""`assert_ok`: its messages show what happened in the cell."""

import pytest

import skep
from skep.outcome import CellFault, Outcome
from skep.testing import assert_ok
from skep_shared.states import CellStatus


def outcome(status=CellStatus.FINISHED, **fields):
    return Outcome(session_id="s", cell_id="c", seq=1, status=status, attempt=1, **fields)


def message(*arguments, **options):
    with pytest.raises(AssertionError) as caught:
        assert_ok(*arguments, **options)
    return str(caught.value)


def test_an_outcome_that_is_ok_is_returned():
    ended = outcome(value=[1], text="said")

    assert assert_ok(ended) is ended
    assert assert_ok(ended, [1], text="said") is ended
    assert assert_ok(outcome()) == assert_ok(outcome(), None)


def test_a_failure_shows_the_traceback_the_output_and_the_warnings():
    fault = CellFault("ValueError", "wrong", 'Traceback:\n  File "<cell 1>", line 1\nValueError: wrong\n')
    ended = outcome(CellStatus.FAILED, error=fault, text="said\n", warnings=("careful",))

    assert message(ended) == (
        "cell 'c' of session 's' failed: ValueError: wrong\n\n"
        'Traceback:\n  File "<cell 1>", line 1\nValueError: wrong\n\nits output was:\nsaid\n\nwarning: careful'
    )


def test_of_much_output_the_end_is_shown():
    shown = message(outcome(CellStatus.LOST, text="a" * 9000 + "end"))

    assert shown.startswith("cell 'c' of session 's' lost\n\nits output (its last 4000 characters) was:\naaa")
    assert (shown.endswith("aend"), len(shown) < 4200) == (True, True)


def test_another_value_is_shown_as_a_difference():
    shown = message(outcome(value={"a": list(range(40)), "b": 2}), {"a": list(range(40)), "b": 3})

    assert shown.startswith("cell 'c' of session 's' returned another value than expected:\n")
    assert [line for line in shown.splitlines() if line[:1] in "+-"] == ["-  'b': 3}", "+  'b': 2}"]


def test_a_value_that_is_a_repr_is_said_to_be_one():
    assert "this is its repr" in message(outcome(value="{1}", value_is_repr=True), {1})


def test_an_expected_value_may_be_approximate():
    assert_ok(outcome(value=0.1 + 0.2), pytest.approx(0.3))


def test_another_text_is_shown_as_a_difference():
    assert message(outcome(text="a\nc\n"), text="a\nb\n") == (
        "cell 'c' of session 's' wrote another text than expected:\n  a\n- b\n+ c"
    )


async def coroutine():
    pass


@pytest.mark.parametrize(
    ("given", "hint"), [(None, "is needed"), (5, "is needed"), (coroutine, "is needed: await the call")]
)
def test_what_is_no_outcome_is_refused(given, hint):
    with pytest.raises(skep.InvalidArgument, match=f"outcome: .*an Outcome {hint}"):
        assert_ok(given() if callable(given) else given)
