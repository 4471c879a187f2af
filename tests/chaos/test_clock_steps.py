"""Redis' clock is set an hour off while it runs: nothing waits for that hour, and nothing changes its order."""

from dataclasses import replace

import pytest

from .checker import check
from .network import CALM
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
    found = []
    with quiet_logs():
        for seed in range(first, first + 25):
            world = World(Scenario.draw(seed))
            step_often(world, world.scenario.fault_seconds)
            live(world)
            found += [f"seed {seed}: {anomaly}" for anomaly in check(world.history).anomalies]
    assert found == []


def takeover_ms(seed, lease_seconds, by_ms, *, after_seconds):
    """Kill a session's only owner behind its claim, and set the clock off so long after; gives the ms to the next claim."""
    drawn = Scenario.draw(seed)
    settings = drawn.settings.model_copy(update={"lease_seconds": lease_seconds, "max_resident": 100})
    world = World(
        replace(
            drawn, settings=settings, rates=CALM, nemesis={"flush": 1.0}, sessions=1, cells=2, start_failures=0.0,
            fault_seconds=4 * lease_seconds, has_close=False,
        )
    )  # fmt: skip

    def on_claim(node, session, reply):
        world._on_claim(node, session, reply)
        if reply[1] == 1:
            world.loop.call_later(0.001, world.kill, node, "behind its claim")
            world.loop.call_later(after_seconds, world.step_clock, by_ms)

    world.network.on_claim = on_claim
    with quiet_logs():
        live(world)
    [kill] = [op["at"] for op in world.history.ops if op["op"] == "fault" and op["kind"] == "kill"]
    claims = [op["at"] for op in world.history.ops if op["op"] == "claim" and op["at"] > kill]
    assert check(world.history).anomalies == []
    return claims[0] - kill


@pytest.mark.parametrize("by_ms", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("after_seconds", [0.0, 0.5, 0.99, 1.2])
@pytest.mark.parametrize("seed", range(5))
def test_a_takeover_is_not_late_by_it(seed, by_ms, after_seconds):
    took = takeover_ms(seed, 1.0, by_ms, after_seconds=after_seconds)

    # Until the step the lease runs by the clock as it was, from the step on by the clock as it is.
    assert took <= (1.0 + after_seconds + SECONDS_OVER_THE_LEASE) * 1000
