"""Redis's clock is set an hour off while it runs: nothing waits for that hour, and nothing changes its order."""

import pytest

from ..checker.checker import check
from .one_takeover import takeover_ms
from .scenario import Scenario
from .simulation import live, quiet_logs
from .world import World

HOUR_MS = 3_600_000
SECONDS_OVER_THE_LEASE = 1.0
STEPS = {"ahead": HOUR_MS, "back": -HOUR_MS}


def step_often(world, seconds):
    """Set the clock an hour off, one way or the other, at random times for so long."""

    def step():
        if world.loop.time() < seconds:
            world.step_clock(world.rng.choice(tuple(STEPS.values())))
            world.loop.call_later(world.rng.expovariate(1.0) * seconds / 4, step)

    world.loop.call_later(world.rng.random() * seconds / 4, step)


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_nothing_is_lost_doubled_or_torn(first):
    with quiet_logs():
        for seed in range(first, first + 25):
            world = World(Scenario.draw(seed))
            step_often(world, world.scenario.fault_seconds)
            live(world)
            assert check(world.history).anomalies == [], f"seed {seed}"


@pytest.mark.parametrize("by_ms", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("after_seconds", [0.0, 0.5, 0.99, 1.2])
@pytest.mark.parametrize("seed", range(5))
def test_a_takeover_is_not_late_by_it(seed, by_ms, after_seconds):
    took = takeover_ms(seed, 1.0, lambda world: lambda: world.loop.call_later(after_seconds, world.step_clock, by_ms))

    # Until the step the lease runs by the clock as it was, from the step on by the clock as it is.
    assert took <= (1.0 + after_seconds + SECONDS_OVER_THE_LEASE) * 1000
