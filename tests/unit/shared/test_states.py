"""The lifecycle of a resident, step by step."""

import pytest

from skep_shared.errors import IllegalTransition
from skep_shared.states import ResidentState, ResidentStep, next_resident

S, T = ResidentState, ResidentStep


@pytest.mark.parametrize(
    ("steps", "end"),
    [
        ([T.START, T.HELLO, T.DRAIN, T.RELEASE], S.RELEASED),
        ([T.START, T.HELLO, T.EXIT, T.START, T.HELLO], S.READY),
        ([T.START, T.EXIT, T.START], S.STARTING),
        ([T.START, T.HELLO, T.EXIT, T.DRAIN, T.RELEASE], S.RELEASED),
        ([T.START, T.HELLO, T.DRAIN, T.EXIT, T.RELEASE], S.RELEASED),
        ([T.START, T.DRAIN, T.HELLO, T.DRAIN], S.DRAINING),
        ([T.START, T.HELLO, T.FENCE], S.FENCED),
        ([T.FENCE, T.FENCE], S.FENCED),
        ([T.START, T.HELLO, T.ROLL_BACK, T.EXIT, T.ROLLED_BACK], S.CLAIMED),
        ([T.START, T.HELLO, T.ROLL_BACK, T.DRAIN, T.EXIT, T.ROLLED_BACK], S.DRAINING),
        ([T.START, T.CLOSE, T.HELLO, T.EXIT, T.RELEASE], S.RELEASED),
        ([T.DRAIN, T.HURRY, T.HAND_OVER, T.EXIT, T.RELEASE, T.END], S.OVER),
        ([T.HIBERNATE, T.DRAIN], S.HIBERNATING),
        ([T.DRAIN, T.CLOSE, T.HURRY], S.HURRIED_CLOSING),
        ([T.DRAIN, T.HURRY, T.CLOSE], S.HURRIED_CLOSING),
        ([T.CLOSE, T.DRAIN], S.CLOSING),
        ([T.CLOSE, T.FIND_GAP, T.LOSE, T.FIND_GAP, T.CLOSE, T.DRAIN, T.HURRY], S.LOST),
        ([T.DRAIN, T.HAND_OVER, T.LOSE, T.CLOSE], S.HANDING_OVER),
        ([T.DRAIN, T.RELEASE, T.CLOSE, T.LOSE], S.RELEASED),
    ],
)
def test_steps_lead_to_the_expected_state(steps, end):
    state = S.CLAIMED
    for step in steps:
        state = next_resident(state, step)

    assert state is end


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (S.CLAIMED, T.HELLO),
        (S.CLAIMED, T.RELEASE),
        (S.STARTING, T.START),
        (S.READY, T.START),
        (S.READY, T.HELLO),
        (S.READY, T.RELEASE),
        (S.DRAINING, T.START),
        (S.RELEASED, T.RELEASE),
        (S.RELEASED, T.FENCE),
        (S.READY, T.HAND_OVER),
        (S.CLOSING, T.START),
        (S.STARTING, T.ROLL_BACK),
        (S.RELEASED, T.EXIT),
        (S.OVER, T.END),
        (S.FENCED, T.START),
        (S.FENCED, T.RELEASE),
    ],
)
def test_an_illegal_step_names_the_state_and_the_step(state, step):
    with pytest.raises(IllegalTransition) as caught:
        next_resident(state, step)

    error = caught.value
    assert (error.machine, error.state, error.step) == ("resident", state, step)
    assert repr(str(state)) in str(error)
    assert repr(str(step)) in str(error)
