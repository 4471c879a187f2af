"""Tokens of the gateway: what is accepted, what it costs, and what happens when one is revoked or expires."""

import asyncio
import hashlib
from datetime import timedelta

import pytest

import skep
from skep.gateway.tokens import token_checker
from skep.gateway.tokens.access import Access, Action, AnyOf, Kind
from skep.gateway.tokens.store import TokenStore
from skep.gateway.tokens.token_checker import RedisTokens
from skep_shared.errors import InvalidArgument, NotFound

from ..cli.commands import skep_command

pytestmark = pytest.mark.anyio


@pytest.fixture
def link(shard):
    return shard._link


@pytest.fixture
def store(link):
    return TokenStore(link)


@pytest.fixture
async def tokens(link):
    async with RedisTokens(link) as tokens:
        yield tokens


@pytest.fixture
def reads(link, monkeypatch):
    """Count the reads of tokens."""
    counted = []
    read_now = TokenStore.read_now

    async def count(self, token_ids):
        counted.append(list(token_ids))
        return await read_now(self, token_ids)

    monkeypatch.setattr(TokenStore, "read_now", count)
    return counted


async def test_a_token_is_accepted_with_its_tenant_and_rights(store, tokens):
    record, text = await store.create(can=["run", "read"], tenant="acme", seconds=3600, name="ci")

    access = await tokens.check(text)

    assert access == Access(record.id, "acme", frozenset({Action.RUN, Action.READ}), record.expires_at)
    assert record.expires_at - record.created_at == timedelta(hours=1)
    assert (record.name, record.state(record.created_at), record.state(record.expires_at)) == ("ci", "valid", "expired")


async def test_a_token_without_tenant_and_end_reaches_the_shard_for_ever(store, tokens):
    record, text = await store.create(can=["admin"])

    assert await tokens.check(text) == Access(record.id, None, frozenset({Action.ADMIN}), None)


async def test_redis_has_no_secret(store, link):
    _, text = await store.create(can=["run"])
    secret = text.rpartition("_")[2]

    stored = []
    async for key in link.redis.scan_iter(match=f"{link.settings.prefix}:*"):
        stored += [key, await link.redis.dump(key)]
    assert secret.encode() not in b"".join(stored)
    assert (
        await link.redis.hget(link.keys.token(text[5:17]), "digest")
        == hashlib.sha256(secret.encode()).hexdigest().encode()
    )


async def test_wrong_unknown_expired_and_revoked_tokens_look_alike(store, tokens, link):
    _, right = await store.create(can=["run"])
    expired, expired_text = await store.create(can=["run"])
    await link.redis.hset(link.keys.token(expired.id), "expires", 1)
    revoked, revoked_text = await store.create(can=["run"])
    await store.revoke(revoked.id)
    wrong = right[:-1] + ("a" if right[-1] != "a" else "b")
    unknown = "skep_" + "0" * 12 + right[17:]

    for text in (wrong, unknown, expired_text, revoked_text, "", "skep_", "x" * 10_000):
        assert await tokens.check(text) is None


@pytest.mark.parametrize("field", ["digest", "tenant", "can", "created", "expires"])
async def test_a_record_that_skep_has_not_written_lets_no_caller_in(store, tokens, link, field):
    record, text = await store.create(can=["run"])
    await link.redis.hset(link.keys.token(record.id), field, b"\xff")

    access = await tokens.check(text)

    assert access is None or (field == "can" and not access.can)


async def test_many_checks_cost_one_read(store, link, reads):
    tokens = RedisTokens(link, now=lambda: 1000.0)
    _, text = await store.create(can=["run"])
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")

    assert all([await tokens.check(text) is not None for _ in range(50)])
    assert not any([await tokens.check(wrong) is not None for _ in range(50)])

    assert len(reads) == 2


async def test_many_wrong_tokens_do_not_displace_right_ones(store, link, reads, monkeypatch):
    monkeypatch.setattr(token_checker, "MOST_REMEMBERED", 3)
    tokens = RedisTokens(link, now=lambda: 1000.0)
    _, right = await store.create(can=["run"])
    await tokens.check(right)

    for number in range(100):
        await tokens.check(f"{right[:-2]}{number:02}")
    reads.clear()
    await tokens.check(right)

    assert not reads
    assert len(tokens._refused._answers) == 3


async def test_an_answer_is_not_remembered_beyond_the_end_of_the_token(store, link, reads, monkeypatch):
    monkeypatch.setattr(token_checker, "REMEMBERED_SECONDS", 10_000)
    record, text = await store.create(can=["run"])
    now_ms, _ = await store.read_now([])
    await link.redis.hset(link.keys.token(record.id), "expires", now_ms + 600_000)
    moment = [1000.0]
    tokens = RedisTokens(link, now=lambda: moment[0])

    assert await tokens.check(text)
    moment[0] += 300
    reads.clear()
    assert await tokens.check(text)
    assert not reads
    moment[0] += 301
    await tokens.check(text)
    assert reads


async def test_a_revocation_counts_after_what_is_remembered(store, link):
    record, text = await store.create(can=["run"])
    moment = [1000.0]
    tokens = RedisTokens(link, now=lambda: moment[0])
    assert await tokens.check(text)
    await store.revoke(record.id)

    moment[0] += 0.99

    assert await tokens.check(text) is None


async def test_a_revocation_by_another_process_ends_the_waits_of_open_streams(store, tokens, link):
    record, text = await store.create(can=["run"])
    _, other_text = await store.create(can=["run"])
    access, other = await tokens.check(text), await tokens.check(other_text)
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(tokens.wait_until_invalid(access)) for _ in range(20)]
        other_wait = group.create_task(tokens.wait_until_invalid(other))
        await asyncio.sleep(0)
        place = ["--redis", link.settings.redis_url, "--prefix", link.settings.prefix]
        process = await asyncio.create_subprocess_exec(*skep_command("tokens", "revoke", record.id), *place)
        assert await process.wait() == 0

        await asyncio.gather(*waits)
        assert not other_wait.done()
        other_wait.cancel()
    assert not tokens._watched


async def test_the_end_of_a_token_ends_the_waits(store, tokens, link):
    record, text = await store.create(can=["run"], seconds=3600)
    access = await tokens.check(text)
    wait = asyncio.create_task(tokens.wait_until_invalid(access))
    await link.redis.hset(link.keys.token(record.id), "expires", 1)

    await wait


async def test_open_streams_of_many_tokens_cost_one_read_at_a_time(store, tokens, reads):
    texts = [(await store.create(can=["run"]))[1] for _ in range(5)]
    accesses = [await tokens.check(text) for text in texts]
    waits = [asyncio.create_task(tokens.wait_until_invalid(access)) for access in accesses for _ in range(3)]
    await asyncio.sleep(0)
    reads.clear()
    await store.revoke(accesses[0].token_id)
    await asyncio.gather(*waits[:3])

    assert all(len(ids) == 5 for ids in reads[:1])
    for wait in waits[3:]:
        wait.cancel()


async def test_waits_go_on_while_redis_is_away_and_end_after_it(stoppable_server, monkeypatch):
    async with skep.connect(stoppable_server.url) as cluster, RedisTokens(cluster._link) as tokens:
        store = TokenStore(cluster._link)
        record, text = await store.create(can=["run"])
        access = await tokens.check(text)
        wait = asyncio.create_task(tokens.wait_until_invalid(access))
        stoppable_server.kill()
        with pytest.raises(skep.RedisUnavailable):
            await tokens.check("skep_" + "0" * 12 + text[17:])
        await stoppable_server.start()
        assert not wait.done()
        await store.revoke(record.id)
        await wait


async def test_a_closed_checker_ends_its_waits(store, link):
    _, text = await store.create(can=["run"])
    async with RedisTokens(link) as tokens:
        access = await tokens.check(text)
        wait = asyncio.create_task(tokens.wait_until_invalid(access))
        await asyncio.sleep(0)

    await wait


async def test_a_token_is_asked_for_at_the_checker_that_accepted_it(store, tokens):
    class Nothing:
        async def check(self, text):
            return None

    record, text = await store.create(can=["run"])
    both = AnyOf({Kind.IDENTITY: Nothing(), Kind.TOKEN: tokens})
    access = await both.check(text)
    await store.revoke(record.id)

    await both.wait_until_invalid(access)
    assert await both.check("nothing") is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"can": ["root"]}, "can"), ({"can": []}, "can"), ({"tenant": "a/b"}, "tenant"), ({"tenant": ""}, "tenant"),
        ({"seconds": -5}, "expires"), ({"seconds": 0}, "expires"), ({"seconds": float("nan")}, "expires"),
        ({"seconds": 1e12}, "expires"), ({"name": "x" * 101}, "name"), ({"name": "a\nb"}, "name"), ({"name": 7}, "name"),
    ],
)  # fmt: skip
async def test_bad_input_is_refused_and_nothing_is_written(store, link, given, field):
    with pytest.raises(InvalidArgument) as caught:
        await store.create(**{"can": ["run"], **given})

    assert caught.value.field == field
    assert not [key async for key in link.redis.scan_iter(match=f"{link.settings.prefix}:token*")]
    assert not await store.has_any()


async def test_a_whole_token_in_the_place_of_an_id_is_not_shown(store):
    _, text = await store.create(can=["run"])

    with pytest.raises(InvalidArgument) as caught:
        await store.revoke(text)

    assert text[17:] not in str(caught.value)


async def test_a_shard_whose_tokens_are_listed_no_more_has_none(store, link):
    record, _ = await store.create(can=["run"])
    assert await store.has_any()

    await link.redis.delete(link.keys.token(record.id))

    assert not await store.has_any()


async def test_tokens_are_listed_and_revoked_by_tenant(store):
    acme, _ = await store.create(can=["run"], tenant="acme")
    beta, _ = await store.create(can=["run"], tenant="beta", seconds=60)
    assert await store.has_any()

    assert [record.id for record in await store.records()] == [beta.id, acme.id]
    assert await store.records("acme") == [acme]
    with pytest.raises(NotFound):
        await store.revoke(acme.id, "beta")
    revoked_at = await store.revoke(acme.id, "acme")
    [record] = await store.records("acme")
    assert (record.revoked_at, record.state(revoked_at)) == (revoked_at, "revoked")
