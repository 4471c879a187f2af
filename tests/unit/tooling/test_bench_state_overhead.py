"""The bench of what a session's state costs: its states, its turns, its rows, and what it says of missing libraries."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.bench import libraries
from tests.bench.environments import HERE, Environments, PeerMissing
from tests.bench.session_states import EMPTY, STATES, SessionState
from tests.bench.state_overhead import Series, change_row, take_turns, unrelated_row

STATE = SessionState("array", "an array", "array = [1]", ("array[0] += 1",), "array")
LIGHT = [state for state in STATES if set(state.modules) <= {"numpy"}]  # the others would load their libraries here


class RecordingSession:
    """Notes, in a list it shares with others, whose turn it was."""

    def __init__(self, name: str, turns: list[str]) -> None:
        self._name, self._turns = name, turns

    async def run(self, code: str, *, wait: float) -> SimpleNamespace:
        self._turns.append(self._name)
        return SimpleNamespace(raise_for_status=lambda: None)


def _series(name: str, turns: list[str]) -> Series:
    return Series(SessionState(name, name, ""), "1+1", RecordingSession(name, turns), None)


def test_states_have_names_of_their_own_and_begin_with_the_empty_session():
    names = [state.name for state in STATES]
    assert STATES[0] is EMPTY
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("state", LIGHT, ids=lambda state: state.name)
def test_each_change_changes_the_value_by_which_a_restored_session_is_compared(state):
    namespace = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(compile(state.make, "<cell>", "exec"), namespace)  # noqa: S102
    for change in state.changes:
        before = repr(eval(state.value, namespace))
        exec(compile(change, "<cell>", "exec"), namespace)  # noqa: S102
        assert repr(eval(state.value, namespace)) != before


def test_every_series_has_its_turn_in_every_round_and_rounds_begin_at_another_one():
    turns: list[str] = []
    series = [_series(name, turns) for name in "abc"]
    asyncio.run(take_turns(series, rounds=3, cells=2, peer_cells=0))
    assert "".join(turns) == "aaabbbccc" + "aabbcc" + "bbccaa" + "ccaabb"
    assert [len(each.ours) for each in series] == [6, 6, 6]


def test_a_series_that_takes_too_long_has_one_cell_and_no_more():
    turns: list[str] = []
    series = _series("a", turns)
    series.spent_seconds = 1000.0
    asyncio.run(series.take_turn(5, 0))
    asyncio.run(series.take_turn(5, 0))
    assert len(series.ours) == 1


def test_a_cell_that_touches_nothing_may_take_twice_the_empty_sessions_time_and_less_than_the_kernels():
    row = unrelated_row(STATE, [2.0] * 20, [1.0] * 20, [2.5])
    assert [(goal.measured, goal.limit) for goal in row.goals] == [(2.0, 2.0), (2.0, 2.0), (0.8, 1.0)]
    assert not row.missed
    assert row.floor is not None
    assert row.floor.value == 1.0
    assert len(unrelated_row(STATE, [2.1] * 20, [1.0] * 20, [1.5]).missed) == 3


def test_the_empty_session_is_not_compared_with_itself():
    assert unrelated_row(EMPTY, [1.0], [1.0], []).goals == ()


def test_a_cell_that_changes_the_state_may_take_5_ms_more_than_the_empty_sessions():
    (goal,) = change_row(STATE, "array[0] += 1", [6.0], [1.0], []).goals
    assert (goal.measured, goal.is_met) == (5.0, True)
    assert change_row(STATE, "array[0] += 1", [6.1], [1.0], [9.0]).missed


def test_missing_libraries_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(libraries, "find_spec", {"json": True}.get)
    assert libraries.why_unmeasured(["json"]) == ""
    assert libraries.why_unmeasured(["json", "sklearn", "torch"]) == (
        "not measured: scikit-learn and torch are not installed in this environment; "
        "python -m pip install --editable '.[dev,bench]'"
    )


def test_a_peer_that_needs_the_sessions_libraries_runs_in_this_environment():
    assert Environments(Path("unused")).python(HERE) == Path(sys.executable)
    with pytest.raises(PeerMissing):
        Environments(None).python(HERE)
