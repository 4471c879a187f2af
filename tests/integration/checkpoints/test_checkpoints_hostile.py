"""Hostile states: each costs its own variable only, is reported with a reason, and never hangs the session.

| in the namespace | result |
|---|---|
| `__getstate__` that hangs | left out after the snapshot's deadline |
| `__getstate__`, `__reduce__` that raise anything, or end their process | left out |
| `__reduce__` that returns nonsense | left out |
| `__setstate__` that raises, exits, ends its process or hangs | left out when it is saved, since a trial of restoring fails |
| the same on an object in a class, a default, a closure | the class or function is left out, with its users |
| nesting 200,000 deep | left out |
| 600 MiB | saved, and restored |
| pickle, copyreg, cloudpickle patched by user code | the session continues, and is saved |
| a held lock, generator, file, socket, running task | left out; a lambda is saved |
| a metaclass, or `__class__`, that runs user code | never called in the session's own process |
| a chunk that is missing or damaged | the checkpoint before is restored, with a warning |
| an object that only fails in a new process | lost in the restore, by name and reason |
"""

import pytest

import skep

from ..session_processes import OWN_NAME, name_of

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
KEPT = "kept = [1]; also = {'k': kept}\ndef f(): return kept\nclass Fine: pass\nfine = Fine()"
CHECK = "kept == [1] and also['k'] is kept and f() is kept and type(fine) is Fine"

HANG = "while True: pass"
SAVING = {
    "hangs": HANG,
    "raises": "raise ValueError('no')",
    "exits": "raise SystemExit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "ends the process": "import os; os._exit(0)",
    "crashes": "import ctypes; ctypes.string_at(0)",
}


@pytest.fixture(scope="module")
async def cluster():
    """Two workers with a short limit for snapshots."""
    flags = ("--snapshot-seconds", "1", "--restore-seconds", "20")
    async with skep.embedded(workers=2, worker_flags=flags) as cluster:
        yield cluster


async def lost_after_a_crash(session, code, check=CHECK):
    """Run the code with other variables, kill the process, and return the losses that the restore reported."""
    outcome = await session.run(f"{KEPT}\n{code}")
    assert outcome.ok, outcome.error
    await session.run(KILL)
    checked = await session.run(check)
    assert checked.value is True, checked.error
    restored = [event async for event in session.events() if event.kind == "session.restored"]
    return restored[-1].lost


@pytest.mark.parametrize("code", SAVING.values(), ids=SAVING.keys())
@pytest.mark.parametrize("method", ["__getstate__", "__reduce__"])
async def test_a_method_for_saving_costs_its_variable(session, method, code):
    lost = await lost_after_a_crash(session, f"class Bad:\n    def {method}(self):\n        {code}\nbad = Bad()")

    assert lost.keys() == {"bad"}


@pytest.mark.parametrize("code", SAVING.values(), ids=SAVING.keys())
@pytest.mark.parametrize("method", ["__getstate__", "__setstate__"])
async def test_a_variable_that_turns_bad_does_not_cost_the_rest_of_its_group(session, method, code):
    bad = f"""
class Bad:
    is_bad = False
    def {method}(self, *state):
        if self.is_bad or state and state[0].get("is_bad"):
            {code}
        return None if state else vars(self)
together = [1]; bad = [Bad(), together]; beside = [together]"""
    assert (await session.run(f"{KEPT}\n{bad}")).ok
    lost = await lost_after_a_crash(session, "bad[0].is_bad = True; check = lambda: beside[0] is together")

    assert lost.keys() == {"bad"}
    assert (await session.run("check()")).value is True


@pytest.mark.parametrize(
    "answer", ["5", "(5,)", "(print,)", "(print, 1, 2, 3, 4, 5, 6, 7)", "(lambda: 1, (lambda: 2)())"]
)
async def test_a_nonsensical_reduction_costs_its_variable(session, answer):
    lost = await lost_after_a_crash(session, f"class Bad:\n    def __reduce__(self): return {answer}\nbad = Bad()")

    assert lost.keys() == {"bad"}


@pytest.mark.parametrize("code", SAVING.values(), ids=SAVING.keys())
async def test_a_method_for_restoring_costs_its_variable_and_is_found_when_saving(session, code):
    bad = f"class Bad:\n    def __init__(self): self.x = 1\n    def __setstate__(self, state):\n        {code}"
    lost = await lost_after_a_crash(session, f"{bad}\nbad = Bad()")

    assert lost.keys() == {"bad"}
    assert lost["bad"].startswith("restoring it") or "pickling it took longer" in lost["bad"]


@pytest.mark.parametrize("code", [SAVING[name] for name in ("hangs", "exits", "ends the process")])
@pytest.mark.parametrize("method", ["__getstate__(self)", "__setstate__(self, state)"])
async def test_such_an_object_in_a_class_or_function_costs_only_its_users(session, method, code):
    bad = f"class Bad:\n    def __init__(self): self.x = 1\n    def {method}:\n        {code}"
    lost = await lost_after_a_crash(
        session, f"{bad}\nclass Holder:\n    field = Bad()\nholder = Holder()\ndef default(x=Bad()): return x"
    )

    assert lost.keys() == {"Holder", "holder", "default"}
    assert (await session.run("Bad().x")).value == 1


async def test_two_kinds_of_objects_that_hang_a_whole_trial_cost_nothing_else(shard, start_worker):
    await start_worker("--snapshot-seconds", "4")  # each of them hangs for a quarter of this time
    bad = "class {}:\n    def __init__(self): self.x = 1\n    def __setstate__(self, state):\n        while True: pass"
    code = f"{bad.format('First')}\n{bad.format('Second')}\nclass Holder:\n    field = First(), Second(), First(), Second()"

    lost = await lost_after_a_crash(shard.session("s"), code)

    assert lost.keys() == {"Holder"}
    assert lost["Holder"].startswith("restoring it takes longer")


async def test_nesting_of_200_000_levels_costs_its_variable(session):
    lost = await lost_after_a_crash(
        session,
        "deep = []\nfor _ in range(200_000): deep = [deep]\ntable = {}\nfor _ in range(200_000): table = {'t': table}",
    )

    assert lost.keys() == {"deep", "table"}


async def test_600_mib_are_saved(shard, start_worker):
    await start_worker()
    session = shard.session("s")
    await session.run("big = bytearray(600 * 1024 * 1024); big[-1] = 7; kept = [1]", timeout=60)
    await session.run(KILL)

    assert (await session.run("len(big), big[-1], kept")).value == (600 * 1024 * 1024, 7, [1])


PATCHES = """
import pickle, copyreg, cloudpickle, io, functools, weakref, types
def broken(*args, **kwargs): raise RuntimeError("patched")
for module in (pickle, cloudpickle):
    for name in ("dumps", "dump", "loads", "load", "Pickler", "Unpickler", "PickleBuffer", "PicklingError"):
        if hasattr(module, name): setattr(module, name, broken)
copyreg.__reduce_ex__ = broken
copyreg.dispatch_table[complex] = broken
del pickle, copyreg, cloudpickle, io, functools, weakref, types, module, name
number = 1j
"""


async def test_a_session_that_patches_pickling_continues_and_is_saved(session):
    assert (await session.run(f"{KEPT}\n{PATCHES}")).ok
    assert (await session.run("kept.append(2); fine.x = kept")).ok
    await session.run(KILL)

    assert (await session.run("kept, fine.x is kept, f() is kept")).value == ([1, 2], True, True)


async def test_values_that_can_not_be_saved_are_reported_and_a_lambda_is_saved(session):
    lost = await lost_after_a_crash(
        session,
        "import asyncio, socket, threading\nasync def numbers(): yield 1\nlock = threading.Lock(); lock.acquire(); made = (i for i in ()); file = open('/etc/hosts')\n"
        "sock = socket.socket(socket.AF_UNIX); small = lambda: kept; async_made = (i async for i in numbers())\n"
        "mixed = {'fine': kept, 'lock': lock}; method = lock.acquire",
        f"{CHECK} and small() is kept",
    )

    assert lost.keys() == {"lock", "made", "file", "sock", "async_made", "mixed", "method"}
    assert all(lost.values())


async def test_a_running_task_is_reported(session):
    await session.run("import asyncio\nkept = [1]\ntask = asyncio.create_task(asyncio.sleep(3600))")
    await session.run(KILL)

    assert (await session.run("kept")).value == [1]
    assert "lost after checkpoint" in (await session.run("task")).error.evalue


ANSWERS = """
class Meta(type):
    def __getattribute__(cls, name): raise SystemExit(name)
class Odd(metaclass=Meta): pass
class Liar:
    @property
    def __class__(self): raise SystemExit("no class")
class Proxy:
    def __getattr__(self, name): raise SystemExit(name)
liar, proxy = Liar(), Proxy()
"""


async def test_user_code_that_computes_attributes_does_not_end_the_session(session):
    lost = await lost_after_a_crash(session, ANSWERS)

    assert lost.keys() <= {"Odd", "Meta", "liar", "proxy"}


async def test_a_variable_that_fails_only_in_a_new_process_is_lost_in_the_restore(session):
    lost = await lost_after_a_crash(
        session,
        f"import os\nhome, name = os.getpid(), {OWN_NAME}\nclass Bound:\n    def __init__(self): self.x = 1\n"
        "    def __setstate__(self, state):\n"
        f"        if not os.path.exists(f'/proc/{{home}}') or {name_of('home')} != name: raise SystemExit('elsewhere')\n"
        "bound = Bound()",
    )

    assert lost == {"bound": "restoring it raises SystemExit: elsewhere"}


@pytest.mark.parametrize("harm", ["missing", "changed"])
async def test_a_damaged_chunk_in_redis_costs_that_checkpoint_only(cluster, session, harm):
    await session.run("x = 1")
    await session.run("x = 2; import random; big = random.randbytes(1_000_000)")
    redis, key = cluster._link.redis, cluster._link.keys.blobs(session.id)
    names = [name async for name, _ in redis.hscan_iter(key) if await redis.hstrlen(key, name) > 1000]
    assert names
    for name in names:
        if harm == "missing":
            await redis.hdel(key, name)
        else:
            value = bytearray(await redis.hget(key, name))
            value[len(value) // 2] ^= 1
            await redis.hset(key, name, bytes(value))
    await session.run(KILL)

    assert (await session.run("x, 'big' in globals()")).value == (1, False)
    warnings = [event async for event in session.events() if event.kind == "warning"]
    assert [event.category for event in warnings] == ["checkpoint.damaged"]
