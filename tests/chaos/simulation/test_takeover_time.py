"""The time of a takeover after a worker's death, in virtual time, when the first activation is lost."""

import pytest

from .one_takeover import takeover_ms

SECONDS_OVER_THE_LEASE = 1.0
SEEDS = range(10)


@pytest.mark.parametrize("lease_seconds", [1.0, 3.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_activation_costs_less_than_a_second(seed, lease_seconds):
    lost = []

    def lose_the_first_activation(world):
        def loses_activation(session):
            kills = [op for op in world.history.ops if op["op"] == "fault" and op["kind"] == "kill"]
            if lost or not kills:
                return False
            lost.append(session)
            return True

        world.model.loses_activation = loses_activation
        return lambda: None

    took = takeover_ms(seed, lease_seconds, lose_the_first_activation)

    assert lost
    assert took <= (lease_seconds + SECONDS_OVER_THE_LEASE) * 1000
