"""The plugin for users' tests: a pytest of its own runs tests as a user would write them."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from redis.asyncio import Redis

import skep
import skep.testing
from skep.local.redis_server import RedisServer

pytestmark = pytest.mark.timeout(180)
TOP = Path(__file__).parents[3]
ENTRY_POINTS = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
STRICT = ("-W", "error", "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:cacheprovider", "-rA")

RECORD = """
import json, os, pathlib
import pytest

def record(cluster):
    facts = {
        "prefix": cluster.settings.prefix, "redis": cluster.redis_url, "worker": cluster.worker_processes[0].pid,
        "xdist": os.environ.get("PYTEST_XDIST_WORKER"), "tenant": cluster.settings.tenant,
    }
    path = pathlib.Path(os.environ["RECORDS"])
    with path.open("a") as records:
        records.write(json.dumps(facts) + "\\n")

async def check(cluster):
    record(cluster)
    session = cluster.session("the-same-id")
    assert (await session.run("6 * 7")).value == 42
    assert (await session.info()).seq == 1
"""
ANYIO = """
from records import *
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def test_with_anyio(skep_cluster):
    await check(skep_cluster)

async def test_again_with_anyio(skep_cluster):
    await check(skep_cluster)
"""
ASYNCIO = """
from records import *

@pytest.mark.asyncio
async def test_with_asyncio(skep_cluster):
    await check(skep_cluster)

@pytest.mark.asyncio(loop_scope="module")
async def test_in_the_loop_of_the_module(skep_cluster):
    await check(skep_cluster)
"""
BLOCKING = """
import asyncio
import threading

def test_a_blocking_cluster(skep_sync_cluster):
    session = skep_sync_cluster.session("the-same-id")
    assert session.run("6 * 7").value == 42
    assert session.info().seq == 1
    assert session.notebook()["cells"][0]["source"] == "6 * 7"

def test_another_one(skep_sync_cluster):
    assert skep_sync_cluster.session("the-same-id").run("1").seq == 1

def test_nothing_is_left_of_them():
    assert not [thread for thread in threading.enumerate() if thread.name == "skep.testing"]

def test_on_a_redis_of_its_own(tmp_path):
    import skep.testing
    with skep.testing.sync_cluster() as cluster:
        skep.testing.assert_ok(cluster.session("s").run("1"), 1)
"""
AUTO = """
from records import *

async def test_in_auto_mode(skep_cluster):
    await check(skep_cluster)
"""
MISUSED = """
import pytest

def test_that_is_no_coroutine(skep_cluster):
    pass

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio(skep_cluster):
    pass
"""
UNUSED = """
import sys

def test_of_something_else():
    assert "skep_pytest" in sys.modules
    assert not [name for name in sys.modules if name.partition(".")[0] in {"skep", "skep_shared", "redis", "pydantic", "arq"}]
"""
OVERRIDDEN = """
import os
from records import *
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="session")
def skep_redis_url():
    return os.environ["OTHER_REDIS"]

@pytest.fixture
def skep_worker_flags():
    return ("--worker-labels", "gpu=yes")

async def test_on_another_redis(skep_cluster):
    await check(skep_cluster)
    assert [worker.labels async for worker in skep_cluster.workers()] == [{"gpu": "yes"}]
"""


def run_pytest(
    path: Path, *arguments: str, plugin: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the tests of a directory, as a user does who has nothing configured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SKEP_", "PYTEST_"))}
    env = {**kept, "RECORDS": str(path / "records.jsonl"), **environment}
    command = [sys.executable, "-m", "pytest", *STRICT, *(("-p", "skep_pytest") if plugin else ()), *arguments, "."]
    return subprocess.run(command, cwd=path, env=env, capture_output=True, text=True, check=False, timeout=150)


def write(path: Path, **modules: str) -> None:
    (path / "records.py").write_text(RECORD)
    for name, text in modules.items():
        (path / f"test_{name}.py").write_text(text)


def records_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_tests_of_anyio_and_pytest_asyncio_have_a_cluster_each_on_one_redis(tmp_path):
    write(tmp_path, anyio=ANYIO, asyncio=ASYNCIO)
    # Settings of the user's own surroundings must not lead a test to the Redis of a service.
    done = run_pytest(tmp_path, SKEP_REDIS_URL="redis://127.0.0.1:1/0", SKEP_TENANT="acme", SKEP_PREFIX="production")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    records = records_of(tmp_path)
    assert len({record["redis"] for record in records}) == 1
    assert len({record["prefix"] for record in records}) == 4
    assert all(str(record["prefix"]).startswith("{skep-test-") and record["tenant"] is None for record in records)
    assert not [record for record in records if is_alive(record["worker"])]
    assert not Path(records[0]["redis"].removeprefix("unix://").partition("?")[0]).exists()


def test_in_the_auto_mode_of_pytest_asyncio_no_mark_is_needed(tmp_path):
    write(tmp_path, auto=AUTO)
    done = run_pytest(tmp_path, "-o", "asyncio_mode=auto")

    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_blocking_tests_have_a_cluster_each(tmp_path):
    write(tmp_path, blocking=BLOCKING)
    done = run_pytest(tmp_path)

    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_under_xdist_each_process_has_a_redis(tmp_path):
    write(tmp_path, anyio=ANYIO, asyncio=ASYNCIO)
    done = run_pytest(tmp_path, "-n", "2", "--dist", "loadfile", "-k", "with and not again")

    assert "2 passed" in done.stdout, done.stdout + done.stderr
    records = records_of(tmp_path)
    assert {record["xdist"] for record in records} == {"gw0", "gw1"}
    assert len({record["redis"] for record in records}) == 2


def test_a_test_that_cannot_have_a_cluster_fails_with_the_reason(tmp_path):
    write(tmp_path, misused=MISUSED)
    done = run_pytest(tmp_path)

    assert "2 errors" in done.stdout, done.stdout + done.stderr
    assert "skep_cluster is for coroutine tests: mark the test" in done.stdout
    assert "skep runs on asyncio only, and this test runs on trio" in done.stdout


def test_installed_is_enough_and_a_run_without_its_fixtures_loads_nothing_of_skep(tmp_path):
    write(tmp_path, unused=UNUSED)
    metadata = tmp_path / "site" / "of_skep-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: of-skep\nVersion: 1.0\n")
    lines = [f"{name} = {module}" for name, module in ENTRY_POINTS.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]))
    done = run_pytest(tmp_path, plugin=False, PYTHONPATH=str(tmp_path / "site"))

    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_entry_point_leads_to_the_plugin():
    [(name, module)] = ENTRY_POINTS.items()
    point = importlib.metadata.EntryPoint(name, module, "pytest11")

    assert point.load().skep_cluster is not None
    assert name == module  # so that an environment with both this and another installation loads it once


@pytest.mark.anyio
async def test_redis_and_flags_can_be_set_and_no_key_is_left(tmp_path, own_redis_server):
    write(tmp_path, overridden=OVERRIDDEN)
    done = run_pytest(tmp_path, OTHER_REDIS=own_redis_server.url)

    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert records_of(tmp_path)[0]["redis"] == own_redis_server.url
    async with Redis.from_url(own_redis_server.url) as redis:
        assert await redis.keys("*") == []


def test_the_examples_of_the_documentation_pass(tmp_path):
    examples = re.findall(r"^```python\n(.*?)^```", (TOP / "docs" / "testing.md").read_text(), re.DOTALL | re.MULTILINE)
    write(tmp_path, **{f"example_{number}": text for number, text in enumerate(examples)})
    done = run_pytest(tmp_path)

    assert len(examples) == 3
    assert "4 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.anyio
async def test_a_cluster_for_tests_without_pytest_leaves_nothing(own_redis_server: RedisServer):
    async with skep.testing.cluster(redis_url=own_redis_server.url) as first:
        async with skep.testing.cluster(redis_url=own_redis_server.url) as second:
            skep.testing.assert_ok(await first.session("s").run("x = 1\nx"), 1)
            assert (await second.session("s").run("x")).status == "failed"
        pids = [process.pid for process in (*first.worker_processes, *second.worker_processes)]

    assert not [pid for pid in pids if pid and is_alive(pid)]
    async with Redis.from_url(own_redis_server.url) as redis:
        assert await redis.keys("*") == []


@pytest.mark.anyio
@pytest.mark.parametrize("workers", [0, 10_000, True, "1"])
async def test_a_number_of_workers_that_cannot_be_is_refused(workers):
    with pytest.raises(skep.InvalidArgument, match="workers: "):
        async with skep.testing.cluster(workers=workers):
            pass
