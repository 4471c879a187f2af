"""A session's state besides its variables is the same in forks, after a hibernation and after a kill."""

import secrets

import pytest
from tests.integration.checkpoints.ambient.cases import CASES
from tests.sandbox_tier import HAS_LIVE_FORKS

import skep

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]  # heavy libraries are loaded five times

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(scope="module")
async def cluster():
    """One worker, so that every fork can be made from the live process."""
    async with skep.embedded() as cluster:
        yield cluster


async def restores(session):
    """Return the events of the session's restores."""
    return [event async for event in session.events() if event.kind == "session.restored"]


async def losses(session):
    """Return the losses that checkpoints have reported."""
    return [event.lost async for event in session.events() if event.kind == "checkpoint.partial"]


async def ran(session, code):
    outcome = await session.run(code)
    assert outcome.ok, outcome.error.traceback if outcome.error else outcome.status


@pytest.mark.parametrize("name", CASES)
async def test_ambient_state_is_the_same_after_each_kind_of_restore(session, name, shared_path):
    case = CASES[name]
    if case.missing:
        pytest.skip(f"{case.missing} not installed")
    make, use = (code.replace("TMP", str(shared_path)) for code in (case.make, case.use))
    await ran(session, make)
    await ran(session, use)
    fork = await session.fork(f"f-{secrets.token_hex(6)}")
    await ran(fork, use)
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED
    await ran(session, use)
    await fork.hibernate()
    await ran(fork, use)
    assert (await fork.run(KILL)).status is skep.CellStatus.CRASHED
    await ran(fork, use)

    first, *_ = found = [*await restores(fork), *await restores(session)]
    assert first.is_live or not (case.is_live and HAS_LIVE_FORKS)
    assert [(each.lost, each.notes) for each in found] == [({}, [])] * 4
    assert [await losses(session), await losses(fork)] == [[], []]


UNSAVABLE = """
import builtins, codecs, logging, socket, sys, warnings
class Wire(logging.Handler):
    def __init__(self): super().__init__(); self.wire, self.other = socket.socketpair()
    def emit(self, record): pass
class Category(UserWarning): gone = (i for i in [])
class Hook:
    def __init__(self): self.gone = (i for i in [])
    def __call__(self, *_): pass
log, kept = logging.getLogger("app"), logging.StreamHandler()
log.addHandler(Wire()); log.addHandler(kept); log.setLevel("DEBUG")
builtins.gone, builtins.stays = (i for i in []), [1]
sys.excepthook = Hook()
warnings.simplefilter("error", Category); warnings.simplefilter("error", ResourceWarning)
del Category
"""
STANDS = """
[log.handlers == [kept], log.level, hasattr(builtins, "gone"), stays, sys.excepthook is sys.__excepthook__,
 warnings.filters[0][2] is ResourceWarning, [item for item in warnings.filters if item[2].__name__ == "Category"]]
"""


async def test_an_object_that_can_not_be_saved_is_reported_by_its_place_and_affects_no_other(session):
    await ran(session, UNSAVABLE)
    await ran(session, "pass")
    fork = await session.fork(f"f-{secrets.token_hex(6)}")
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED
    still = {"builtins.gone", "logging.getLogger('app').handlers[0]", "sys.excepthook"}

    for each in (session, fork):
        assert (await each.run(STANDS)).value == [True, 10, False, [1], True, True, []]
        [restored] = await restores(each)
        assert still < set(restored.lost)
        assert [name for name in restored.lost if "Category" in name or name.startswith("warnings")]
    assert still < set((await losses(session))[0])


async def test_a_live_fork_drops_objects_that_no_checkpoint_has(session):
    await ran(session, "import builtins, sys\nbuiltins.gone = (i for i in []); builtins.stays = [1]\nreal = print\n"
              "class Loud:\n    def __call__(self, *a): real(*a)\nloud = Loud(); loud.held = (i for i in [])\n"
              "builtins.print = sys.displayhook = loud")  # fmt: skip
    fork = await session.fork(f"f-{secrets.token_hex(6)}")
    live = await fork.run(
        "import builtins, sys\nprint is real, hasattr(builtins, 'gone'), stays, sys.displayhook is print"
    )
    await fork.hibernate()

    assert (await restores(fork))[0].is_live
    assert live.value == (True, False, [1], False)
    assert (await fork.run("print is real, hasattr(builtins, 'gone'), stays")).value == (True, False, [1])
    assert {"builtins.gone", "builtins.print", "sys.displayhook", "loud"} <= set((await restores(fork))[0].lost)


async def test_a_variable_with_the_name_of_a_part_is_not_ambient_state(session):
    await ran(session, "import builtins\nbuiltins.helper = lambda: 1\nglobals()['builtins.helper'] = mine = [2]")
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED

    assert (await session.run("helper(), globals()['builtins.helper'] is mine, mine")).value == (1, True, [2])


async def test_a_context_variable_of_a_module_whose_file_is_gone_is_saved_with_it(session):
    await ran(session, "open('gone.py', 'w').write('import contextvars; tag = contextvars.ContextVar(\"tag\")')\n"
              "import gone, os, random\ngone.tag.set(1); del gone; os.remove('gone.py'); random.seed(3); state = random.getstate()")  # fmt: skip
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED

    assert (await session.run("import gone; (gone.tag.get(), random.getstate() == state)")).value == (1, True)
    [restored] = await restores(session)
    assert restored.lost == {}


async def test_loggers_and_handlers_are_saved_without_a_fork(session):
    await ran(session, "import logging, os\nlogging.basicConfig(level='INFO')\nlog = logging.getLogger('app')\nforks = []\n"
              "os.register_at_fork(before=lambda: forks.append(1))")  # fmt: skip
    await ran(session, "logging.root.handlers[0].setLevel('ERROR')")

    assert (await session.run("forks")).value == []
    assert (await session.run(KILL)).status is skep.CellStatus.CRASHED
    assert (await session.run("logging.root.handlers[0].level")).value == 40
