"""Users with few permissions or wrong credentials, and the errors they get; docs/operating.md lists what is needed."""

import asyncio
import re
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

import skep
from skep.gateway.tokens.signed_links import LinkSigner
from skep.gateway.tokens.store import TokenStore
from skep.gateway.tokens.token_checker import RedisTokens
from skep.gateway.webhooks.definition import WebhookSpec
from skep.gateway.webhooks.network import Addresses
from skep.gateway.webhooks.senders import WebhookSenders
from skep.gateway.webhooks.settings import WebhookSettings
from skep.gateway.webhooks.store import WebhookStore
from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.listing_scripts import ListingScripts
from skep_shared.broker.retention_scripts import RetentionScripts
from skep_shared.broker.scripts import Scripts
from skep_shared.broker.token_scripts import TokenScripts
from skep_shared.broker.webhook_scripts import WebhookScripts
from skep_shared.errors import StartError

from ..gateway.receiver import Receiver
from ..session_processes import OWN_NAME

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]
TOP = Path(__file__).parents[3]
DOCS = TOP / "docs" / "operating.md"
ACL_FILES = {
    "skep-producer": TOP / "compose" / "producers.acl",
    "skep-gateway": TOP / "compose" / "gateways.acl",
    "skep-worker": TOP / "compose" / "workers.acl",
}
USERS = {
    "without_dangerous": "~* &* +@all -@dangerous",
    "documented": None,  # exactly the permissions in the docs
}
NOT_ENOUGH = {
    "no arq keys": ("~{skep}:* &* +@all", "keys arq:*"),
    "no keys of ours": ("~arq:* &* +@all", "keys {skep}:*"),
    "no scripts": ("~* &* +@all -@scripting", "scripts"),
}


@pytest.fixture
async def server(start_server):
    """A server that permits nothing without a password."""
    server = await start_server()
    await server.admin.execute_command("ACL", "SETUSER", "admin", "on", ">top", "~*", "&*", "+@all")
    await server.admin.execute_command("AUTH", "admin", "top")
    await server.admin.execute_command("ACL", "SETUSER", "default", "off")
    return server


@pytest.fixture
def add_user(server):
    """Return a function that creates a user with these rules, and returns their URL."""

    async def add(name, rules, password="x"):  # noqa: S107 - of a server that lives for a test
        await server.admin.execute_command("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules.split())
        return f"redis://{name}:{password}@127.0.0.1:{server.port}/0"

    return add


def documented_rules():
    """Return the rules of the example in the docs."""
    [command] = re.findall(r"ACL SETUSER skep on >PASSWORD (.*?)\n```", DOCS.read_text(), re.DOTALL)
    return " ".join(command.replace("\\\n", " ").split())


@pytest.mark.parametrize("rules", USERS.values(), ids=USERS)
async def test_a_user_with_the_documented_permissions_can_do_everything(add_user, work_at, connect_to, rules, tmp_path):
    url = await add_user("u", rules or documented_rules())
    log = tmp_path / "worker.log"
    await work_at(url, log_path=log)
    await use_all_of(await connect_to(url))
    said = [line for line in log.read_text().splitlines() if "redis.not_checked" not in line]
    assert not [line for line in said if "ermission" in line or "executing the script" in line]


async def use_all_of(client):
    """Use every feature that sends other commands."""
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
    assert (await client.why("s")).reasons
    batch = await session.submit_many(["1 / 0", "2"], stop_on_error=True)
    assert [(await cell.outcome()).status for cell in batch] == ["failed", "cancelled"]
    assert await session.transcript()
    await fork.close(purge=True)
    await session.close(purge=True)
    assert not [found async for found in client.sessions()]


@pytest.fixture
async def users(server):
    """Return the URL of each user of the files in compose/, by name."""
    urls = {}
    for name, path in ACL_FILES.items():
        rules = path.read_text().replace("PASSWORD", f"of-{name}").split()
        urls[name] = f"redis://{name}:of-{name}@127.0.0.1:{server.port}/0"
        assert rules[:3] == ["user", name, "on"]
        await server.admin.execute_command("ACL", "SETUSER", name, "reset", *rules[2:])
    return urls


async def test_the_users_of_the_compose_files_can_do_everything(server, users, work_at, connect_to, tmp_path):
    log = tmp_path / "worker.log"
    await work_at(users["skep-worker"], log_path=log)
    await use_all_of(await connect_to(users["skep-producer"]))

    refused = [
        dict(zip(entry[::2], entry[1::2], strict=True)) for entry in await server.admin.execute_command("ACL", "LOG")
    ]
    # The driver announces its version; before 7.2 no permission for that exists.
    assert {entry[b"object"] for entry in refused} <= {b"client", b"client|setinfo"}
    assert not [line for line in log.read_text().splitlines() if "ermission" in line or "redis.not_checked" in line]


async def test_a_server_loads_all_files_as_its_acl_file(start_server, tmp_path, connect_to, work_at):
    users = tmp_path / "users.acl"
    users.write_text("user default off\n" + "".join(path.read_text() for path in ACL_FILES.values()))
    server = await start_server("--aclfile", str(users))
    await work_at(f"redis://skep-worker:PASSWORD@127.0.0.1:{server.port}/0")
    client = await connect_to(f"redis://skep-producer:PASSWORD@127.0.0.1:{server.port}/0")

    assert (await client.session("s").run("1")).value == 1


@pytest.mark.parametrize(
    "command",
    [
        ("KEYS", "*"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("SHUTDOWN", "NOSAVE"), ("ACL", "LIST"), ("MONITOR",),
        ("GET", "another"), ("SET", "another", "1"), ("SCRIPT", "FLUSH"), ("CLIENT", "LIST"), ("DEBUG", "SLEEP", "0"),
        ("PUBLISH", "channel", "1"), ("SWAPDB", "0", "1"), ("SCAN", "0"), ("RENAME", "{skep}:shard", "{skep}:x"),
    ],
    ids=lambda command: command[0],
)  # fmt: skip
@pytest.mark.parametrize("name", ACL_FILES)
async def test_the_users_of_the_compose_files_can_do_nothing_else(users, name, command):
    async with Redis.from_url(users[name]) as redis:
        with pytest.raises(ResponseError, match=r"permission|not allowed"):  # of DEBUG, Redis 7 allows none
            await redis.execute_command(*command)


async def test_the_user_of_gateways_can_do_everything_and_producers_know_nothing_of_its_tokens(
    server, users, work_at, connect_to
):
    await work_at(users["skep-worker"])
    client = await connect_to(users["skep-gateway"])
    await use_all_of(client)
    await use_the_gateways_parts(client)

    refused = [
        dict(zip(entry[::2], entry[1::2], strict=True)) for entry in await server.admin.execute_command("ACL", "LOG")
    ]
    assert {entry[b"object"] for entry in refused} <= {b"client", b"client|setinfo"}
    async with Redis.from_url(users["skep-producer"]) as redis:
        for command in (
            ("ZRANGE", "{skep}:tokens", "0", "-1"), ("HGETALL", "{skep}:token:x"), ("GET", "{skep}:link-key"),
            ("HSET", "{skep}:token:x", "digest", "x"), ("HGETALL", "{skep}:webhooks"), ("DEL", "{skep}:webhook:/x"),
        ):  # fmt: skip
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*command)


async def use_the_gateways_parts(client):
    """Use every feature of tokens, signed links and webhooks that sends other commands."""
    store = TokenStore(client._link)
    record, text = await store.create(can=["run"], seconds=60)
    assert [each.id for each in await store.records()] == [record.id]
    async with RedisTokens(client._link) as tokens:
        access = await tokens.check(text)
        await store.revoke(record.id)
        await tokens.wait_until_invalid(access)
    assert await store.has_any()
    await LinkSigner(client._link).sign("f", session_id="s", tenant=None, seconds=60)
    assert (await client.session("w").run("1")).ok
    receiver = await Receiver().start()
    settings = WebhookSettings.load(internal=["127.0.0.0/8"], poll_seconds=0.05)
    with Addresses(settings.internal_networks) as addresses:
        webhooks = WebhookStore(client._link, addresses)
        await webhooks.put(
            None, "h", WebhookSpec.checked({"url": receiver.url, "events": ["*"], "labels": {"no": "1"}})
        )
        await webhooks.put(None, "h", WebhookSpec.checked({"url": receiver.url, "events": ["*"]}))
        await webhooks.replay(None, "h", "w", "0-0")
        async with WebhookSenders(client._link, settings, addresses):
            await receiver.until(lambda each: each.accepted)
        assert [state.webhook.name for state in await webhooks.list(None)] == ["h"]
        await webhooks.delete(None, "h")
    await receiver.stop()


async def test_a_producer_can_not_write_what_only_workers_write(users):
    async with Redis.from_url(users["skep-producer"]) as redis:
        for command in (("GET", "{skep}:upkeep"), ("SET", "{skep}:upkeep", "1")):
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*command)


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("skep-producer", [ClientScripts, ListingScripts]),
        ("skep-gateway", [ClientScripts, ListingScripts, TokenScripts, WebhookScripts]),
        ("skep-worker", [Scripts, RetentionScripts]),
    ],
    ids=ACL_FILES,
)
def test_the_users_of_the_compose_files_may_run_what_scripts_call(name, scripts):
    sources = [source for each in scripts for source in each.sources.values()]
    called = {command.lower() for source in sources for command in re.findall(r"redis\.call\('(\w+)'", source.text)}

    assert called <= {rule[1:] for rule in ACL_FILES[name].read_text().split() if rule.startswith("+")}


@pytest.mark.parametrize(("rules", "missing"), NOT_ENOUGH.values(), ids=NOT_ENOUGH)
async def test_a_missing_permission_is_named_to_client_and_worker(
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
async def test_wrong_credentials_are_reported_as_such(server, connect_to, url, says):
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
    await session.run(f"kept = {OWN_NAME}")
    waiting = asyncio.create_task((await client.session("nowhere").submit("1", defer_by=3600)).outcome())
    await asyncio.sleep(0)
    await add_user("u", rules, password="other")
    await server.admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    with pytest.raises(skep.RedisRefused, match="password"):
        await session.run("kept")
    with pytest.raises(skep.RedisRefused, match="password"):
        await waiting

    await add_user("u", rules)
    assert (await session.run(f"{OWN_NAME} == kept")).value is True
