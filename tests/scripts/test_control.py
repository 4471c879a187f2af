"""control.lua: requests reach the session's live owner, for the cell they mean."""

import pytest

from skep_shared.broker.script_replies import CellCommit, Controlled, ControlStatus, KeptRequest

pytestmark = pytest.mark.anyio


async def test_a_request_for_the_running_cell_reaches_the_owner(shard):
    await shard.submit("a")
    await shard.claim("w1")

    assert await shard.scripts.control("s", "interrupt") == Controlled(ControlStatus.OK)
    assert await shard.mail("w1") == [{"k": "interrupt", "s": "s", "q": "0"}]


async def test_a_request_for_a_named_cell_carries_its_number(shard):
    await shard.submit("a", "b")
    await shard.claim("w1")

    assert await shard.scripts.control("s", "cancel", cell_id="b") == Controlled(ControlStatus.OK)
    assert await shard.mail("w1") == [{"k": "cancel", "s": "s", "q": "2"}]


@pytest.mark.parametrize(("sid", "cell_id"), [("other", ""), ("other", "a"), ("s", "b")])
async def test_an_unknown_session_or_cell_is_reported(shard, sid, cell_id):
    await shard.submit("a")
    await shard.claim("w1")
    before = await shard.dump()

    assert await shard.scripts.control(sid, "interrupt", cell_id=cell_id) == Controlled(ControlStatus.UNKNOWN)
    assert await shard.dump() == before


async def test_without_an_owner_nothing_runs(shard):
    await shard.submit("a")
    before = await shard.dump()

    assert await shard.scripts.control("s", "interrupt") == Controlled(ControlStatus.IDLE)
    assert await shard.dump() == before


async def test_with_a_dead_owner_nothing_runs(shard):
    await shard.submit("a")
    await shard.claim("w1")
    await shard.kill("w1")
    before = await shard.dump()

    assert await shard.scripts.control("s", "interrupt") == Controlled(ControlStatus.IDLE)
    assert await shard.dump() == before


async def test_a_request_about_a_pending_cell_without_an_owner_is_kept_for_the_next_one(shard):
    await shard.submit("a", "b")
    await shard.claim("w1")
    await shard.kill("w1")
    await shard.drop_activations()

    answer = await shard.scripts.control("s", "interrupt", cell_id="a")
    assert answer == Controlled(ControlStatus.KEPT)
    assert "s" in await shard.waiting()
    again = await shard.scripts.control("s", "cancel", cell_id="b")
    assert again == Controlled(ControlStatus.KEPT)
    assert await shard.activations() == ["s"]

    assert (await shard.claim("w2")).requests == (KeptRequest(1, "interrupt"), KeptRequest(2, "cancel"))


async def test_a_request_that_the_owner_got_is_kept_for_one_after_it(shard):
    await shard.submit("a")
    await shard.claim("w1")

    for _ in range(2):
        await shard.scripts.control("s", "interrupt", cell_id="a")
    await shard.kill("w1")

    assert (await shard.claim("w2")).requests == (KeptRequest(1, "interrupt"),)


async def test_a_kept_request_is_forgotten_when_its_cell_has_committed(shard):
    await shard.submit("a", "b")
    claim = await shard.claim("w1")
    await shard.scripts.control("s", "interrupt", cell_id="a")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    assert (await shard.claim("w1", token="another")).requests == ()
    await shard.scripts.control("s", "cancel", cell_id="b")
    assert (await shard.session())["requests"] == " 2:cancel"


async def test_a_committed_cell_can_not_be_reached(shard):
    await shard.submit("a", "b")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    before = await shard.dump()

    assert await shard.scripts.control("s", "interrupt", cell_id="a") == Controlled(ControlStatus.IDLE)
    assert await shard.dump() == before


async def test_without_pending_cells_nothing_runs(shard):
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    before = await shard.dump()

    assert await shard.scripts.control("s", "interrupt") == Controlled(ControlStatus.IDLE)
    assert await shard.dump() == before


async def test_a_request_about_the_process_needs_no_running_cell(shard):
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))

    answer = await shard.scripts.control("s", "inspect", about="process")

    assert answer == Controlled(ControlStatus.OK)
    assert await shard.mail("w1") == [{"k": "inspect", "s": "s", "q": "0"}]


async def test_a_request_carries_its_fields(shard):
    await shard.submit("a")
    await shard.claim("w1")

    await shard.scripts.control("s", "answer", fields={"text": "é", "request": 3, "raw": b"x"})

    assert await shard.mail("w1") == [
        {"k": "answer", "s": "s", "q": "0", "text": "é", "request": "3", "raw": "x"},
    ]


@pytest.mark.parametrize("owned", [False, True], ids=["no owner", "dead owner"])
async def test_a_request_about_the_process_of_an_absent_session_wants_an_activation(shard, owned):
    await shard.submit("a")
    if owned:
        await shard.claim("w1")
        await shard.kill("w1")
    await shard.redis.delete(shard.keys.waiting)
    await shard.drop_activations()

    answer = await shard.scripts.control("s", "inspect", about="process")

    assert answer == Controlled(ControlStatus.ABSENT)
    assert await shard.activations() == ["s"]
    assert list(await shard.waiting()) == ["s"]
    assert await shard.mail("w1") == []


async def test_a_session_that_waits_already_is_not_activated_again(shard):
    await shard.submit("a")
    before = await shard.dump()

    assert await shard.scripts.control("s", "inspect", about="process") == Controlled(ControlStatus.ABSENT)
    assert await shard.dump() == before


async def test_a_closed_session_is_not_activated(shard):
    await shard.submit("a")
    claim = await shard.claim("w1")
    await shard.commit(claim, CellCommit("a", 1, (b"e",)))
    await shard.scripts.release(claim, "w1")
    await shard.scripts.close("s")
    before = await shard.dump()

    assert await shard.scripts.control("s", "inspect", about="process") == Controlled(ControlStatus.IDLE)
    assert await shard.dump() == before


async def test_a_request_about_the_residency_needs_an_existing_owner(shard):
    await shard.submit("a")
    before = await shard.dump()
    assert await shard.scripts.control("s", "operate", about="residency") == Controlled(ControlStatus.IDLE)
    assert await shard.dump() == before

    await shard.claim("w1")
    sent = await shard.scripts.control("s", "operate", about="residency")
    assert (sent.status, sent.owner) == (ControlStatus.OK, "w1")
    assert [mail["k"] for mail in await shard.mail("w1")] == ["operate"]
