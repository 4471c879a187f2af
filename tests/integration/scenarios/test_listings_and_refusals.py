"""Scenarios: what is known of sessions and workers, bad arguments, and things that are not there."""

import pytest

import skep
from skep_shared.limits import MAX_CODE_BYTES

pytestmark = pytest.mark.anyio


async def test_info_counts_cells(client, s):
    await client.run(s, "1")
    await client.run(s, "2")
    info = await client.session_call(s, "info")

    assert (info.id, info.seq, info.pending) == (s, 2, 0)


async def test_info_of_an_unknown_session_raises(client, s):
    with pytest.raises(skep.NotFound, match=s):
        await client.session_call(s, "info")


async def test_sessions_are_listed(client, s):
    await client.run(s, "1")
    await client.run(f"{s}-b", "1")

    assert [info.id for info in await client.sessions() if info.id.startswith(s)] == [s, f"{s}-b"]


async def test_workers_are_listed(client):
    assert len({worker.id for worker in await client.workers()}) == 2


async def test_why_names_no_reason_for_a_session_that_is_idle(client, s):
    await client.run(s, "1")

    assert (await client.why(s)).reasons == ["no cell is pending"]


async def test_why_of_an_unknown_session_raises(client, s):
    with pytest.raises(skep.NotFound, match=s):
        await client.why(s)


async def test_the_options_of_a_session_hold(client, s):
    await client.submit(s, "1", options=skep.SessionOptions(durability="none"), cell_id="c")

    assert (await client.outcome(s, "c")).checkpoint is None


async def test_an_unknown_cell_has_no_outcome(client, s):
    await client.run(s, "1")
    with pytest.raises(skep.NotFound, match="missing"):
        await client.outcome(s, "missing")


async def test_an_unknown_cell_has_no_events(client, s):
    await client.run(s, "1")
    with pytest.raises(skep.NotFound, match="missing"):
        await client.cell_events(s, "missing")


REFUSED = {
    "an empty session id": (lambda client, _: client.run("", "1"), "session_id"),
    "a long session id": (lambda client, _: client.run("x" * 5000, "1"), "session_id"),
    "an empty cell id": (lambda client, s: client.submit(s, "1", cell_id=""), "cell_id"),
    "code that is no text": (lambda client, s: client.submit(s, 5), "code"),
    "too much code": (lambda client, s: client.submit(s, "#" * (MAX_CODE_BYTES + 1)), "code"),
    "far too much code": (lambda client, s: client.submit(s, "#" * 50_000_000), "code"),
    "a negative timeout": (lambda client, s: client.submit(s, "1", timeout=-1), "timeout"),
    "no attempts": (lambda client, s: client.submit(s, "1", max_attempts=0), "max_attempts"),
    "an unknown policy": (lambda client, s: client.submit(s, "1", on_worker_loss="x"), "on_worker_loss"),
    "an unknown option": (lambda client, s: client.submit(s, "1", colour="red"), "colour"),
    "an input that is no name": (lambda client, s: client.submit(s, "1", inputs={"a b": 1}), "inputs"),
    "labels that are no text": (lambda client, s: client.submit(s, "1", labels={"a": 1}), "labels"),
    "an empty batch": (lambda client, s: client.submit_many(s, []), "cells"),
    "a large batch": (lambda client, s: client.submit_many(s, ["1"] * 1001), "cells"),
    "a negative delay": (lambda client, s: client.submit(s, "1", defer_by=-1), "defer_by"),
}


@pytest.mark.parametrize(("call", "field"), REFUSED.values(), ids=REFUSED)
async def test_a_bad_argument_is_refused_and_nothing_is_written(client, s, call, field):
    with pytest.raises(skep.InvalidArgument, match=field):
        await call(client, s)
    with pytest.raises(skep.NotFound):
        await client.session_call(s, "info")
