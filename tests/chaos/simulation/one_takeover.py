"""One takeover in virtual time: a session's only owner is killed right after its claim."""

from collections.abc import Callable
from dataclasses import replace

from ..checker.checker import check
from .network import CALM
from .scenario import Scenario
from .simulation import live, quiet_logs
from .world import World

KILLED_HERE = "after its claim"


def takeover_ms(seed: int, lease_seconds: float, prepare: Callable[[World], Callable[[], None]]) -> float:
    """Return the milliseconds from the kill to the next claim.

    `prepare` may change the world before it starts, and returns a function that is called at the claim.
    """
    drawn = Scenario.draw(seed)
    settings = drawn.settings.model_copy(update={"lease_seconds": lease_seconds, "max_resident": 100})
    world = World(
        replace(
            drawn, settings=settings, rates=CALM, nemesis={"flush": 1.0}, sessions=1, cells=2, start_failures=0.0,
            fault_seconds=4 * lease_seconds, has_close=False,
        )
    )  # fmt: skip
    at_claim = prepare(world)

    def on_claim(node, session, reply):  # type: ignore[no-untyped-def]
        world._on_claim(node, session, reply)
        if reply[1] == 1:
            world.loop.call_later(0.001, world.kill, node, KILLED_HERE)
            at_claim()

    world.network.on_claim = on_claim
    with quiet_logs():
        live(world)
    faults = [op for op in world.history.ops if op["op"] == "fault"]
    [kill] = [op["at"] for op in faults if op["kind"] == "kill" and op["text"] == KILLED_HERE]  # a cell may kill others
    claims = [op["at"] for op in world.history.ops if op["op"] == "claim" and op["at"] > kill]
    assert check(world.history).anomalies == []
    took: float = claims[0] - kill
    return took
