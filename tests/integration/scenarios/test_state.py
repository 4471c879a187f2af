"""Scenarios: checkpoints, rollback, forks, files, hibernation and the end of sessions."""

import pytest

import skep

pytestmark = pytest.mark.anyio


async def test_each_cell_has_a_checkpoint(client, s):
    await client.run(s, "x = 1")
    outcome = await client.run(s, "y = 2")
    found = await client.checkpoints(s)

    assert [(each.seq, each.is_head) for each in found][-1] == (2, True)
    assert (found[-1].id, found[-1].names) == (outcome.checkpoint, ("x", "y"))


async def test_a_rollback_restores_an_earlier_state(client, s):
    checkpoint = (await client.run(s, "x = 1")).checkpoint
    await client.run(s, "x = 2")
    await client.session_call(s, "rollback", checkpoint)

    assert (await client.run(s, "x")).value == 1


async def test_a_named_checkpoint_is_found_by_its_name(client, s):
    checkpoint = (await client.run(s, "x = 1")).checkpoint
    await client.session_call(s, "name_checkpoint", checkpoint, "good")
    await client.run(s, "x = 2")
    await client.session_call(s, "rollback", "good")

    assert (await client.run(s, "x")).value == 1
    assert "good" in {each.name for each in await client.checkpoints(s)}


async def test_a_rollback_to_an_unknown_checkpoint_raises(client, s):
    await client.run(s, "1")
    with pytest.raises(skep.OperationFailed, match="99-0"):
        await client.session_call(s, "rollback", "99-0")


async def test_a_bad_checkpoint_id_is_refused(client, s):
    await client.run(s, "1")
    with pytest.raises((skep.InvalidArgument, skep.NotFound), match="checkpoint"):
        await client.session_call(s, "name_checkpoint", "x", "name")


async def test_forks_are_independent(client, s):
    await client.run(s, "x = [1]")
    forks = await client.fork(s, [f"{s}-a", f"{s}-b"])
    await client.run(forks[0], "x.append(2)")

    assert forks == [f"{s}-a", f"{s}-b"]
    assert [(await client.run(each, "x")).value for each in (s, *forks)] == [[1], [1, 2], [1]]


async def test_a_fork_at_a_checkpoint_has_its_state(client, s):
    checkpoint = (await client.run(s, "x = 1")).checkpoint
    await client.run(s, "x = 2")
    await client.fork(s, [f"{s}-a"], at=checkpoint)

    assert (await client.run(f"{s}-a", "x")).value == 1


async def test_a_fork_to_an_id_that_is_taken_is_refused(client, s):
    await client.run(s, "1")
    await client.run(f"{s}-a", "1")
    with pytest.raises(skep.InvalidArgument, match="exists already"):
        await client.fork(s, [f"{s}-a"])


async def test_a_fork_of_an_unknown_session_raises(client, s):
    with pytest.raises(skep.NotFound, match=s):
        await client.fork(s, [f"{s}-a"])


async def test_files_are_put_read_listed_and_removed(client, s):
    await client.files_call(s, "put", "data/table.csv", b"a,b\n")

    assert (await client.run(s, "open('data/table.csv').read()")).value == "a,b\n"
    assert await client.files_call(s, "get", "data/table.csv") == b"a,b\n"
    assert [(each.path, each.bytes) for each in await client.files_call(s, "list")] == [("data/table.csv", 4)]
    await client.files_call(s, "remove", "data/table.csv")
    assert await client.files_call(s, "list") == []


async def test_a_large_file_arrives_whole(client, s):
    data = bytes(range(256)) * 10_000
    await client.files_call(s, "put", "large", data)

    assert await client.files_call(s, "get", "large") == data


async def test_a_missing_file_raises(client, s):
    await client.run(s, "1")
    with pytest.raises(skep.NotFound, match="missing"):
        await client.files_call(s, "get", "missing")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "", "a//b"])
async def test_a_path_outside_of_the_session_is_refused(client, s, path):
    with pytest.raises(skep.InvalidArgument, match="path"):
        await client.files_call(s, "put", path, b"")


async def test_a_hibernated_session_is_restored_by_its_next_cell(client, s):
    await client.run(s, "x = 1")
    await client.session_call(s, "hibernate")

    assert (await client.session_call(s, "info")).owner is None
    assert (await client.run(s, "x")).value == 1


async def test_a_closed_session_takes_no_more_cells(client, s):
    await client.run(s, "1")
    await client.session_call(s, "close")

    assert (await client.session_call(s, "info")).state == "closed"
    with pytest.raises(skep.SessionClosed, match=s):
        await client.run(s, "2")


async def test_closing_interrupts_the_running_cell_and_cancels_the_others(client, s):
    cells = [await client.submit(s, code) for code in ("input()", "2")]
    await client.follow(s, until="input.requested")
    await client.session_call(s, "close")

    assert [(await client.outcome(s, cell)).status for cell in cells] == ["interrupted", "cancelled"]


async def test_a_purged_session_leaves_no_events(client, s):
    await client.run(s, "1")
    await client.session_call(s, "close", purge=True)

    assert await client.events(s) == []


async def test_a_purged_session_is_unknown(client, s):
    await client.run(s, "1")
    await client.session_call(s, "close", purge=True)

    with pytest.raises(skep.NotFound, match=s):
        await client.session_call(s, "info")


async def test_an_unknown_session_can_t_be_closed(client, s):
    with pytest.raises(skep.NotFound, match=s):
        await client.session_call(s, "close")
