"""A shard in virtual time: real worker hosts on a Redis in memory, session processes that are played, faults by seed.

What is real: `WorkerHost` with its lease, mailbox, residents, journal, intake, reporter, runs, checkpoints and recovery,
and the typed scripts. What is played: Redis and the Lua (`memory_redis`, `script_model`), the network (`network`), the
session process (`session_process`), arq's queue, and the clients. A run is one seed: first some seconds of faults, then
everything heals, and the shard has to drain.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any

import structlog

from .played import played
from .scenario import Scenario
from .virtual_loop import Stalled
from .world import World

MAX_STEPS = 400_000


@contextlib.contextmanager
def quiet_logs(tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Keep the host's log lines out of the way, or have them told."""
    before = structlog.get_config()
    level = 10 if tell is not None else 50

    def render(_: Any, name: str, event: dict[str, Any]) -> str:
        assert tell is not None
        tell(f"          log {name} {event}")
        raise structlog.DropEvent

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level), processors=[render], cache_logger_on_first_use=False
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def simulate(
    scenario: Scenario,
    *,
    bugs: frozenset[str] = frozenset(),
    tell: Callable[[str], None] | None = None,
    max_steps: int = MAX_STEPS,
) -> World:
    """Run a scenario to its end, and return its world with the history; nothing of it runs on."""
    world = World(scenario, bugs=bugs, tell=tell)
    live(world, max_steps=max_steps)
    return world


def live(world: World, *, max_steps: int = MAX_STEPS) -> None:
    """Run a world and end it. If it does not end by itself, that is recorded in its history.

    Raises what ended the start of a worker, if no fault did.
    """
    with played(world):
        main = world.main = world.loop.create_task(world.run(), name="world", context=Context())
        try:
            world.loop.run_until_done(main, max_steps=max_steps)
            if world.defect is not None:
                raise world.defect
            main.result()
        except Stalled as exc:
            world.history.add({"op": "fault", "kind": "stalled", "node": "", "at": 0, "seconds": 0, "text": str(exc)})
        finally:
            world.end()
    for text in world.loop.faults:
        world.history.add({"op": "fault", "kind": "unhandled", "node": "", "at": 0, "seconds": 0, "text": text})
