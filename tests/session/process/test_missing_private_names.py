"""A Python without the private names that the engine uses: sessions run, without what those names are for."""

import pytest

from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.host.process import zygote as zygotes
from skep_workers.sandbox.policy import SandboxPolicy

from ...sandbox_tier import TIER

pytestmark = pytest.mark.anyio

# The functions by which the engine looks for such names find none, as if a Python had renamed all of them.
LACKING = """
import skep_workers.session.safeguards.private_names as names
names.hasattr = lambda *_: False
names.getattr = lambda _owner, _name, without: without
import skep_workers.session.runtime.loop as loop
loop.getattr = names.getattr
"""


@pytest.fixture
async def zygote(tmp_path_factory, monkeypatch):
    """A zygote of such a Python."""
    monkeypatch.setattr(zygotes, "START", LACKING + zygotes.START)
    zygote = zygotes.Zygote(
        tmp_path_factory.mktemp("zygote"),
        tmp_path_factory.mktemp("sessions"),
        zygotes.SessionSetup(sandbox=SandboxPolicy(Tier(TIER))),
        hash_seed=1,
        start_seconds=20.0,
    )
    await zygote.ensure_started()
    yield zygote
    await zygote.stop()


async def test_cells_of_every_kind_run(session):
    assert await session.value("x = 1; x + 1") == 2
    assert await session.value("import asyncio; await asyncio.sleep(0); x + 2") == 3
    assert await session.value("asyncio.run(asyncio.sleep(0, 4))") == 4
    assert await session.text("print('said')") == "said\n"
    assert await session.value("import threading; lock = threading.RLock(); lock.acquire(); 5") == 5
    assert await session.value(
        "done = []\nthread = threading.Thread(target=done.append, args=(6,)); thread.start(); thread.join(); done"
    ) == [6]
    assert await session.value("task = asyncio.create_task(asyncio.sleep(0, 7)); await task") == 7


@pytest.mark.parametrize(
    "code",
    [
        "import time\nprint('runs', flush=True)\ntime.sleep(3600)",
        "import asyncio\nprint('runs', flush=True)\nawait asyncio.sleep(3600)",
        "print('runs', flush=True)\nwhile True: pass",
    ],
    ids=["blocking", "awaiting", "computing"],
)
async def test_cells_can_be_interrupted(session, code):
    cell = session.submit(code)
    await cell.said("runs")
    session.interrupt(cell)

    assert (await cell.ended()).done.status == "interrupted"
    assert await session.value("1") == 1


@pytest.mark.parametrize("name", ["threading._active", "Thread._bootstrap_inner", "finalize._registry"])
async def test_the_zygote_reports_what_sessions_do_without(capfd, zygote, name):
    assert f"this Python has no {name}: " in capfd.readouterr().err
