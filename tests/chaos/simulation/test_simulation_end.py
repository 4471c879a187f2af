"""A run ends everything it has begun, however it ends: what the garbage collector has to end would wake up in another test."""

import gc
import sys

import pytest

from . import world as world_module
from .scenario import Scenario
from .simulation import live, quiet_logs, simulate
from .world import World

SEED = 6
CUT_OFF_AT = (100, 500, 1_000, 1_500, 2_000)  # steps: in the middle of claims, faults and hand-overs


@pytest.fixture
def unraisable(monkeypatch):
    """Errors that objects report while they are collected."""
    gc.collect()  # garbage of earlier tests is not ours
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: found.append(f"{told.object!r}: {told.exc_value!r}"))
    return found


def collected(world):
    """Release a world, and return the faults that its loop recorded meanwhile."""
    faults = world.loop.faults
    faults.clear()
    del world
    gc.collect()
    return faults


@pytest.mark.parametrize("steps", CUT_OFF_AT)
def test_a_run_that_is_cut_off_leaves_nothing_to_the_collector(unraisable, steps):
    with quiet_logs():
        worlds = [simulate(Scenario.draw(SEED), max_steps=steps)]
        assert "no end" in worlds[0].history.ops[-1]["text"]
        assert worlds[0].loop.pending == []
        assert collected(worlds.pop()) == []
    assert unraisable == []


def test_a_run_that_fails_leaves_nothing_to_the_collector(unraisable, monkeypatch):
    worlds = []

    def fail(world):
        worlds.append(world)
        raise ZeroDivisionError

    monkeypatch.setattr(world_module, "read_out", fail)
    with quiet_logs():
        with pytest.raises(ZeroDivisionError):
            simulate(Scenario.draw(SEED))
        assert worlds[0].loop.pending == []
        assert collected(worlds.pop()) == []
    assert unraisable == []


def test_an_error_that_no_fault_explains_ends_the_run_when_the_first_worker_starts(unraisable, monkeypatch):
    worlds = [World(Scenario.draw(SEED))]

    async def fail(_self):
        raise ZeroDivisionError

    monkeypatch.setattr(world_module.worker.WorkerHost, "run", fail)
    with quiet_logs():
        with pytest.raises(ZeroDivisionError):
            live(worlds[0])
        assert worlds[0].loop.time() == 0
        assert worlds[0].loop.pending == []
        assert collected(worlds.pop()) == []
    assert unraisable == []


def test_a_run_to_the_end_leaves_nothing_to_the_collector(unraisable):
    with quiet_logs():
        worlds = [simulate(Scenario.draw(SEED))]
        assert worlds[0].loop.pending == []
        assert collected(worlds.pop()) == []
    assert unraisable == []


def test_ending_a_run_adds_nothing_to_its_history(monkeypatch):
    sizes = []
    end = World.end

    def counted_end(world):
        sizes.append(len(world.history.ops))
        end(world)

    monkeypatch.setattr(World, "end", counted_end)
    with quiet_logs():
        for steps in CUT_OFF_AT:
            history = simulate(Scenario.draw(SEED), max_steps=steps).history
            assert len(history.ops) == sizes.pop()
