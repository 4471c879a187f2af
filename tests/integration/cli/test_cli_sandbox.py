"""`--sandbox`, and what commands say about sessions that wait for a worker with a stronger one."""

import asyncio
import json
import os
import subprocess

import pytest

import skep

from .commands import skep_command

pytestmark = pytest.mark.anyio

SHORTAGE = "no worker with sandbox strict is alive; workers without it: 1, with sandbox none (1)"
STRICT = skep.SessionOptions(sandbox="strict")


@pytest.fixture
async def begin(shard):
    """Return a function that starts a command on the test's shard; it is killed at the end."""
    processes = []
    env = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}

    async def start(*arguments, is_on_shard=True):
        settings = shard.settings
        place = ["--redis", settings.redis_url, "--prefix", settings.prefix] if is_on_shard else []
        process = await asyncio.create_subprocess_exec(
            *skep_command(*arguments), *place,
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def call(begin):
    """Return a function that runs a command to its end, and returns its exit status and what it wrote."""

    async def run(*arguments, is_on_shard=True):
        process = await begin(*arguments, is_on_shard=is_on_shard)
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def test_a_command_that_waits_for_a_sandbox_says_so(shard, begin, start_worker):
    await start_worker()
    await shard.session("known", options=STRICT).submit("1")

    for arguments in (("new", "--sandbox", "strict"), ("known",)):
        process = await begin("exec", "1", "--session", *arguments)
        assert (await process.stderr.readline()).decode() == f"skep: {SHORTAGE}; cells wait until there is one\n"


async def test_without_any_worker_the_note_names_the_worker_to_start(begin):
    process = await begin("exec", "1", "--session", "s", "--sandbox", "strict")

    note = (await process.stderr.readline()).decode()
    assert note.startswith("skep: no worker is alive there; cells wait until one is (")
    assert note.endswith(" --sandbox strict)\n")


async def test_a_new_session_asks_for_the_sandbox(shard, call, start_worker):
    await start_worker()
    assert await call("exec", "print(1)", "--session", "s", "--sandbox", "none") == (0, "1\n", "")
    assert (await call("fork", "s", "f", "--sandbox", "strict"))[0] == 0

    assert [(info.id, info.sandbox) async for info in shard.sessions()] == [("s", "none"), ("f", "strict")]


async def test_listings_show_what_sessions_ask_for_and_why_they_wait(shard, call, start_worker):
    worker = await start_worker()
    await shard.session("free").run("1")
    _, plain, _ = await call("sessions")
    assert plain.splitlines()[0].split() == ["SESSION", "STATE", "DONE", "EVENTS", "ACTIVE", "WORKER"]
    await shard.session("waits", options=STRICT).submit("1")

    _, table, _ = await call("sessions")
    heading, *rows = table.splitlines()
    assert heading.split()[-2:] == ["SANDBOX", "WHY"]
    assert [row.split(maxsplit=6)[5:] for row in rows] == [[worker.worker_id], ["-", f"strict   {SHORTAGE}"]]
    _, records, _ = await call("sessions", "--json")
    free, waits = map(json.loads, records.splitlines())
    assert (free["sandbox"], free["owner_sandbox"], free["shortage"]) == ("none", "none", "")
    assert (waits["sandbox"], waits["owner_sandbox"], waits["shortage"]) == ("strict", None, SHORTAGE)
    _, shown, _ = await call("show", "waits")
    assert "sandbox  strict\n" in shown
    assert f"why      {SHORTAGE} (since " in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("exec", "1", "--session", "new", "--sandbox", "best"),
            "sandbox: 'best' is refused: one of none, basic, userns, strict is needed",
        ),
        (
            ("exec", "1", "--session", "known", "--sandbox", "strict"),
            "sandbox: 'strict' is refused: session 'known' asks for at least basic, and options don't change: fork it "
            "with this sandbox, or use another session",
        ),
    ],
)
async def test_what_is_refused(shard, call, arguments, message):
    await shard.session("known", options=skep.SessionOptions(sandbox="basic")).submit("1")

    status, out, err = await call(*arguments)
    assert (status, out, err.splitlines()[-1]) == (2, "", f"skep: {message}")
    assert [(info.id, info.seq) async for info in shard.sessions()] == [("known", 1)]


async def test_a_file_without_a_cluster_is_in_no_sandbox(call):
    status, out, err = await call("run", "-", "--sandbox", "basic", is_on_shard=False)

    assert (status, out) == (2, "")
    assert err == "skep: --sandbox: 'basic' is refused: it is for a cluster's workers, so --redis is needed too\n"
