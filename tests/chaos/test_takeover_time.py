"""How long a session stands still when its worker dies, in virtual time, and with the first word of it lost."""

from dataclasses import replace

import pytest

from .memory_client import MemoryClient
from .network import CALM
from .scenario import Scenario
from .simulation import live, quiet_logs
from .world import World

SECONDS_OVER_THE_LEASE = 1.0
SEEDS = range(10)


def takeover_ms(monkeypatch, seed, lease_seconds):
    """Kill a session's owner just behind its claim, lose the first activation after that; gives the ms to the next claim."""
    drawn = Scenario.draw(seed)
    settings = drawn.settings.model_copy(update={"lease_seconds": lease_seconds, "max_resident": 100})
    world = World(
        replace(
            drawn, settings=settings, rates=CALM, nemesis={"flush": 1.0}, sessions=1, cells=2, start_failures=0.0,
            fault_seconds=4 * lease_seconds, has_close=False,
        )
    )  # fmt: skip
    enqueue = MemoryClient.enqueue_job
    lost = []

    async def lose_the_first_one(client, *job, **options):
        kills = [op for op in world.history.ops if op["op"] == "fault" and op["kind"] == "kill"]
        if kills and not lost:
            lost.append(job)
        else:
            await enqueue(client, *job, **options)

    def on_claim(node, session, reply):
        world._on_claim(node, session, reply)
        if reply[1] == 1:
            world.loop.call_later(0.001, world.kill, node, "behind its claim")

    monkeypatch.setattr(MemoryClient, "enqueue_job", lose_the_first_one)
    world.network.on_claim = on_claim
    with quiet_logs():
        live(world)
    [kill] = [op["at"] for op in world.history.ops if op["op"] == "fault" and op["kind"] == "kill"]
    claims = [op["at"] for op in world.history.ops if op["op"] == "claim" and op["at"] > kill]
    assert lost
    return claims[0] - kill


@pytest.mark.parametrize("lease_seconds", [1.0, 3.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_activation_costs_less_than_a_second(monkeypatch, seed, lease_seconds):
    assert takeover_ms(monkeypatch, seed, lease_seconds) <= (lease_seconds + SECONDS_OVER_THE_LEASE) * 1000
