"""The limits of one checkpoint: beyond them it is partial, and reports the variables that it left out."""

from contextlib import aclosing

import pytest

import skep

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


async def lost_names(session):
    """Wait for the event that reports what a checkpoint could not save."""
    async with aclosing(session.events(follow=True)) as events:
        async for event in events:
            if event.kind == "checkpoint.partial":
                return event.lost
    raise AssertionError("the session was closed")


async def test_the_largest_variables_are_left_out_beyond_the_budget(shard, start_worker):
    await start_worker("--state-bytes", "1000000")
    session = shard.session("s")
    await session.run("small = 'x' * 1000; middle = bytes(400_000); large = bytearray(900_000)")

    lost = await lost_names(session)
    assert list(lost) == ["large"]
    assert "900" in lost["large"]
    assert "budget of 1000000 bytes" in lost["large"]
    await session.run(KILL)
    assert (await session.run("len(small), len(middle)")).value == (1000, 400_000)


async def test_a_variable_that_takes_too_long_to_save_is_left_out(shard, start_worker):
    await start_worker("--snapshot-seconds", "0.5")
    session = shard.session("s")
    await session.run(
        "import time\nclass Slow:\n    def __getstate__(self): time.sleep(3600)\nslow = Slow(); kept = [1]; after = 2"
    )

    # The first attempt has three quarters of the time; the rest is for saving the others without this variable.
    assert (await lost_names(session)) == {"slow": "pickling it took longer than 0.375 s"}
    await session.run(KILL)
    assert (await session.run("kept, after")).value == ([1], 2)


async def test_a_variable_that_takes_too_much_memory_to_save_is_left_out(shard, start_worker):
    await start_worker("--snapshot-memory-bytes", str(64 * 1024 * 1024))
    session = shard.session("s")
    await session.run(
        "class Huge:\n    def __getstate__(self): return {'data': 'x' * 10**9}\nhuge = Huge(); kept = [1]; after = 2"
    )

    lost = await lost_names(session)
    assert list(lost) == ["huge"]
    assert "MemoryError" in lost["huge"]
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED
    assert (await session.run("kept, after")).value == ([1], 2)


async def test_a_state_is_given_up_if_variable_after_variable_hangs(shard, start_worker):
    await start_worker("--snapshot-seconds", "0.2")
    session = shard.session("s")
    cell = await session.submit(
        "import time\nclass Slow:\n    def __getstate__(self): time.sleep(3600)\n"
        "kept = 1\nglobals().update({f'slow_{i}': Slow() for i in range(200)})"
    )

    assert (await cell.outcome(40)).ok  # two hundred attempts would take longer
    lost = await lost_names(session)
    assert "slow_199" in lost
    assert "kept" not in lost
    assert {reason for reason in lost.values() if reason.startswith("saving the state took longer than 0.2 s")}
