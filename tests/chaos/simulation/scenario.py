"""What one seed of the simulation is about: all of it is drawn from the seed."""

import random
from dataclasses import dataclass

from skep_shared.broker.keys import Keys
from skep_shared.settings import WorkerSettings

from .network import Rates

KEYS = Keys("sim")


@dataclass(frozen=True)
class Scenario:
    """What one seed is about, all of it drawn from the seed."""

    seed: int
    workers: int
    sessions: int
    clients: int
    cells: int
    fault_seconds: float
    settings: WorkerSettings
    rates: Rates
    nemesis: dict[str, float]
    start_failures: float
    has_rollback: bool
    has_close: bool
    has_returning_chunks: bool
    has_tiers: bool  # the first session asks for a sandbox, which not every worker has
    has_updates: bool  # clients change the times of sessions

    @classmethod
    def draw(cls, seed: int, *, length: float = 1.0) -> "Scenario":
        """Return the scenario of a seed."""
        rng = random.Random(f"scenario {seed}")
        lease_seconds = rng.choice((0.5, 1.0, 1.0, 3.0))
        settings = _settings(
            lease_seconds=lease_seconds,
            command_timeout_seconds=rng.choice((0.3, 1.0)) * lease_seconds,
            block_seconds=rng.choice((1.0, 5.0)),
            max_resident=rng.choice((2, 2, 100)),
            idle_seconds=rng.choice((0.3, 3.0, 900.0)),
            busy_idle_seconds=rng.choice((0.3, 30.0)),
            commit_window=rng.choice((1, 2, 64)),
            keep_checkpoints=rng.choice((1, 2, 3, 20)),
            grace_seconds=rng.choice((0.0, 0.3, 2.0)),
            flush_ms=rng.choice((0.0, 4.0, 50.0)),
        )
        scale = rng.choice((0.0, 0.3, 1.0, 2.0))
        rates = Rates(
            request_lost=rng.random() * 0.03 * scale,
            reply_lost=rng.random() * 0.06 * scale,
            late=rng.random() * 0.02 * scale,
            pause_before=rng.random() * 0.01 * scale,
            pause_after=rng.random() * 0.01 * scale,
            kill_before=rng.random() * 0.005 * scale,
            kill_after=rng.random() * 0.008 * scale,
            refused=random.Random(f"refusals {seed}").random() * 0.03 * scale,
        )
        weights = {
            "pause": 2.0, "kill": 1.5, "drain": 1.0, "cut": 1.0, "down": 0.7, "flush": 0.3, "crash": 1.0, "activate": 1.0,
        }  # fmt: skip
        nemesis = {kind: weight for kind, weight in weights.items() if rng.random() < 0.6}
        has_rollback = rng.random() < 0.1
        if has_rollback:
            nemesis["rollback"] = 3.0
        return cls(
            seed=seed,
            workers=3,
            sessions=rng.choice((1, 2, 3)),
            clients=2,
            cells=int(30 * length),
            fault_seconds=rng.uniform(3.0, 8.0) * lease_seconds * length,
            settings=settings,
            rates=rates,
            nemesis=nemesis or {"kill": 1.0},
            start_failures=rng.choice((0.0, 0.0, 0.1)),
            has_rollback=has_rollback,
            has_close=rng.random() < 0.2,
            has_returning_chunks=rng.random() < 0.5,
            has_tiers=random.Random(f"tiers {seed}").random() < 0.3,
            has_updates=random.Random(f"changed options {seed}").random() < 0.3,
        )


_BASE_SETTINGS: list[WorkerSettings] = []


def _settings(**overrides: object) -> WorkerSettings:
    """Return settings with these overrides; pydantic validates only once, since that takes its time.

    Simulated workers have no processes, so they need no control groups.
    """
    if not _BASE_SETTINGS:
        _BASE_SETTINGS.append(WorkerSettings.load(prefix="sim", cgroups="none"))
    return _BASE_SETTINGS[0].model_copy(update=overrides)
