"""The lifecycle of a resident: every step from every state, and walks of any length."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep_shared.errors import IllegalTransition
from skep_shared.states import (
    ENDED_RESIDENT,
    LEAVING_RESIDENT,
    NEXT_RESIDENT,
    ResidentState,
    ResidentStep,
    next_resident,
)

S, T = ResidentState, ResidentStep

walks = st.lists(st.sampled_from(ResidentStep), max_size=40)


def walk(steps: list[ResidentStep]) -> list[ResidentState]:
    """Return the states that the legal ones of the steps lead through."""
    states = [S.CLAIMED]
    for step in steps:
        try:
            states.append(next_resident(states[-1], step))
        except IllegalTransition:
            continue
    return states


@pytest.mark.parametrize(("state", "step"), list(product(ResidentState, ResidentStep)))
def test_a_step_is_in_the_table_or_illegal_with_both_names(state, step):
    if (state, step) in NEXT_RESIDENT:
        assert next_resident(state, step) is NEXT_RESIDENT[state, step]
    else:
        with pytest.raises(IllegalTransition) as caught:
            next_resident(state, step)
        assert (caught.value.state, caught.value.step) == (state, step)


def test_every_state_can_be_reached_and_every_step_be_taken():
    reached = {S.CLAIMED}
    for _ in S:
        reached |= {end for (start, _), end in NEXT_RESIDENT.items() if start in reached}

    assert reached == set(S)
    assert {step for _, step in NEXT_RESIDENT} == set(T)


@given(steps=walks)
def test_a_residency_that_has_ended_stays_ended(steps):
    states = walk(steps)

    for end in (S.RELEASED, S.FENCED, S.OVER):
        if end in states:
            assert set(states[states.index(end) :]) <= {end, S.OVER}


@given(steps=walks)
def test_a_resident_that_leaves_starts_nothing_more(steps):
    states = walk(steps)

    leaving = next((index for index, state in enumerate(states) if state in LEAVING_RESIDENT), len(states))
    assert set(states[leaving:]) <= LEAVING_RESIDENT | ENDED_RESIDENT


@given(steps=walks)
def test_a_session_is_released_only_after_a_reason_to_leave(steps):
    states = walk(steps)

    if S.RELEASED in states:
        assert states[states.index(S.RELEASED) - 1] in LEAVING_RESIDENT


@pytest.mark.parametrize("state", sorted(set(S) - ENDED_RESIDENT))
def test_a_reason_to_leave_is_accepted_in_every_state_and_a_loss_is_never_forgotten(state):
    for step in (T.DRAIN, T.HIBERNATE, T.HURRY, T.CLOSE, T.LOSE, T.FIND_GAP):
        assert next_resident(state, step) in LEAVING_RESIDENT
        assert next_resident(S.LOST, step) is S.LOST


@given(steps=walks)
def test_only_a_process_that_was_started_gets_ready(steps):
    states = walk(steps)

    for before, state in pairwise(states):
        if state is S.READY:
            assert before is S.STARTING


@given(steps=walks)
def test_a_resident_can_always_be_fenced_until_it_is_released(steps):
    state = walk(steps)[-1]

    if state not in {S.RELEASED, S.OVER}:
        assert next_resident(state, T.FENCE) is S.FENCED
