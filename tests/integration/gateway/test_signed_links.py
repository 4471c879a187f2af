"""Signed links: what one permits, and that nothing else passes as one."""

from urllib.parse import parse_qsl

import pytest

import skep
from skep.gateway.tokens.signed_links import KEY_SECONDS, LONGEST_SECONDS, LinkSigner
from skep_shared.errors import InvalidArgument

pytestmark = pytest.mark.anyio


@pytest.fixture
def moment():
    return [1_800_000_000.0]


@pytest.fixture
def signer(shard, moment):
    return LinkSigner(shard._link, now=lambda: moment[0])


async def signed(signer, **changes):
    given = {"path": "out/a.txt", "session_id": "s", "tenant": "acme", "seconds": 60, **changes}
    made = await signer.sign(given.pop("path"), **given)
    return made.file, dict(parse_qsl(made.query, strict_parsing=True))


async def test_a_link_permits_its_file_until_it_expires(signer, moment):
    file, query = await signed(signer)

    assert await signer.check("out/a.txt", session_id="s", query=query, method="GET") == file
    assert await signer.check("out/a.txt", session_id="s", query=query, method="HEAD") == file
    moment[0] += 60
    assert await signer.check("out/a.txt", session_id="s", query=query, method="GET") is None


async def test_a_link_without_a_tenant(signer):
    file, query = await signed(signer, tenant=None)

    assert (file.tenant, "tenant" in query) == (None, False)
    assert await signer.check("out/a.txt", session_id="s", query=query, method="GET") == file
    assert await signer.check("out/a.txt", session_id="s", query={**query, "tenant": "acme"}, method="GET") is None


@pytest.mark.parametrize(
    "change",
    [
        {"path": "out/b.txt"}, {"path": "out/a.txt/"}, {"session_id": "t"}, {"method": "PUT"}, {"method": "DELETE"},
        {"query": {"tenant": "beta"}}, {"query": {"expires": "1900000000"}}, {"query": {"expires": ""}},
        {"query": {"expires": "1e9"}}, {"query": {"expires": "9" * 30}}, {"query": {"signature": ""}},
        {"query": {"signature": "0" * 64}}, {"query": {"signature": "é"}}, {"query": {"expires": "-1"}},
        {"session_id": "sout", "path": "/a.txt"},
    ],
)  # fmt: skip
async def test_nothing_else_passes_as_the_link(signer, change):
    _, query = await signed(signer)
    asked = {"path": "out/a.txt", "session_id": "s", "method": "GET", **change}
    asked["query"] = query | change.get("query", {})

    assert await signer.check(asked.pop("path"), **asked) is None


async def test_a_link_for_writing_is_none_for_reading(signer):
    file, query = await signed(signer, method="PUT")

    assert await signer.check("out/a.txt", session_id="s", query=query, method="PUT") == file
    assert await signer.check("out/a.txt", session_id="s", query=query, method="GET") is None


async def test_all_gateways_of_a_shard_have_one_key_and_another_shard_has_another(signer, shard, redis_server):
    file, query = await signed(signer, seconds=LONGEST_SECONDS)
    settings = shard.settings.model_copy(update={"prefix": f"{shard.settings.prefix}-other"})

    async with skep.connect(settings=shard.settings) as other_gateway, skep.connect(settings=settings) as other_shard:
        other = LinkSigner(other_gateway._link, now=signer._now)
        assert await other.check("out/a.txt", session_id="s", query=query, method="GET") == file
        foreign = LinkSigner(other_shard._link, now=signer._now)
        assert await foreign.check("out/a.txt", session_id="s", query=query, method="GET") is None


async def test_a_removed_key_ends_all_links_after_some_seconds(signer, shard, moment):
    file, query = await signed(signer)
    await shard._link.redis.delete(shard._link.keys.link_key)
    assert await signer.check("out/a.txt", session_id="s", query=query, method="GET") == file

    moment[0] += KEY_SECONDS

    assert await signer.check("out/a.txt", session_id="s", query=query, method="GET") is None


async def test_a_new_key_is_found_when_a_link_needs_it(signer, shard, moment):
    _, query = await signed(signer)
    await shard._link.redis.delete(shard._link.keys.link_key)
    moment[0] += 1
    other = LinkSigner(shard._link, now=signer._now)
    file, new_query = await signed(other)

    assert await signer.check("out/a.txt", session_id="s", query=new_query, method="GET") == file
    assert await signer.check("out/a.txt", session_id="s", query=query, method="GET") is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seconds": 0}, "seconds"), ({"seconds": -1}, "seconds"), ({"seconds": LONGEST_SECONDS + 1}, "seconds"),
        ({"seconds": float("nan")}, "seconds"), ({"method": "DELETE"}, "method"), ({"session_id": "a/b"}, "session_id"),
        ({"tenant": "a/b"}, "tenant"), ({"path": ""}, "path"), ({"path": b"x"}, "path"),
    ],
)  # fmt: skip
async def test_bad_input_is_refused(signer, change, field):
    with pytest.raises(InvalidArgument) as caught:
        await signed(signer, **change)
    assert caught.value.field == field
