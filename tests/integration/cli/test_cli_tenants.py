"""`skep tenants`, and the flag `--tenant` of the other commands."""

import asyncio
import json
import os
import subprocess

import pytest

import skep

from .commands import skep_command

pytestmark = pytest.mark.anyio


@pytest.fixture
def run(shard):
    """Return a function that runs a command on the test's shard: its exit status, stdout and stderr."""

    async def call(*arguments, **environment):
        settings = shard.settings
        place = ["--redis", settings.redis_url, "--prefix", settings.prefix]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
        process = await asyncio.create_subprocess_exec(
            *skep_command(*arguments), *place, env=kept | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return call


async def test_quotas_are_set_listed_shown_and_removed(run):
    assert (await run("tenants"))[2] == "no tenant has quotas here (skep tenants set sets some)\n"
    status, out, _ = await run("tenants", "set", "acme", "--max-resident", "50", "--cells-a-minute", "600", "--json")
    record = {
        "tenant": "acme",
        "quotas": {
            "max_resident": 50,
            "max_pending": None,
            "cells_a_minute": 600,
            "max_bytes": None,
            "cpu_seconds_a_day": None,
        },
        "use": {"sessions": 0, "resident": 0, "pending": 0, "stored_bytes": 0, "cpu_seconds": 0.0},
    }
    assert (status, json.loads(out)) == (0, record)
    assert json.loads((await run("tenants", "--json"))[1]) == record
    assert json.loads((await run("tenants", "show", "acme", "--json"))[1]) == record
    _, out, _ = await run("tenants")
    assert out.splitlines()[1].split() == ["acme", "0", "0/50", "0/-", "600", "0/-", "0/-"]

    _, out, _ = await run("tenants", "set", "acme", "--max-resident", "0", "--json")
    assert json.loads(out)["quotas"]["max_resident"] is None
    assert await run("tenants", "remove", "acme") == (
        0,
        "tenant acme has no quotas any more; its sessions remain\n",
        "",
    )
    assert await run("tenants", "show", "acme") == (2, "", "skep: there is no tenant 'acme'\n")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("tenants", "set", "a/b", "--max-pending", "5"), "tenant"),
        (("tenants", "set", "acme", "--max-pending", "-5"), "max_pending"),
        (("tenants", "show", "a b"), "tenant"),
        (("tenants", "remove", ""), "tenant"),
        (("sessions", "--tenant", "a/b"), "tenant"),
        (("show", "s", "--tenant", ""), "tenant"),
    ],
)
async def test_a_bad_value_is_refused(run, arguments, field):
    status, out, err = await run(*arguments)

    assert (status, out) == (2, "")
    assert err.startswith(f"skep: {field}: ")


async def test_commands_work_on_the_sessions_of_a_tenant(shard, run):
    async with skep.connect(settings=shard.settings, tenant="acme") as acme:
        await acme.session("s").submit("1")

    listed = [
        (await run("sessions", "--json", *flags))[1] for flags in ((), ("--tenant", "acme"), ("--tenant", "beta"))
    ]
    assert [[json.loads(line)["id"] for line in out.splitlines()] for out in listed] == [["acme/s"], ["s"], []]
    status, out, _ = await run("show", "s", "--json", SKEP_TENANT="acme")
    assert (status, json.loads(out)["id"]) == (0, "s")
    assert await run("show", "s", "--tenant", "beta") == (2, "", "skep: there is no session 's'\n")
    assert (await run("interrupt", "s", "--tenant", "acme"))[0] == 0
    assert (await run("interrupt", "s", "--tenant", "beta"))[0] == 2


async def test_a_submit_above_a_quota_is_refused(shard, run):
    await run("tenants", "set", "acme", "--max-pending", "1")
    async with skep.connect(settings=shard.settings, tenant="acme") as acme:
        await acme.session("s").submit("1")

    status, out, err = await run("exec", "1", "--session", "s", "--tenant", "acme")

    assert (status, out) == (2, "")
    assert "tenant 'acme' would exceed its quota max_pending: 2, and the bound is 1." in err
