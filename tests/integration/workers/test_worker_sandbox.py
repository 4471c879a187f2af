"""The sandbox that a worker's sessions get: the start-up log, the list of workers, and tiers that can't be had."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier
from skep_shared.protocol.orphans import children_of
from skep_workers.sandbox.kernel.landlock import abi_version

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_start,
    pytest.mark.skipif(not abi_version(), reason="this kernel has no Landlock"),
]

WORKER = ["-m", "skep_workers"]
WITH_UMASK = [
    "-c",
    "import os, runpy; os.umask(0o077); runpy.run_module('skep_workers', run_name='__main__', alter_sys=True)",
]
# A worker that is restricted as a container engine does by default: no capabilities, and a filter of system calls.
IN_CONTAINER = ["-c", """
import runpy
from skep_workers.sandbox.kernel.privileges import drop_capabilities, give_up_new_privileges, limit_capabilities
from skep_workers.sandbox.kernel.seccomp import Denial, build_filter, install_filter
limit_capabilities()
give_up_new_privileges()
install_filter(build_filter([Denial(name) for name in ("unshare", "mount", "umount2", "pivot_root", "setns", "open_tree")]))
drop_capabilities()
runpy.run_module("skep_workers", run_name="__main__", alter_sys=True)
"""]  # fmt: skip
SEES = """
import os
try:
    found = open({path!r}).read()
except (PermissionError, FileNotFoundError):
    found = "refused"
found
"""


def names_in(directory):
    return list(directory.iterdir()) if directory.exists() else []


@pytest.fixture(scope="module", autouse=True)
def workers_are_sandboxed():
    """Nothing: these tests choose the tier of each worker."""


@pytest.fixture(params=[Tier.BASIC, Tier.USERNS, Tier.STRICT])
def tier(request, report):
    """Each tier that works here."""
    if report.missing(request.param):
        pytest.skip(f"tier {request.param} does not work here: `skep doctor sandbox` says why")
    return request.param


@pytest.fixture
def start(shard, run_logged):
    """Return a function that starts a worker with this value of SKEP_SANDBOX."""

    async def run(tier, command=WORKER, **environment):
        settings = shard.settings
        place = {"SKEP_REDIS_URL": settings.redis_url, "SKEP_PREFIX": settings.prefix}
        given = {"SKEP_SANDBOX": tier} if tier else {}
        return await run_logged(*command, **place, **given, **environment)

    return run


@pytest.fixture
def secret(tmp_path):
    """A file outside of every session's directory."""
    path = tmp_path / "secret"
    path.write_text("secret")
    return str(path)


async def test_without_a_sandbox_the_log_says_so(shard, start, secret):
    worker = await start("none")
    line = await worker.says("sandbox.none", level="warning", tier="none", next_tier="basic")
    await worker.says("worker.ready", sandbox="none")

    assert "all rights of the worker's user" in line["reason"]
    [info] = [info async for info in shard.workers()]
    assert (info.sandbox, info.sandbox_blocked_by) == ("none", "SKEP_SANDBOX asks for none")
    assert (await shard.session("s").run(SEES.format(path=secret))).value == "secret"


async def test_sessions_get_the_tier_that_is_asked_for(shard, start, secret, tier):
    next_tier = next(iter(STRENGTH[STRENGTH.index(tier) + 1 :]), None)
    worker = await start(tier)
    chosen = await worker.says("sandbox.chosen", tier=tier, next_tier=next_tier)
    await worker.says("worker.ready", sandbox=tier)

    [info] = [info async for info in shard.workers()]
    assert (info.sandbox, info.sandbox_blocked_by) == (tier, chosen["blocked_by"])
    assert (await shard.session("s").run(SEES.format(path=secret))).value == "refused"


@pytest.mark.parametrize("given", [{"SKEP_SANDBOX": "auto"}, {}], ids=["auto", "without the setting"])
async def test_auto_is_the_strongest_tier_that_works_here(start, report, monkeypatch, given):
    monkeypatch.delenv("SKEP_SANDBOX", raising=False)
    worker = await start("", **given)

    await worker.says("sandbox.chosen", tier=report.strongest)


async def test_in_a_container_auto_is_basic_and_what_blocks_the_next_tier_is_named(shard, start, secret):
    worker = await start("auto", IN_CONTAINER)
    chosen = await worker.says("sandbox.chosen", tier="basic", next_tier="userns")

    assert "user_namespaces: unshare: Operation not permitted" in chosen["blocked_by"]
    assert (await shard.session("s").run(SEES.format(path=secret))).value == "refused"


@pytest.mark.parametrize("asked", ["strict", "userns"])
async def test_a_tier_that_is_not_available_ends_the_start_with_the_reason(start, asked):
    worker = await start(asked, IN_CONTAINER)

    assert await worker.exit_status() == 1
    [line] = worker.lines
    assert f"tier {asked}, which SKEP_SANDBOX asks for, is not available" in json.loads(line)["error"]


async def test_an_unknown_tier_is_a_wrong_flag(start):
    worker = await start("best")

    assert await worker.exit_status() == 2
    assert "sandbox: 'best' is refused" in worker.lines[-1]
    assert "given by SKEP_SANDBOX" in worker.lines[-1]


async def test_operators_open_further_paths(shard, start, secret, tmp_path, tier):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)  # in tier strict a session is not the worker's user
    await start(tier, SKEP_SANDBOX_READ=json.dumps([secret]), SKEP_SANDBOX_WRITE=json.dumps([str(shared)]))
    cell = await shard.session("s").run(
        f"{SEES.format(path=secret)}\nopen({f'{shared}/new'!r}, 'w').write(found)\nfound"
    )

    assert cell.value == "secret"
    assert (shared / "new").read_text() == "secret"


@pytest.mark.parametrize("outer", ["READ", "WRITE"])
async def test_a_path_may_be_inside_another_one(shard, start, tmp_path, outer, tier):
    shared = tmp_path / "shared"
    (shared / "inside").mkdir(parents=True)
    for path in (shared, shared / "inside"):
        path.chmod(0o777)  # in tier strict a session is not the worker's user
    (shared / "inside" / "file").write_text("text")
    inner = {"READ": "WRITE", "WRITE": "READ"}[outer]
    opened = {f"SKEP_SANDBOX_{outer}": shared, f"SKEP_SANDBOX_{inner}": shared / "inside"}
    await start(tier, **{name: json.dumps([str(path)]) for name, path in opened.items()})
    changed = opened["SKEP_SANDBOX_WRITE"] / "new"
    cell = await shard.session("s").run(
        f"found = open({f'{shared}/inside/file'!r}).read()\nopen({str(changed)!r}, 'w').write(found)\nfound"
    )

    assert (cell.error and cell.error.traceback, cell.value) == (None, "text")
    assert changed.read_text() == "text"


@pytest.mark.parametrize(
    ("paths", "status", "words"),
    [
        (["relative"], 2, "must be an absolute path"),
        (["/no/such/directory"], 1, "/no/such/directory, which sandbox_read"),
    ],
)
async def test_a_path_that_cannot_be_opened_ends_the_start(start, paths, status, words, tier):
    worker = await start(tier, SKEP_SANDBOX_READ=json.dumps(paths))

    assert await worker.exit_status() == status
    assert words in "\n".join(worker.lines)


async def test_a_path_that_would_open_all_sessions_directories_ends_the_start(start, tmp_path, tier):
    place = tmp_path / "below" / "sessions"
    worker = await start(tier, SKEP_SANDBOX_READ=json.dumps([str(tmp_path)]), SKEP_DIRECTORY=str(place))

    assert await worker.exit_status() == 1
    failed = await worker.says("worker.failed")
    assert f"sessions may read {tmp_path}" in failed["error"]
    assert str(place) in failed["error"]


async def test_nothing_is_left_of_a_session_s_private_directory(shard, start, tmp_path, eventually, tier):
    await start(tier, SKEP_DIRECTORY=str(tmp_path / "sessions"))
    session = shard.session("s")
    made = await session.run("import os, tempfile\nos.close(tempfile.mkstemp()[0])\ntempfile.gettempdir()")
    private = Path(made.value)
    assert private.parent.name == ".tmp"
    assert names_in(private)
    await session.hibernate()

    async def is_gone():
        return not names_in(private)

    await eventually(is_gone)
    assert (await session.run("os.listdir(tempfile.gettempdir())")).value == [".packages"]


async def test_a_checkpoint_does_not_carry_the_sandbox_to_another_worker(shard, start, tier):
    worker = await start(tier)
    session = shard.session("s")
    home = (await session.run("import os, tempfile\ntempfile.gettempdir()\nos.environ['HOME']")).value
    await session.hibernate()
    worker.send_signal(15)
    await worker.exit_status()
    await start("none")
    found = (await session.run("os.environ['HOME'], os.environ.get('TMPDIR')")).value

    assert "/.tmp/" in home
    assert home not in found


async def test_a_fork_of_a_live_session_is_restored_in_a_sandbox_of_its_own(shard, start, tier):
    worker = await start(tier)
    origin = shard.session("origin")
    await origin.run("x = [1, 2]\nopen('file', 'w').write('own')")
    fork = await origin.fork("fork")
    value = (await fork.run("import os\n(x, open('file').read(), os.environ['HOME'])")).value
    home = (await origin.run("import os\nos.environ['HOME']")).value

    assert value[:2] == ([1, 2], "own")
    assert value[2] != home
    line = await worker.says("fork.not_live")
    assert "sandbox" in line["reason"]


HOSTILE = """
class Hostile:
    def __init__(self):
        self.found = ""
    def __getstate__(self):
        return {{"seen": 1}}
    def __setstate__(self, state):
        try:
            self.found = open({path!r}).read()
        except OSError as exc:
            self.found = type(exc).__name__
x = Hostile()
"""


async def test_a_checkpoint_is_unpickled_in_the_sandbox(shard, start, secret, tier):
    await start(tier)
    session = shard.session("s")
    await session.run(HOSTILE.format(path=secret))
    await session.hibernate()

    assert (await session.run("x.found")).value in {"PermissionError", "FileNotFoundError"}


async def test_a_session_ends_with_its_zygote_and_nothing_of_it_is_left(shard, start, process_end, tier):
    worker = await start(tier)
    started = await worker.says("zygote.started")
    session = shard.session("s")
    await session.run("import subprocess\nx = 1\nchild = subprocess.Popen(['sleep', '3600'], start_new_session=True)")
    pids = [pid for child in children_of(started["pid"]) for pid in (child, *children_of(child))]
    assert len(pids) >= 2
    os.kill(started["pid"], 9)
    for pid in pids:
        await process_end(pid)

    assert (await session.run("x")).value == 1


async def test_a_worker_s_umask_does_not_lock_its_sessions_out(shard, start, tier):
    await start(tier, WITH_UMASK)

    assert (await shard.session("s").run("open('file', 'w').write('x')\nopen('file').read()")).value == "x"


FIRST = """
import os, signal
refused = []
for attempt in (
    lambda: open("/proc/1/mem", "rb"), lambda: open("/proc/1/environ", "rb"), lambda: os.listdir("/proc/1/fd"),
    lambda: os.readlink("/proc/1/root"), lambda: os.pidfd_open(1) and signal.pidfd_send_signal(os.pidfd_open(1), 9),
    lambda: os.kill(1, signal.SIGTERM),
):
    try:
        attempt()
        refused.append("")
    except OSError as exc:
        refused.append(type(exc).__name__)
os.getpid(), refused
"""


async def test_the_first_process_of_a_session_s_namespace_is_out_of_its_reach(shard, start, tier):
    if tier is Tier.BASIC:
        pytest.skip("this tier has no namespaces")
    await start(tier)
    session = shard.session("s")
    pid, refused = (await session.run(FIRST)).value

    assert pid == 2
    assert refused == ["FileNotFoundError"] * 4 + ["PermissionError"] * 2
    assert (await session.run("os.getpid()")).value == 2


WATCHES = """
import os
import numpy as np
pages = os.open("/proc/self/pagemap", os.O_RDONLY)
large = np.ones(1 << 22)
bool(os.pread(pages, 8, 8 * (large.__array_interface__["data"][0] // os.sysconf("SC_PAGE_SIZE"))))
"""


async def test_large_arrays_are_saved_and_restored_by_a_session_of_another_user(shard, start, tier):
    await start(tier)
    session = shard.session("s")
    assert (await session.run(WATCHES)).value
    await session.run("large[5] = 7; os.close(pages)")
    await session.hibernate()

    assert (await session.run("float(large[5]), float(large.sum())")).value == (7.0, 4194310.0)


async def test_a_session_that_kills_itself_ends_as_without_a_sandbox(shard, start, tier):
    await start(tier)
    for how in ("os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)", "os.abort()"):
        outcome = await shard.session("s").run(f"import os\n{how}")
        assert outcome.status == "crashed", how


async def test_the_directories_of_sessions_may_be_anywhere(shard, start, tier):
    with tempfile.TemporaryDirectory(prefix="skep-", dir="/var/tmp") as top:
        worker = await start(tier, SKEP_DIRECTORY=f"{top}/sessions")
        found = (
            await shard.session("s").run("import os\nopen('file', 'w').write('x')\nos.getcwd(), os.listdir()")
        ).value
        worker.send_signal(15)
        await worker.exit_status()

        assert found[0].startswith(f"{top}/sessions/")
        assert found[1] == ["file"]
