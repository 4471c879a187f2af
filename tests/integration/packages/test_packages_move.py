"""The packages of a session when it moves: to another process, to another worker, to a fork, back to a checkpoint."""

import json
import secrets
from pathlib import Path

import pytest
from tests.wheels import make_index, make_wheel

import skep

from ...sandbox_tier import HAS_LIVE_FORKS

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(150)]

MODES = ("saved", "recorded")
INSTALL = "%pip install hive==1.0\nimport hive\nbee = hive.Bee('Maya')\nnumber = 5"


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """A directory of wheels as the only source of packages, which sessions in a sandbox may read."""
    directory = tmp_path / "wheels"
    for name, value in make_index(directory).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SKEP_SANDBOX_READ", json.dumps([str(directory)]))
    return directory


@pytest.fixture
def session(shard):
    """A session that only this test uses."""
    return shard.session(f"s@{secrets.token_hex(6)}")  # an id with a character that URLs quote


def names_in(directory):
    return list(directory.iterdir()) if directory.exists() else []


def ok(outcome):
    assert outcome.ok, outcome.error
    return outcome


async def event_of(session, kind):
    """Return the first event of this kind."""
    async for event in session.events():
        if event.kind == kind:
            return event
    raise AssertionError(f"there is no event {kind}")


@pytest.mark.parametrize("mode", MODES)
async def test_objects_of_a_package_survive_hibernation(session, start_worker, mode):
    await start_worker("--packages", mode)
    ok(await session.run(INSTALL))

    await session.hibernate()

    assert ok(await session.run("bee.name, type(bee) is hive.Bee, hive.version")).value == ("Maya", True, "1.0")
    assert (await event_of(session, "session.restored")).lost == {}
    assert ok(await session.run("!hive\n!pip list --local")).text.split()[-2:] == ["hive", "1.0"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_worker_that_takes_over_has_the_packages(session, start_worker, mode):
    first = await start_worker("--packages", mode)
    ok(await session.run(INSTALL))
    await first.kill()

    other = await start_worker("--packages", mode)

    assert ok(await session.run("bee.name, hive.version")).value == ("Maya", "1.0")
    assert (await session.info()).owner == other.worker_id


async def test_saved_packages_need_no_index(session, start_worker, index):
    await start_worker()
    ok(await session.run(INSTALL))
    await session.hibernate()
    for wheel in index.iterdir():
        wheel.unlink()

    assert ok(await session.run("bee.name, hive.version")).value == ("Maya", "1.0")
    assert ok(await session.run("!hive")).text == "hive 1.0\n"


async def test_recorded_packages_that_are_gone_cost_what_needs_them(session, start_worker, index):
    await start_worker("--packages", "recorded")
    ok(await session.run(INSTALL + "\n%pip install meadow_one\nimport meadow.one"))
    await session.hibernate()
    (index / "hive-1.0-py3-none-any.whl").unlink()

    lost = await session.run("bee")

    assert "hive" in lost.error.evalue
    assert "No matching distribution found for hive==1.0" in lost.error.evalue
    assert ok(await session.run("number, meadow.one.place")).value == (5, 1)
    restored = await event_of(session, "session.restored")
    assert sorted(restored.lost) == ["bee", "hive"]
    assert [note for note in restored.notes if note.startswith("packages: hive==1.0 not installed: ")]


async def test_a_worker_that_installs_nothing_passes_the_packages_on(session, start_worker):
    first = await start_worker("--packages", "saved")
    ok(await session.run(INSTALL))
    off = await start_worker("--packages", "off")
    await first.stop()
    assert "SKEP_PACKAGES=off" in (await session.run("bee")).error.evalue
    assert ok(await session.run("number = 6; number")).value == 6
    await start_worker("--packages", "saved")
    await off.stop()

    assert ok(await session.run("import hive; hive.version, number")).value == ("1.0", 6)


async def test_missing_packages_are_tried_again_by_the_next_process(session, start_worker, index):
    await start_worker("--packages", "recorded")
    ok(await session.run(INSTALL))
    await session.hibernate()
    wheel = index / "hive-1.0-py3-none-any.whl"
    wheel.rename(index / "away")
    ok(await session.run("number"))
    await session.hibernate()
    (index / "away").rename(wheel)

    assert ok(await session.run("import hive; hive.version")).value == "1.0"


async def test_packages_beyond_the_quota_are_recorded(session, start_worker, index):
    await start_worker("--packages-bytes", "2000")
    make_wheel(index, "heavy", "1.0", {"heavy.py": f"text = {'x' * 5000!r}\n"})
    cell = await session.submit("%pip install heavy")
    ok(await cell.outcome())
    warnings = [event.message async for event in cell.events() if event.kind == "warning"]
    await session.hibernate()

    assert ["the quota is 2000 (SKEP_PACKAGES_BYTES)" in message for message in warnings] == [True]
    assert ok(await session.run("import heavy; len(heavy.text)")).value == 5000


async def test_a_rollback_restores_the_packages_of_the_checkpoint(session, start_worker):
    await start_worker()
    first = ok(await session.run("%pip install hive==1.0\nx = 1"))
    ok(await session.run("%pip install hive==2.0 meadow_one"))

    await session.rollback(first.checkpoint)

    assert ok(await session.run("import hive; hive.version")).value == "1.0"
    assert (await session.run("import meadow.one")).error.ename == "ModuleNotFoundError"


@pytest.mark.parametrize("mode", MODES)
async def test_a_fork_has_the_packages_and_changes_only_its_own(session, start_worker, mode):
    await start_worker("--packages", mode)
    ok(await session.run(INSTALL + "\nimport os; os.environ['PATH'] += ':/nowhere'"))

    fork = await session.fork(f"f-{secrets.token_hex(6)}")

    assert ok(await fork.run("bee.name, hive.version")).value == ("Maya", "1.0")
    assert ok(await fork.run("%pip install -U hive\n!hive")).text.splitlines()[-1] == "hive 2.0"
    assert ok(await session.run("!hive")).text == "hive 1.0\n"
    script = (
        "head = open(__import__('shutil').which('hive')).readline(); head[2:].strip() == __import__('sys').executable"
    )
    assert ok(await fork.run(script)).value
    assert ok(await session.run(script)).value


async def test_a_live_fork_installs_into_its_own_directory(session, start_worker):
    await start_worker()
    ok(await session.run("x = 1"))
    fork = await session.fork(f"f-{secrets.token_hex(6)}")
    ok(await fork.run("x"))
    assert (await event_of(fork, "session.restored")).is_live == HAS_LIVE_FORKS

    ok(await fork.run("%pip install hive==1.0\nimport hive"))

    assert (await session.run("import hive")).error.ename == "ModuleNotFoundError"
    places = [ok(await each.run("import sys; sys.executable, sys.path")).value for each in (session, fork)]
    assert places[0][0] != places[1][0]
    assert not [entry for entry in places[1][1] if entry in places[0][1] and "/.packages/" in entry]


@pytest.mark.parametrize("mode", MODES)
async def test_the_packages_of_the_options_are_installed_once(shard, start_worker, mode):
    await start_worker("--packages", mode)
    session = shard.session("s", options=skep.SessionOptions(packages=["hive==1.*"]))
    ok(await session.run("import hive; bee = hive.Bee('Maya')"))
    ok(await session.run("%pip install hive==2.0"))
    await session.hibernate()

    assert ok(await session.run("hive.version, bee.name")).value == ("2.0", "Maya")


async def test_a_session_whose_packages_are_missing_at_first_gets_them_later(shard, start_worker, index):
    await start_worker()
    session = shard.session("s", options=skep.SessionOptions(packages=["hive==3.0"]))
    assert (await session.run("1")).error.ename == "PackagesNotInstalled"
    await session.hibernate()
    make_wheel(index, "hive", "3.0", {"hive.py": "version = '3.0'\n"})

    assert ok(await session.run("import hive; hive.version")).value == "3.0"


async def test_a_local_wheel_in_the_workspace_is_installed_again(session, start_worker, index):
    await start_worker("--packages", "recorded")
    wheel = index / "hive-1.0-py3-none-any.whl"
    await session.files.put(wheel.name, wheel.read_bytes())
    wheel.unlink()
    ok(await session.run(f"%pip install ./{wheel.name}\nimport hive\nbee = hive.Bee('Maya')"))

    fork = await session.fork(f"f-{secrets.token_hex(6)}")

    assert ok(await fork.run("bee.name, hive.version")).value == ("Maya", "1.0")


async def test_packages_are_not_listed_among_the_files(session, start_worker):
    await start_worker()
    ok(await session.run(INSTALL))

    assert [file.path for file in await session.files.list()] == []
    await session.hibernate()
    assert [file.path for file in await session.files.list()] == []


@pytest.mark.parametrize("mode", MODES)
async def test_sessions_in_a_sandbox_install_packages(session, start_worker, mode):
    await start_worker("--packages", mode, "--sandbox", "basic")
    ok(await session.run(INSTALL))
    await session.hibernate()

    assert ok(await session.run("bee.name, hive.version")).value == ("Maya", "1.0")
    assert ok(await session.run("!hive")).text == "hive 1.0\n"


async def test_a_failure_without_a_network_says_so(session, start_worker, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:hidden-word@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    await start_worker("--sandbox", "basic")

    outcome = await session.run("%pip install hive")

    assert outcome.error.ename == "CalledProcessError"
    assert "this session has no network" in outcome.text
    assert "hidden-word" not in outcome.text
    assert "hidden-word" not in ok(await session.run("import os; print(dict(os.environ))")).text


async def test_the_directories_of_packages_are_removed_with_the_worker(session, start_worker):
    worker = await start_worker()
    ok(await session.run(INSTALL))
    place = Path(ok(await session.run("import sys; sys.executable")).value)
    assert place in names_in(place.parent)

    await worker.stop()

    assert names_in(place.parent) == []
