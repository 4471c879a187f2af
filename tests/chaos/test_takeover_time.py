"""How long a session stands still when its worker dies, in virtual time, and with the first word of it lost."""

import pytest

from .memory_client import MemoryClient
from .one_takeover import takeover_ms

SECONDS_OVER_THE_LEASE = 1.0
SEEDS = range(10)


@pytest.mark.parametrize("lease_seconds", [1.0, 3.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_activation_costs_less_than_a_second(monkeypatch, seed, lease_seconds):
    lost = []

    def lose_the_first_activation(world):
        enqueue = MemoryClient.enqueue_job

        async def enqueue_job(client, *job, **options):
            kills = [op for op in world.history.ops if op["op"] == "fault" and op["kind"] == "kill"]
            if kills and not lost:
                lost.append(job)
            else:
                await enqueue(client, *job, **options)

        monkeypatch.setattr(MemoryClient, "enqueue_job", enqueue_job)
        return lambda: None

    took = takeover_ms(seed, lease_seconds, lose_the_first_activation)

    assert lost
    assert took <= (lease_seconds + SECONDS_OVER_THE_LEASE) * 1000
