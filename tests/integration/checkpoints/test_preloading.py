"""Preloaded modules: sessions don't share their process-wide state, and child processes find the session's files."""

import pytest

from ..session_processes import pid_of, sessions_of, zygote_of

pytestmark = pytest.mark.anyio

PRELOAD = [
    flag
    for name in (
        "multiprocessing", "multiprocessing.pool", "multiprocessing.managers", "multiprocessing.resource_tracker",
        "concurrent.futures.process", "numpy", "ssl", "secrets", "uuid", "tempfile", "logging", "random",
    )
    for flag in ("--preload", name)
]  # fmt: skip
FILES = """
import os, sys
open("jobs.py", "w").write('''
import os, sys
def double(x): return 2 * x
def look(_): return [os.getcwd(), sys.argv, "zygote" in repr(vars(sys.modules["__main__"])), sys.modules["jobs"].__file__]
''')
import jobs
"""
# Each starts children in another way, and returns the results of `jobs.double` and `jobs.look` in them.
STARTS = {
    "spawned pool": "with multiprocessing.get_context('spawn').Pool(1) as pool: told = pool.map(jobs.double, [1, 2]), pool.map(jobs.look, [0])[0]",
    "forkserver pool": "with multiprocessing.get_context('forkserver').Pool(1) as pool: told = pool.map(jobs.double, [1, 2]), pool.map(jobs.look, [0])[0]",
    "forked pool": "with multiprocessing.get_context('fork').Pool(1) as pool: told = pool.map(jobs.double, [1, 2]), pool.map(jobs.look, [0])[0]",
    "spawned executor": """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
    told = list(pool.map(jobs.double, [1, 2])), list(pool.map(jobs.look, [0]))[0]
""",
    "managed": """
with multiprocessing.Manager() as manager, multiprocessing.get_context('spawn').Pool(1) as pool:
    pairs = manager.dict(); pairs[1] = 2
    told = [pairs[1], pool.apply(jobs.double, (2,))], pool.map(jobs.look, [0])[0]
""",
}
DRAW = """
import multiprocessing, os, random, secrets, ssl, tempfile, uuid
import numpy
[bytes(multiprocessing.current_process().authkey), random.random(), float(numpy.random.random()), str(uuid.uuid4()),
 str(uuid.uuid1()), tempfile.mktemp(), secrets.token_hex(8), ssl.RAND_bytes(8), random.Random().random(),
 float(numpy.random.default_rng().random()), random.SystemRandom().random()]
"""


@pytest.fixture
async def session(shard, start_worker):
    """A session of a worker with many preloaded modules."""
    await start_worker(*PRELOAD)
    return shard.session("s")


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("is_preloaded", [True, False], ids=["preloaded", "imported"])
async def test_child_processes_find_the_sessions_files(shard, start_worker, name, is_preloaded):
    await start_worker(*(PRELOAD if is_preloaded else ()))
    session = shard.session("s")
    (await session.run(FILES)).raise_for_status()
    (await session.run(f"import multiprocessing\n{STARTS[name]}")).raise_for_status()
    home = (await session.run("os.getcwd()")).value

    doubled, (cwd, argv, has_zygote, file) = (await session.run("told")).value
    assert doubled == [2, 4]
    assert (cwd, argv[:1], file) == (home, [""], f"{home}/jobs.py")
    assert not has_zygote


async def test_child_processes_find_the_sessions_files_after_a_restore(session):
    await session.run(FILES)
    await session.run("import multiprocessing")
    await session.hibernate()
    (await session.run(STARTS["spawned pool"])).raise_for_status()

    assert (await session.run("told[0]")).value == [2, 4]


async def test_two_sessions_draw_different_random_numbers(session, shard):
    mine, theirs = (await session.run(DRAW)).value, (await shard.session("other").run(DRAW)).value

    assert len(mine) == len(theirs) == 11
    assert not set(map(str, mine)) & set(map(str, theirs))


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "restored"])
async def test_a_fork_does_not_share_its_origins_process_state(session, is_live):
    await session.run("import multiprocessing, multiprocessing.process, os; x = 1")
    look = "[bytes(multiprocessing.current_process().authkey), multiprocessing.process.ORIGINAL_DIR == os.getcwd()]"
    fork = await session.fork("fork")
    if not is_live:
        await session.hibernate()

    (own_key, is_own_place), (key, is_place) = (await fork.run(look)).value, (await session.run(look)).value
    assert (is_own_place, is_place) == (True, True)
    assert own_key != key
    assert [event.is_live async for event in fork.events() if event.kind == "session.restored"] == [is_live]


async def preloaded(module, shard, run_logged, directory):
    """Start a worker that has preloaded a module of this directory."""
    settings = shard.settings
    worker = await run_logged(
        "-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix,
        "--pass-env", "PYTHONPATH", "--preload", module, PYTHONPATH=str(directory),
    )  # fmt: skip
    await worker.says("worker.ready")
    return worker


async def test_processes_started_by_a_preloaded_module_are_not_shared(shard, run_logged, shared_path):
    (shared_path / "starts_processes.py").write_text(
        "import multiprocessing, os, subprocess\n"
        "lock = multiprocessing.get_context('spawn').Lock()\n"  # and with it a resource tracker
        "from multiprocessing import forkserver, resource_tracker\n"
        "forkserver.ensure_running()\n"
        "child = subprocess.Popen(['sleep', '3600'])\n"
    )
    worker = await preloaded("starts_processes", shard, run_logged, shared_path)
    session = shard.session("s")
    (await session.run(FILES)).raise_for_status()
    process, zygote = await pid_of(session), await zygote_of(session)
    for kind in ("spawned pool", "forkserver pool"):
        cell = await session.run(f"import multiprocessing\n{STARTS[kind]}")
        cell.raise_for_status()
        assert "died" not in cell.text
        assert not cell.warnings

    assert (await session.run("told[0]")).value == [2, 4]
    assert sessions_of(zygote) == [process]
    assert any("preloaded modules have started processes" in line for line in worker.lines)
    place = "import multiprocessing.util; multiprocessing.util.get_temp_dir()"
    assert (await session.run(place)).value != (await shard.session("other").run(place)).value


async def test_a_handler_that_a_preloaded_module_added_is_not_saved(shard, run_logged, shared_path):
    (shared_path / "logs.py").write_text(
        "import logging\nlogger = logging.getLogger('logs.deep')\n"
        f"logger.addHandler(logging.FileHandler({str(shared_path / 'log')!r}))\nlogger.propagate = False\n"
    )
    await preloaded("logs", shard, run_logged, shared_path)
    session = shard.session("s")
    (
        await session.run("import logs, io, logging; logs.logger.addHandler(logging.StreamHandler(io.StringIO()))")
    ).raise_for_status()
    await session.hibernate()

    assert (await session.run("[type(each).__name__ for each in logs.logger.handlers]")).value == [
        "FileHandler",
        "StreamHandler",
    ]
    [restored] = [event async for event in session.events() if event.kind == "session.restored"]
    assert restored.lost == {}


@pytest.mark.parametrize(
    ("made", "call"),
    [
        ("from multiprocessing.pool import ThreadPool as Pool", "pool.apply(print, ('for {n}',))"),
        ("from concurrent.futures import ThreadPoolExecutor as Pool", "pool.submit(print, 'for {n}').result()"),
    ],
)
async def test_output_of_preloaded_pools_belongs_to_the_calling_cell(shard, start_worker, made, call):
    await start_worker(*PRELOAD, "--preload", "concurrent.futures.thread")
    session = shard.session("s")
    await session.run(f"{made}\npool = Pool(1)\n{call.format(n=1)}")

    assert [(await session.run(call.format(n=n))).text for n in (2, 3)] == ["for 2\n", "for 3\n"]


async def test_a_preloaded_rich_uses_the_width_of_a_page(shard, start_worker):
    await start_worker("--preload", "rich.console")

    assert (await shard.session("s").run("from rich.console import Console; Console().width")).value == 115
