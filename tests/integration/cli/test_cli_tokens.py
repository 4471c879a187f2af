"""`skep tokens`: make, list and revoke tokens of the gateway."""

import json

import pytest

from skep.gateway.tokens.store import TokenStore
from skep.gateway.tokens.token_checker import RedisTokens
from skep.gateway.tokens.token_text import TokenText

from .test_cli_tenants import run  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio


async def test_a_token_is_printed_once_listed_and_revoked(run, shard):  # noqa: F811
    status, out, err = await run(
        "tokens", "create", "--tenant", "acme", "--can", "run, read,admin", "--expires", "30d", "--name", "ci server"
    )
    token = TokenText.parse(out.strip())
    assert status == 0
    assert err.startswith(f"skep: token {token.id} for tenant acme, may admin,read,run, valid until ")

    access = await RedisTokens(shard._link).check(token.text)
    assert (access.tenant, access.can) == ("acme", {"run", "read", "admin"})
    status, out, _ = await run("tokens", "list")
    assert status == 0
    assert token.secret not in out
    assert out.splitlines()[1].split()[:5] == [token.id, "ci", "server", "acme", "admin,read,run"]
    assert out.splitlines()[1].split()[-1] == "valid"
    [record] = [json.loads(line) for line in (await run("tokens", "list", "--json"))[1].splitlines()]
    assert (record["id"], record["can"], record["state"]) == (token.id, ["admin", "read", "run"], "valid")

    assert await run("tokens", "revoke", token.id) == (
        0,
        f"token {token.id} is revoked; its open streams end within a second\n",
        "",
    )
    assert json.loads((await run("tokens", "list", "--json"))[1])["state"] == "revoked"
    assert (await run("tokens", "list", "--tenant", "beta"))[1:] == ("", "no tokens here (skep tokens create)\n")


async def test_a_token_as_json_without_an_end(run, shard):  # noqa: F811
    _, out, err = await run("tokens", "create", "--expires", "never", "--json")

    record = json.loads(out)
    assert err == ""
    assert (record["tenant"], record["expires_at"], record["can"]) == (None, None, ["read", "run"])
    assert await RedisTokens(shard._link).check(record["token"])


async def test_the_tenant_of_the_environment_is_that_of_the_token(run, shard):  # noqa: F811
    await run("tokens", "create", SKEP_TENANT="acme")

    [record] = await TokenStore(shard._link).records()
    assert record.tenant == "acme"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "--can", "root"), "skep: can: 'root' is refused: the rights are run, read, admin (given by --can)"),
        (("create", "--can", ","), "skep: can: '' is refused"),
        (("create", "--expires", "-3d"), "skep: expires: '-3d' is refused: a time such as 90s"),
        (("create", "--expires", "9999w"), "skep: expires: 6047395200.0 is refused"),
        (("create", "--tenant", "a/b"), "skep: tenant: 'a/b' is refused"),
        (("create", "--name", "x" * 101), "skep: name: 'xxx"),
        (("revoke", "abcdefghijkl"), "skep: there is no token 'abcdefghijkl'"),
        (("revoke", "skep_abcdefghijkl_secret"), "skep: id: 'skep_' is refused"),
    ],
)
async def test_bad_input_is_refused(run, shard, arguments, says):  # noqa: F811
    status, out, err = await run("tokens", *arguments)

    assert (status, out) == (2, "")
    assert err.startswith(says)
    assert not await TokenStore(shard._link).has_any()
