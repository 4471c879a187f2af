"""Users with few permissions, wrong credentials, and what they are told; docs/operating.md lists what is needed."""

import asyncio
import re
from pathlib import Path

import pytest

import skep
from skep_shared.errors import StartError

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]
DOCS = Path(__file__).parents[3] / "docs" / "operating.md"
USERS = {
    "without_dangerous": "~* &* +@all -@dangerous",
    "documented": None,  # what the docs say is needed, and not more
}
NOT_ENOUGH = {
    "no arq keys": ("~skep:* &* +@all", "keys arq:*"),
    "no keys of ours": ("~arq:* &* +@all", "keys skep:*"),
    "no scripts": ("~* &* +@all -@scripting", "scripts"),
}


@pytest.fixture
async def server(start_server):
    """A server where nothing is permitted without a password."""
    server = await start_server()
    await server.admin.execute_command("ACL", "SETUSER", "admin", "on", ">top", "~*", "&*", "+@all")
    await server.admin.execute_command("AUTH", "admin", "top")
    await server.admin.execute_command("ACL", "SETUSER", "default", "off")
    return server


@pytest.fixture
def add_user(server):
    """Give a function that makes a user with these rules, and gives their URL."""

    async def add(name, rules, password="x"):  # noqa: S107 - of a server that lives for a test
        await server.admin.execute_command("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules.split())
        return f"redis://{name}:{password}@127.0.0.1:{server.port}/0"

    return add


def documented_rules():
    """Give the rules of the example in the docs."""
    [command] = re.findall(r"ACL SETUSER skep on >PASSWORD (.*?)\n```", DOCS.read_text(), re.DOTALL)
    return " ".join(command.replace("\\\n", " ").split())


@pytest.mark.parametrize("rules", USERS.values(), ids=USERS)
async def test_a_user_with_what_is_needed_does_everything(add_user, work_at, connect_to, rules, tmp_path):
    url = await add_user("u", rules or documented_rules())
    log = tmp_path / "worker.log"
    await work_at(url, log_path=log)
    client = await connect_to(url)
    session = client.session("s")

    assert (await session.run("x = 41; print('said'); x + 1")).value == 42
    assert (await (await session.submit("x", defer_by=0.01)).outcome()).value == 41
    await session.files.put("f", b"data")
    assert await session.files.get("f") == b"data"
    assert "x" in {variable.name for variable in await session.variables()}
    assert not await session.interrupt()
    [*checkpoints] = [checkpoint async for checkpoint in session.checkpoints()]
    await session.name_checkpoint(checkpoints[-1].id, "here")
    fork = await session.fork("t", at="here")
    assert (await fork.run("x")).value == 41
    await session.rollback(checkpoints[0].id)
    await session.hibernate()
    assert [event.kind async for event in session.events()]
    assert {worker.id async for worker in client.workers()}
    await fork.close(purge=True)
    await session.close(purge=True)
    assert not [found async for found in client.sessions()]
    said = [line for line in log.read_text().splitlines() if "redis.not_checked" not in line]
    assert not [line for line in said if "ermission" in line or "executing the script" in line]


@pytest.mark.parametrize(("rules", "missing"), NOT_ENOUGH.values(), ids=NOT_ENOUGH)
async def test_what_a_user_may_not_is_named_to_client_and_worker(
    add_user, work_at, connect_to, rules, missing, tmp_path
):
    url = await add_user("u", rules)
    with pytest.raises(skep.RedisRefused) as caught:
        await connect_to(url)
    assert missing in str(caught.value)
    assert "docs/operating.md" in str(caught.value)
    assert "x@" not in str(caught.value)

    with pytest.raises(StartError, match=re.escape(missing)):
        await work_at(url, log_path=tmp_path / "log")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://admin:nope@127.0.0.1:{port}/0", "password"),
        ("redis://127.0.0.1:{port}/0", "password"),
        ("redis://nobody:top@127.0.0.1:{port}/0", "password"),
        ("redis://admin:top@127.0.0.1:{port}/99", "database"),
    ],
    ids=["wrong password", "none", "unknown user", "database"],
)
async def test_wrong_credentials_are_told_as_that(server, connect_to, url, says):
    with pytest.raises(skep.RedisRefused, match=says) as caught:
        await connect_to(url.format(port=server.port))

    assert "top" not in str(caught.value)
    assert "nope" not in str(caught.value)


async def test_a_password_that_is_changed_and_changed_back(server, add_user, work_at, connect_to):
    rules = "~* &* +@all"
    url = await add_user("u", rules)
    await work_at(url)
    client = await connect_to(url)
    session = client.session("s")
    await session.run("import os; kept = os.getpid()")
    waiting = asyncio.create_task((await client.session("nowhere").submit("1", defer_by=3600)).outcome())
    await asyncio.sleep(0)
    await add_user("u", rules, password="other")
    await server.admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    with pytest.raises(skep.RedisRefused, match="password"):
        await session.run("kept")
    with pytest.raises(skep.RedisRefused, match="password"):
        await waiting

    await add_user("u", rules)
    assert (await session.run("os.getpid() == kept")).value is True
