"""What the scripts do with signatures: they keep them, and refuse a sender whose key the owner doesn't have."""

import pytest

from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.script_replies import Closed, Controlled, ControlStatus, ForkSource, ForkStatus
from skep_shared.broker.signatures import is_kept_request_signed, open_manifest
from skep_shared.broker.worker_scripts import WorkerScripts
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.errors import SignatureRefused
from skep_shared.signing import Signer, unsealed

from .conftest import LEASE_MS, Shard

pytestmark = pytest.mark.anyio

KEY, OLDER, OTHER = "k" * 32, "o" * 32, "x" * 32


def scripts_with(shard: Shard, *keys: str) -> ClientScripts:
    """Return the scripts of a client that signs with the first of these keys."""
    return ClientScripts(shard.redis, shard.keys, Signer(keys, shard.keys.prefix) if keys else None)


async def owned_with_keys(shard: Shard, *keys: str):
    """Make a worker with these keys the owner of a session with one cell."""
    await shard.submit("a")
    claim = await shard.claim("w1")
    worker = WorkerScripts(shard.redis, shard.keys, Signer(keys, shard.keys.prefix))
    await worker.heartbeat("w1", LEASE_MS, b"facts", patience_ms=LEASE_MS)
    return claim


@pytest.mark.parametrize("other_keys", [(), (OTHER,)], ids=["no key", "another key"])
async def test_a_request_that_its_owner_would_refuse_writes_nothing(shard: Shard, other_keys):
    await owned_with_keys(shard, KEY, OLDER)
    before = await shard.dump()
    client = scripts_with(shard, *other_keys)

    assert await client.control("s", "interrupt", cell_id="a") == Controlled(ControlStatus.UNSIGNED)
    assert await client.control("s", "operate", about="process") == Controlled(ControlStatus.UNSIGNED)
    assert await client.close("s") == Closed("UNSIGNED")
    assert await shard.dump() == before


@pytest.mark.parametrize("key", [KEY, OLDER])
async def test_a_request_by_any_of_the_owner_s_keys_reaches_it(shard: Shard, key):
    await owned_with_keys(shard, KEY, OLDER)
    client = scripts_with(shard, key)

    assert await client.control("s", "interrupt", cell_id="a") == Controlled(ControlStatus.OK)
    assert await client.close("s") == Closed("CLOSING", 0)
    [(_, interrupt), (_, close)] = (await shard.redis.xrange(shard.keys.mailbox("w1")))[-2:]
    signer = Signer([key], shard.keys.prefix)
    assert interrupt[b"i"] == b"a"
    signer.check_text("close", "s", "", b"", close[b"z"].decode())
    assert (await shard.session())["closed_by"] == close[b"z"].decode()


async def test_a_request_that_is_kept_for_the_next_owner_keeps_its_signature(shard: Shard):
    await shard.submit("a", "b")
    client = scripts_with(shard, KEY)
    await client.control("s", "interrupt", cell_id="a")
    await shard.scripts.control("s", "cancel", cell_id="b")
    await client.control("s", "cancel", cell_id="a")

    first, second, third = (await shard.claim("w1")).requests
    signer = Signer([KEY], shard.keys.prefix)
    assert [(each.seq, each.kind) for each in (first, second, third)] == [
        (1, "interrupt"),
        (2, "cancel"),
        (1, "cancel"),
    ]
    assert is_kept_request_signed(signer, "s", "interrupt", "a", first.signature)
    assert not is_kept_request_signed(signer, "s", "cancel", "b", second.signature)
    assert is_kept_request_signed(signer, "s", "cancel", "a", third.signature)
    assert not is_kept_request_signed(signer, "s", "cancel", "a", first.signature)


async def test_forks_have_manifests_that_are_signed_for_each_of_them(shard: Shard):
    await shard.save("a")
    source = ForkSource("s", int((await shard.session())["created_at"]), CheckpointId(1))

    assert await scripts_with(shard, KEY).fork(source, ["f", "g"], b"manifest", "t") == (ForkStatus.OK, [])
    signer = Signer([KEY], shard.keys.prefix)
    for new_id, other in (("f", "g"), ("g", "f")):
        [(_, fields)] = await shard.redis.xrange(shard.keys.checkpoints(new_id))
        assert open_manifest(signer, new_id, CheckpointId(1), fields[b"m"]) == b"manifest"
        assert unsealed(fields[b"m"]) == b"manifest"
        with pytest.raises(SignatureRefused):
            open_manifest(signer, other, CheckpointId(1), fields[b"m"])


async def test_the_signature_of_a_name_goes_with_the_name(shard: Shard):
    await shard.save("a")
    client, signer = scripts_with(shard, KEY), Signer([KEY], shard.keys.prefix)
    await client.name("s", CheckpointId(1), "good")
    signer.check_text("name", "s", "good", b"1-0", (await shard.session())["name:good"])

    await client.name("s", CheckpointId(1), "better")
    assert "name:good" not in await shard.session()
    await client.name("s", CheckpointId(1), "")
    assert "name:better" not in await shard.session()


async def test_a_session_whose_close_is_refused_is_open_again(shard: Shard):
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.scripts.close("s")

    assert await shard.scripts.reopen(claim) is True
    assert (await shard.session())["state"] == "open"
    assert await shard.scripts.reopen(claim) is False


async def test_commits_and_saves_seal_their_manifests(shard: Shard):
    shard.scripts.signer = signer = Signer([KEY], shard.keys.prefix)
    claim = await shard.save("a", "b")
    found = {entry: fields[b"m"] for entry, fields in await shard.redis.xrange(shard.keys.checkpoints("s"))}

    assert found.keys() == {b"1-0", b"2-0"}
    for entry, stored in found.items():
        assert open_manifest(signer, claim.session_id, CheckpointId.parse(entry), stored)
