"""`skep show` and its word on why nothing of a session runs."""

import asyncio
import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

import skep

from .commands import skep_command

pytestmark = pytest.mark.anyio


@pytest.fixture
def run(shard):
    """Return a function that runs a command on the test's shard and returns what it has printed."""

    async def call(*arguments):
        settings = shard.settings
        place = ["--redis", settings.redis_url, "--prefix", settings.prefix]
        env = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
        process = await asyncio.create_subprocess_exec(
            *skep_command(*arguments), *place, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    return call


@pytest.fixture
def show(run):
    """Return a function that shows a session, as people see it and as JSON; both must say the same."""

    async def call(session_id):
        text, record = await asyncio.gather(run("show", session_id), run("show", session_id, "--json"))
        why = json.loads(record)["why"]
        shown = re.sub(r"since [\d.]+ s", "since", text)
        assert re.sub(r"since [\d.]+ s", "since", "; ".join(why)) in shown
        return why

    return call


async def test_without_a_worker(shard, show):
    await shard.session("s").submit("1")

    [reason] = await show("s")
    assert re.fullmatch(r"no worker is alive \(skep worker starts one\) \(since [\d.]+ s\)", reason)


async def test_without_a_worker_that_has_the_labels(shard, show, start_worker):
    await start_worker("--worker-labels", "disk=big")
    options = skep.SessionOptions(requires={"gpu": "a100", "disk": "big"})
    await shard.session("s", options=options).submit("1")

    [reason] = await show("s")
    assert reason.startswith("no worker with the labels disk=big, gpu=a100 is alive; workers without them: 1")


async def test_without_a_worker_that_has_the_sandbox(shard, show, start_worker):
    session = shard.session("s", options=skep.SessionOptions(sandbox="basic", requires={"gpu": "a100"}))
    await session.submit("1")
    [reason] = await show("s")
    assert reason.startswith("no worker is alive (skep worker --sandbox basic starts one) (since ")

    await start_worker("--worker-labels", "gpu=a100")
    [reason] = await show("s")
    assert reason.startswith(
        "no worker with the labels gpu=a100 and sandbox basic or stronger is alive; workers without them: 1, "
        "with sandbox none (1)"
    )


async def test_with_full_workers_only(shard, show, start_worker, gate, first_output, eventually):
    worker = await start_worker("--max-resident", "1")
    running = await shard.session("other").submit(f"print('runs')\n{gate.wait}")
    await first_output(running)
    await shard.session("s").submit("1")

    async def has_told():  # its facts are as old as its last beat
        return (await anext(shard.workers())).resident == 1

    await eventually(has_told)
    [reason] = await show("s")
    assert reason.startswith(f"every worker is full: {worker.worker_id} 1/1")
    assert await show("other") == ["cell 1 is running"]
    gate.open()


async def test_a_cell_that_asks(shard, show, start_worker):
    await start_worker()
    cell = await shard.session("s").submit("input('who? ')")
    async for event in cell.events():
        if event.kind == "input.requested":
            break

    assert await show("s") == ["cell 1 waits for an answer to input()"]


async def test_a_session_whose_worker_has_died(shard, show, start_worker, eventually):
    worker = await start_worker()
    session = shard.session("s")
    await session.run("1")
    await worker.kill()
    await session.submit("2")

    async def is_dead():  # when its lease has run out
        return not (await session.info()).owner_alive

    await eventually(is_dead)
    first, second = await show("s")
    assert first == f"its worker {worker.worker_id} is dead, and no other worker has taken the session over yet"
    assert second.startswith("no worker is alive")


async def test_a_closed_and_an_idle_session(shard, show, start_worker):
    await start_worker()
    session = shard.session("s")
    await session.run("1")
    assert await show("s") == ["no cell is pending"]

    await session.close()
    assert await show("s") == ["it is closed and takes no more cells"]


async def test_deferred_cells_in_a_session_that_has_begun_and_in_one_that_has_not(shard, show, start_worker):
    due = datetime.now(UTC) + timedelta(hours=1)
    told = f"cell later is deferred until {due:%Y-%m-%d %H:%M:%S} UTC"
    await shard.session("new").submit("1", cell_id="later", defer_until=due)
    assert await show("new") == ["the session has not begun", told]

    await start_worker()
    await shard.session("old").run("1")
    await shard.session("old").submit("1", cell_id="later", defer_until=due)
    await shard.session("older").submit("1", cell_id="other", defer_until=due)
    assert await show("old") == [told]
    why = await shard.why("old")
    assert [(cell.cell_id, why.info.id) for cell in why.deferred] == [("later", "old")]


async def test_who_waits_has_waited_since_the_first_time_though_workers_are_told_again_and_again(
    shard, start_worker, eventually
):
    await start_worker("--worker-labels", "a=b")
    await shard.session("s", options=skep.SessionOptions(requires={"c": "d"})).submit("1")
    redis, keys = shard._link.redis, shard._link.keys
    since = await redis.zscore(keys.waiting, "s")
    named = set()

    async def is_told_again():
        named.add(await redis.zscore(keys.named, "s"))
        return len(named - {None}) >= 3

    await eventually(is_told_again)
    assert await redis.zscore(keys.waiting, "s") == since


async def test_a_session_nobody_has_named_is_not_found(shard):
    with pytest.raises(skep.NotFound):
        await shard.why("unheard-of")


async def test_listings_are_filtered_by_labels_state_and_id(shard, run):
    for name, label in {"user-1": "x", "user-2": "y", "job-1": "x"}.items():
        await shard.session(name, options=skep.SessionOptions(labels={"app": label, "a": "b"})).submit("1")

    heading, *rows = (await run("sessions")).splitlines()
    assert heading.split()[-1] == "LABELS"
    assert sorted(row.split()[0] for row in rows) == ["job-1", "user-1", "user-2"]
    wanted = ("--label", "app=x", "--label", "a=b", "--state", "open", "--id-prefix", "user-")
    [line] = (await run("sessions", *wanted, "--json")).splitlines()
    assert (json.loads(line)["id"], json.loads(line)["labels"]) == ("user-1", {"app": "x", "a": "b"})
    assert await run("sessions", "--state", "closed") == ""


async def test_options_of_a_session_are_shown_without_values_of_variables(shard, run):
    options = skep.SessionOptions(
        env={"APP_TOKEN": "a secret text"}, cwd="work", idle_seconds=60, expires_in=3600, labels={"app": "x"}
    )
    await shard.session("s", options=options).submit("1")

    shown = await run("show", "s")
    for line in (
        "env      APP_TOKEN",
        "cwd      work",
        "labels   app=x",
        "hibernates after 60 s",
        "closed after 3600 s",
    ):
        assert line in shown
    assert "secret" not in shown + await run("show", "s", "--json") + await run("sessions", "--json")
