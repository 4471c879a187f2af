"""A session's directory: the same path on every worker, used by the owner only."""

import contextlib
import json
import os
import secrets
import signal
from pathlib import Path

import pytest

import skep
from skep_shared.session_directories import SessionDirectories

from ..session_processes import name_of, pid_named, pid_of, zygote_of

pytestmark = pytest.mark.anyio

BELOW = """
import os, pathlib, sys
os.makedirs("lib")
pathlib.Path("lib/below_helper.py").write_text("class Thing:\\n    v = 3\\ndef f(): return 4\\n")
sys.path.insert(0, os.path.abspath("lib"))
import below_helper
thing, table = below_helper.Thing(), {"t": [below_helper.f]}
pathlib.Path("data.csv").write_text("a,b")
data, here = pathlib.Path("data.csv").resolve(), pathlib.Path.cwd()
text = str(data)
os.environ["DATA"] = str(data)
os.environ["LISTED"] = f"/usr/bin:{os.getcwd()}/lib:{os.getcwd()}"
os.makedirs("sub"); os.chdir("sub")
"""
USE = """
home = os.path.dirname(os.getcwd())
[thing.v, table["t"][0](), below_helper.f is table["t"][0], data.read_text(), here == pathlib.Path(home),
 open(os.environ["DATA"]).read(), os.environ["LISTED"] == f"/usr/bin:{home}/lib:{home}",
 sys.path[0] == f"{home}/lib", os.path.basename(os.getcwd()), below_helper.__file__ == f"{home}/lib/below_helper.py"]
"""
RIGHT = [3, 4, True, "a,b", True, "a,b", True, True, "sub", True]

# A process that writes below an absolute path as fast as it can, with a child in its own session that does the same.
WRITERS = """
import os, subprocess, sys, threading, time
code = "import os,sys\\nwhile True: os.path.isdir(sys.argv[1]) and open(f'{sys.argv[1]}/stale', 'a').close()"
child = subprocess.Popen([sys.executable, "-c", code, os.getcwd()], start_new_session=True)
def write(place):
    while True:
        try: open(f"{place}/stale", "a").close()
        except OSError: pass
threading.Thread(target=write, args=(os.getcwd(),), daemon=True).start()
os.getcwd()
"""


async def where(session):
    return (await session.run("__import__('os').getcwd()")).value


def exists(path):
    return Path(path).exists()


def names(path):
    return sorted(entry.name for entry in Path(path).iterdir())


@pytest.fixture
async def used(shard, start_worker):
    """A session that holds every kind of reference to its directory, and its worker."""
    worker = await start_worker()
    session = shard.session("s")
    (await session.run(BELOW)).raise_for_status()
    return session, worker


async def test_references_to_the_directory_work_after_hibernation(used):
    session, _ = used
    text = (await session.run("text")).value
    await session.hibernate()

    assert (await session.run(USE)).value == RIGHT
    assert (await session.run("open(text).read()")).value == "a,b"
    assert (await session.run("text")).value == text


async def test_references_to_the_directory_work_on_another_worker(used, start_worker):
    session, worker = used
    await start_worker()
    await worker.kill()

    assert (await session.run(USE)).value == RIGHT
    assert (await session.run("open(text).read()")).value == "a,b"


async def test_references_to_the_directory_work_after_a_rollback(used):
    session, _ = used
    await session.run("os.remove(data); os.environ['DATA'] = 'x'; sys.path.clear(); data = here = None")
    await session.rollback("1-0")

    assert (await session.run(USE)).value == RIGHT


async def test_the_path_is_the_same_in_each_process_of_a_session(shard, start_worker):
    first = await start_worker()
    session = shard.session("s")
    paths = {await where(session)}
    await session.run("import os; os._exit(1)")
    paths.add(await where(session))
    await session.hibernate()
    paths.add(await where(session))
    await start_worker()
    await first.stop()
    paths.add(await where(session))

    assert len(paths) == 1


async def test_the_longest_id_has_a_directory(shard, start_worker):
    await start_worker()
    session = shard.session("s" * 200)

    assert (await where(session)).endswith("/" + "s" * 200)


async def test_the_same_id_in_two_shards_has_two_directories(shard, start_worker):
    await start_worker()
    async with skep.embedded() as other:
        places = [await where(each.session("s")) for each in (shard, other)]
        await shard.session("s").run("open('f', 'w').close()")
        assert (await other.session("s").run("__import__('os').listdir()")).value == []

    assert places[0] != places[1]


async def test_uncommitted_files_are_gone_with_their_process(shard, start_worker):
    await start_worker()
    session = shard.session("s")
    await session.run("open('kept', 'w').close()")
    crashed = await session.run("import os; open('lost', 'w').close(); os._exit(1)")
    assert crashed.status is skep.CellStatus.CRASHED

    assert (await session.run("import os; os.listdir()")).value == ["kept"]


async def test_a_directory_is_removed_at_the_release_and_their_parent_with_the_last_worker(
    shard, start_worker, eventually
):
    workers = [await start_worker(), await start_worker()]
    sessions = [shard.session("a"), shard.session("b")]
    paths = [await where(session) for session in sessions]
    place = Path(paths[0]).parent
    await sessions[0].close()

    async def is_gone():
        return not exists(paths[0])

    await eventually(is_gone)
    assert exists(paths[1])
    await workers[0].stop()
    assert exists(place)
    await workers[1].stop()
    assert not exists(place)


# --- forks, which have another directory ------------------------------------------------------------------------------


async def is_live(fork):
    return [event.is_live async for event in fork.events() if event.kind == "session.restored"] == [True]


async def test_references_to_the_directory_refer_to_a_forks_own_directory(used):
    session, _ = used
    fork = await session.fork("fork")
    assert (await fork.run(USE)).value == RIGHT
    assert not await is_live(fork)
    again = await fork.fork("again")
    assert (await again.run(USE)).value == RIGHT

    await fork.run("data.write_text('fork'); open(os.environ['DATA'], 'a').write('!')")
    assert (await session.run("data.read_text()")).value == "a,b"
    assert (await fork.run("data.read_text()")).value == "fork!"
    assert (await fork.run("text")).value == (await session.run("text")).value  # a string is no path object


@pytest.mark.parametrize("is_resident", [True, False], ids=["resident", "hibernated"])
async def test_search_path_and_environment_of_a_fork_are_its_own_live_or_restored(shard, start_worker, is_resident):
    await start_worker()
    session = shard.session("s")
    code = """
        import os, sys
        sys.path += [os.getcwd(), os.getcwd() + "/lib", os.getcwd() + "-not", "/else"]
        os.environ["ONE"] = os.getcwd()
        os.environ["LIST"] = ":".join(["/a", os.getcwd() + "/b", os.getcwd() + "-not", ""])
    """
    await session.run("\n".join(line.strip() for line in code.splitlines()))
    home = await where(session)
    fork = await session.fork("fork")
    if not is_resident:
        await session.hibernate()
    own = home.removesuffix("s") + "fork"

    told = await fork.run("sys.path[-4:], os.environ['ONE'], os.environ['LIST'], os.getcwd()")
    assert told.value == ([own, f"{own}/lib", f"{home}-not", "/else"], own, f"/a:{own}/b:{home}-not:", own)
    assert await is_live(fork) is is_resident
    assert (await session.run("os.environ['ONE']")).value == home


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import pathlib; here = [pathlib.Path.cwd()]", "a path below its directory"),
        ("import pathlib; here = pathlib.PurePosixPath(os.getcwd(), 'x')", "a path below its directory"),
        ("open('mod.py', 'w').close(); import mod", "modules that lie in its directory"),
        ("os.makedirs('pkg/sub'); import pkg.sub", "modules that lie in its directory"),
    ],
)
async def test_a_fork_whose_memory_has_paths_of_its_origin_is_restored(shard, run_logged, code, reason):
    settings = shard.settings
    worker = await run_logged("-m", "skep_workers", "--redis", settings.redis_url, "--prefix", settings.prefix)
    await worker.says("worker.ready")
    session = shard.session("s")
    (await session.run(f"import os, sys\n{code}")).raise_for_status()
    fork = await session.fork("fork")

    assert (await fork.run("x = 1; x")).value == 1
    assert not await is_live(fork)
    assert reason in (await worker.says("fork.not_live"))["reason"]


async def test_other_paths_do_not_prevent_a_live_fork(shard, start_worker):
    await start_worker()
    session = shard.session("s")
    await session.run(
        "import pathlib; a, b = pathlib.Path('/usr/x'), pathlib.Path('below'); c = pathlib.PureWindowsPath('d')"
    )
    fork = await session.fork("fork")

    assert (await fork.run("[str(a), str(b), str(c)]")).value == ["/usr/x", "below", "d"]
    assert await is_live(fork)


# --- two owners on one machine ----------------------------------------------------------------------------------------


async def test_a_stale_process_and_all_below_it_end_before_the_next_owner_uses_the_directory(
    shard, start_worker, process_end
):
    first = await start_worker()
    session = shard.session("s")
    home = (await session.run(WRITERS)).value
    pids = [await pid_of(session), pid_named((await session.run(name_of("child.pid"))).value)]
    os.kill(first.pid, signal.SIGSTOP)
    await start_worker()
    code = "import os; open('mine', 'w').write('1'); os.path.exists('stale') and os.remove('stale'); os.getcwd()"
    assert (await session.run(code)).value == home
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):  # dead, though its zygote may not have reaped it yet
            assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"  # noqa: ASYNC240
    assert names(home) == ["mine"]

    os.kill(first.pid, signal.SIGCONT)
    for pid in pids:
        await process_end(pid)
    await first.stop()  # by now it has noticed that it lost the session
    assert names(home) == ["mine"]
    assert (await session.run("open('mine').read()")).value == "1"


async def test_a_zygote_that_cleans_up_after_its_host_leaves_the_directory_of_the_next_owner(
    shard, start_worker, process_end
):
    first = await start_worker()
    session = shard.session("s")
    zygote, home = await zygote_of(session), await where(session)
    await shard.session("other").run("1")
    os.kill(zygote, signal.SIGSTOP)
    await start_worker()
    await first.kill()
    assert (await session.run("import os; open('mine', 'w').write('1'); os.getcwd()")).value == home
    os.kill(zygote, signal.SIGCONT)
    await process_end(zygote)

    assert (await session.run("open('mine').read()")).value == "1"
    assert not (Path(home).parent / "other").exists()


async def test_files_of_a_worker_and_a_zygote_that_were_killed_together_are_removed_by_the_next_worker(
    shard, start_worker, process_end, eventually
):
    first, second = await start_worker(), await start_worker()
    session = shard.session("s")
    home = (await session.run("import os; open('f', 'w').close(); os.getcwd()")).value
    pid, zygote = await pid_of(session), await zygote_of(session)
    owner = {first.worker_id: first, second.worker_id: second}[(await session.info()).owner]
    os.kill(owner.pid, signal.SIGSTOP)
    os.kill(zygote, signal.SIGKILL)
    await owner.kill()
    await process_end(pid)
    assert exists(home)
    await start_worker()

    async def is_gone():
        return not exists(home)

    await eventually(is_gone)


async def test_while_the_lock_is_held_the_start_fails_and_says_so(shard, start_worker):
    await start_worker()
    session = shard.session("s")
    home = await where(session)
    await session.hibernate()
    with SessionDirectories(Path(home).parent).lock("s"):
        outcome = await session.run("1")

    assert outcome.status is skep.CellStatus.CRASHED
    assert "it is locked" in outcome.error.evalue
    assert (await session.run("1")).value == 1


# --- what stops a worker ----------------------------------------------------------------------------------------------


@pytest.fixture
def start(shard, run_logged):
    """Return a function that runs a worker that keeps its sessions' directories below a path."""

    async def start(directory, *flags):
        settings = shard.settings
        place = ("--redis", settings.redis_url, "--prefix", settings.prefix)
        return await run_logged("-m", "skep_workers", *place, "--directory", str(directory), *flags)

    return start


async def failure_of(worker):
    assert await worker.exit_status() == 1
    return json.loads(worker.lines[-1])["error"]


async def test_a_setting_chooses_where_directories_are(shard, start, tmp_path):
    worker = await start(tmp_path / "chosen" / "here")
    await worker.says("worker.ready")
    home = await where(shard.session("s"))
    follower = await start(tmp_path / "chosen" / "here")
    await follower.says("worker.ready")

    assert home.startswith(f"{tmp_path}/chosen/here/")


async def test_a_worker_with_another_directory_than_the_shards_is_refused(start, tmp_path):
    worker = await start(tmp_path / "one")
    await worker.says("worker.ready")
    error = await failure_of(await start(tmp_path / "two"))

    assert f"{tmp_path}/one" in error
    assert f"SKEP_DIRECTORY is {tmp_path}/two" in error


async def test_the_directory_of_a_shard_can_be_changed_while_no_worker_lives(shard, start, tmp_path):
    worker = await start(tmp_path / "one")
    await worker.says("worker.ready")
    session = shard.session("s")
    await session.run("import os, pathlib; here = pathlib.Path.cwd(); os.environ['HERE'] = os.getcwd()")
    worker.send_signal(signal.SIGTERM)
    await worker.exit_status()
    await (await start(tmp_path / "two")).says("worker.ready")

    told = (await session.run("[str(here), os.environ['HERE'], os.getcwd()]")).value
    assert len(set(told)) == 1
    assert told[0].startswith(f"{tmp_path}/two/")


@pytest.mark.parametrize("kind", ["link", "file", "writable", "read only"])
async def test_a_directory_that_can_not_be_used_stops_the_worker(start, tmp_path, kind):
    place = tmp_path / "place"
    if kind == "link":
        place.symlink_to(tmp_path)
    elif kind == "file":
        place.write_text("")
    elif kind == "read only":
        place = Path("/proc/skep")
    else:
        place.mkdir()
        place.chmod(0o777)
    error = await failure_of(await start(place))

    assert str(place) in error
    assert "SKEP_DIRECTORY" in error
    assert {"link": "symbolic link", "file": "no directory", "writable": "0700", "read only": "No such file"}[
        kind
    ] in error


async def test_a_directory_of_another_user_stops_the_worker(start, tmp_path):
    if os.geteuid() != 0:
        place = Path("/usr")
    else:
        place = tmp_path / "place"
        place.mkdir(mode=0o700)
        os.chown(place, 12345, -1)
    error = await failure_of(await start(place))

    assert "belongs to user" in error


async def test_a_place_shared_with_another_container_stops_the_worker(shard, start, tmp_path):
    worker = await start(tmp_path)
    await worker.says("worker.ready")
    home = await where(shard.session(f"s-{secrets.token_hex(4)}"))
    (Path(home).parent / ".lock").write_text("another boot")
    error = await failure_of(await start(tmp_path))

    assert "another container" in error
