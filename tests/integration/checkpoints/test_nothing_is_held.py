"""A value that no name reaches is freed at once: neither the engine nor its snapshots hold it.

Weak references tell, with the garbage collector off: what waits for a collection is held in a cycle.
"""

import secrets

import pytest

import skep

pytestmark = [pytest.mark.anyio, pytest.mark.real_start]


@pytest.fixture(scope="module")
async def cluster():
    async with skep.embedded() as cluster:
        yield cluster


@pytest.fixture
def session(cluster):
    return cluster.session(f"s-{secrets.token_hex(6)}")


MAKE = """
import gc, weakref
gc.disable()
class Value:
    def __init__(self): self.payload = [0]
def watch(value):
    watched.append(weakref.ref(value))
    return value
watched = []
"""
VALUES = {
    "an instance": "Value()",
    "an instance in containers": "{'k': [(Value(), Value())]}['k'][0][0]",
    "a function": "(lambda: 1)",
    "an instance that a forked child saves": "type('Made', (Value,), {'__getstate__': lambda self: {'a': 1}})()",
    "what can't be saved": "(number for number in range(3))",
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
async def test_rebinding_a_name_frees_the_old_value(session, value):
    await session.run(MAKE)
    for _ in range(3):
        assert (await session.run(f"x = watch({value})")).ok
    await session.run("x = None")

    alive = (await session.run("[reference() is not None for reference in watched]")).value

    assert alive == [False, False, False]


async def test_rebinding_a_large_array_takes_no_more_memory_than_two_arrays(session):
    await session.run(
        "import numpy as np, resource\n"
        "def megabytes():\n"
        "    with open('/proc/self/status') as file:\n"
        "        return int(file.read().partition('VmRSS:')[2].split()[0]) // 1024\n"
        "before = megabytes()"
    )
    used = [(await session.run("x = np.random.rand(5_000_000); megabytes() - before")).value for _ in range(6)]

    assert max(used) < 2.5 * 40


async def test_a_running_snapshot_holds_no_value(session, shared_path):
    gate = str(shared_path / "gate")
    await session.run(f"{MAKE}import os, time\n")
    await session.submit(
        f"class Slow:\n    def __getstate__(self):\n        while not os.path.exists({gate!r}): time.sleep(0.01)\n        return {{}}\n"
        "slow, x = Slow(), watch(Value())"
    )
    later = await session.submit(f"x = None; alive = watched[0]() is not None; open({gate!r}, 'w').close(); alive")

    assert (await later.outcome()).value is False
