"""The namespace survives its process: saved with every commit, restored anywhere, rolled back, forked."""

import pytest

import skep

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"

ZOO = """
import abc, dataclasses, enum, functools, typing
a = [1, 2]; b = a; x = 5; count = 0; cyclic = []; cyclic.append(cyclic)
def read(): return x
def increment():
    global count
    count += 1
    return count
class Base:
    items = []
    def __init__(self, v): self.v = v
    def get(self): return self.v + x
class Derived(Base):
    def get(self): return super().get() * 2
one = Base(1); two = Derived(one); both = [one, two]
@dataclasses.dataclass
class Data:
    p: int
    q: list = dataclasses.field(default_factory=list)
data = Data(1, a)
class Colour(enum.Enum):
    RED = 1
red = Colour.RED
def make():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    def now(): return n
    return up, now
up, now = make(); up()
add = lambda y: y + x
@functools.lru_cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
@functools.singledispatch
def kind(v): return "any"
@kind.register
def _(v: int): return "int"
T = typing.TypeVar("T")
class Box(typing.Generic[T]):
    def __init__(self, v: T): self.v = v
box = Box(3)
class Meta(type):
    def __new__(m, n, bases, ns): return super().__new__(m, n, bases, {**ns, "tag": 1})
class Made(metaclass=Meta): pass
class Abstract(abc.ABC):
    @abc.abstractmethod
    def z(self): ...
class Concrete(Abstract):
    def z(self): return 1
concrete = Concrete()
class Slots:
    __slots__ = ("u",)
slots = Slots(); slots.u = 4
class Point(typing.NamedTuple):
    h: int
point = Point(3)
def default(v=a): return v
bound = functools.partial(increment)
"""

STILL = """
import inspect
x = 100
[
    a is b and data.q is a and default() is a, read() == 100 and add(1) == 101,
    increment() == 1 and count == 1 and bound() == 2, both[0] is one and two.v is one and type(two) is Derived,
    isinstance(two, Base) and one.get() == 101, Base.items is Derived.items, red is Colour.RED and Colour(1) is red,
    now() == 1 and up() == 2 and now() == 2, fib(10) == 55, kind(1) == "int" and kind("") == "any",
    box.v == 3 and Made.tag == 1 and concrete.z() == 1 and slots.u == 4, type(point) is Point and point.h == 3,
    cyclic[0] is cyclic, inspect.getsource(read) == "def read(): return x\\n",
    inspect.getsource(Colour).startswith("class Colour"),
]
"""


async def test_everything_that_cells_define_is_restored_after_a_kill(session):
    assert (await session.run(ZOO)).ok
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED

    checks = (await session.run(STILL)).value
    assert checks == [True] * len(checks)


async def test_a_crashed_cell_has_no_effect(session):
    await session.run("kept = [1]")
    await session.run(f"kept.append(2)\n{KILL}")

    assert (await session.run("kept")).value == [1]


async def test_changes_through_an_alias_and_a_background_task_are_saved(session):
    await session.run("import asyncio\nkept = [1]; alias = kept; done = asyncio.Event()")
    await session.run("async def work():\n    kept.append(3)\nalias.append(2)\ntask = asyncio.create_task(work())")
    await session.run("await task")
    await session.run(KILL)

    assert (await session.run("kept, alias is kept")).value == ([1, 2, 3], True)


async def test_variables_that_can_not_be_saved_are_named_and_the_others_saved(session):
    await session.run(
        "import threading\nlock = threading.Lock(); lock.acquire(); made = (i for i in range(3)); kept = 7"
    )
    await session.run(KILL)
    outcome = await session.run("made")

    assert outcome.error.ename == "NameError"
    assert "lost after checkpoint 1-0" in outcome.error.evalue
    assert "generator" in outcome.error.evalue
    assert (await session.run("kept")).value == 7
    [restored] = [event async for event in session.events() if event.kind == "session.restored"]
    assert restored.lost.keys() == {"lock", "made"}
    partial, *_ = [event async for event in session.events() if event.kind == "checkpoint.partial"]
    assert partial.lost == restored.lost


async def test_an_item_of_a_library_that_can_not_be_saved_is_named_and_the_others_saved(session):
    await session.run("from html.entities import name2codepoint as codes")
    await session.run("codes['made'] = (i for i in range(3)); codes['mine'] = 7")
    await session.run(KILL)

    assert (await session.run("codes['mine'], 'made' in codes")).value == (7, False)
    [restored] = [event async for event in session.events() if event.kind == "session.restored"]
    assert list(restored.lost) == ["html.entities.name2codepoint['made']"]
    partial, *_ = [event async for event in session.events() if event.kind == "checkpoint.partial"]
    assert partial.lost == restored.lost


async def test_an_array_is_stored_in_chunks_of_which_only_the_changed_one_is_stored_again(cluster, session):
    await session.run("import numpy as np\nbig = np.random.default_rng(1).random(1_000_000)")  # 8 MB of noise
    redis, key = cluster._link.redis, cluster._link.keys.blobs(session.id)
    before = {name async for name, _ in redis.hscan_iter(key)}
    total = (await session.run("big[0] = 1.0; small = 1; float(big.sum())")).value
    after = {name async for name, _ in redis.hscan_iter(key)}

    large = [name for name in after - before if await redis.hstrlen(key, name) > 100_000]
    assert len(large) == 1
    await session.run(KILL)
    assert (await session.run("float(big.sum()), big.shape, small")).value == (total, (1_000_000,), 1)


async def test_a_saved_object_is_freed_with_its_last_name(session):
    await session.run("import weakref\nclass Node: pass\nnode = Node(); ring = [node]; link = weakref.ref(node)")

    assert (await session.run("del node, ring; link() is None")).value is True

    await session.run("node = Node(); ring = [node]; link = weakref.ref(node)")
    await session.run(KILL)
    assert (await session.run("del node, ring; link() is None")).value is True


async def test_hostile_pickling_costs_only_its_own_variable(session):
    code = "class Bad:\n    def __reduce__(self):\n        {}\nbad = Bad(); kept = [1]"
    for number, hostile in enumerate(("raise SystemExit", "import os; os._exit(3)", "raise ValueError('no')"), start=1):
        await session.run(code.format(hostile) + f"; number = {number}")
        await session.run(KILL)
        assert (await session.run("kept, number")).value == ([1], number)


async def test_a_rollback_restores_an_earlier_state(session):
    for number in range(3):
        await session.run(f"x = {number}; seen = [x]")
    await session.rollback("2-0")

    outcome = await session.run("x, seen")
    assert (outcome.value, outcome.checkpoint) == ((1, [1]), "4-0")
    with pytest.raises(skep.OperationFailed):
        await session.rollback("99-0")


async def test_a_fork_shares_nothing_with_its_origin(session):
    await session.run("x = [1]")
    await session.run("x.append(2)")
    latest = await session.fork(f"{session.id}-latest")
    earlier = await session.fork(f"{session.id}-earlier", at="1-0")
    await latest.run("x.append(9)")

    assert (await latest.run("x")).value == [1, 2, 9]
    assert (await earlier.run("x")).value == [1]
    assert (await session.run("x")).value == [1, 2]
    with pytest.raises(skep.InvalidArgument):
        await session.fork(latest.id)


async def test_a_hibernated_session_is_restored_for_its_next_cell(session):
    await session.run("x = [1]")
    await session.hibernate()

    assert (await session.run("x")).value == [1]
    kinds = [event.kind async for event in session.events()]
    assert "session.hibernated" in kinds
    assert "session.restored" in kinds


async def test_retained_checkpoints_are_listed(session):
    await session.run("x = 1")
    await session.run("def f(): pass")
    await session.run("x")  # changes nothing but `_`

    listed = [checkpoint async for checkpoint in session.checkpoints()]
    assert [checkpoint.id for checkpoint in listed] == ["1-0", "2-0", "3-0"]
    assert [checkpoint.names for checkpoint in listed][:2] == [("x",), ("f", "x")]
    assert [checkpoint.is_head for checkpoint in listed] == [False, False, True]


async def test_random_state_directory_and_environment_are_restored(session):
    await session.run(
        "import os, random\nos.makedirs('inside'); os.environ['MINE'] = 'yes'; random.seed(7); a = random.random()"
    )
    first = (await session.run("state = random.getstate(); random.random()")).value
    await session.run("random.setstate(state)")
    await session.run(KILL)

    assert (await session.run("random.random(), os.environ['MINE']")).value == (first, "yes")


async def test_a_session_without_durability_saves_nothing(cluster, session):
    scratch = cluster.session(f"{session.id}-scratch", options=skep.SessionOptions(durability="none"))
    assert (await scratch.run("x = 1")).checkpoint is None
    await scratch.run(KILL)

    assert (await scratch.run("x")).error.ename == "NameError"


@pytest.mark.parametrize(
    "value",
    [
        "asyncio.create_task(asyncio.sleep(3600))",
        "asyncio.Future()",
        "taken(threading.Lock())",
        "taken(threading.RLock())",
    ],
)
async def test_a_value_whose_pickling_is_refused_at_once_costs_no_fork(session, value):
    await session.run(
        "import asyncio, os, threading\nforks = []\nos.register_at_fork(before=lambda: forks.append(1))\n"
        "def taken(lock):\n    lock.acquire()\n    return lock\n"
        f"held = [{value}]\nawait asyncio.sleep(0)"
    )
    await session.run("kept = 1")

    assert (await session.run("forks")).value == []
    partial = [event async for event in session.events() if event.kind == "checkpoint.partial"]
    assert [list(event.lost) for event in partial] == [["held"]]
    assert "isn't done" in partial[0].lost["held"] or "is held" in partial[0].lost["held"]


@pytest.mark.parametrize("value", ["threading.Lock()", "threading.RLock()"])
async def test_a_lock_that_is_not_held_is_saved_and_costs_no_fork(session, value):
    await session.run(
        "import os, threading\nforks = []\nos.register_at_fork(before=lambda: forks.append(1))\n"
        f"kept = [{value}]; also = kept[0]"
    )
    assert (await session.run("forks")).value == []
    await session.run(KILL)

    assert (await session.run("kept[0] is also")).value is True
