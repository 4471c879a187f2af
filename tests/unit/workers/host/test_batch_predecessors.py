"""How the cell before one in its batch has ended: known here, or looked up, and never for nothing."""

import msgpack
import pytest

from skep_shared.broker.keys import Keys
from skep_workers.host.residency.cells.batch_predecessors import BatchFailure, Predecessors

pytestmark = pytest.mark.anyio


class Stored:
    """A session's cell ids and last events, as Redis has them; `asked` is what was read."""

    def __init__(self, ids, events=()):
        self.ids, self.events = ids, dict(events)
        self.asked = []

    async def execute_command(self, name, key, *args):
        self.asked.append((name, args[0]))
        if name == "HGET":
            return self.ids.get(args[0])
        event = self.events.get(args[0])
        return [] if event is None else [(args[0].encode(), [b"e", event])]


def end(status, **fields):
    return msgpack.packb({"kind": "cell.finished", "status": status, **fields})


def knower(stored):
    woken = []
    return Predecessors(stored, Keys("t"), "s", lambda: woken.append(1)), woken


async def find(stored, cell_id, *, before=9, cursor=8):
    """Return what is found about a cell, once it has been looked up."""
    predecessors, woken = knower(stored)
    assert not predecessors.has_ended(cell_id, before=before, cursor=cursor)
    assert woken
    assert await predecessors.look_up()
    assert predecessors.has_ended(cell_id, before=before, cursor=cursor)
    return predecessors.failure_of(cell_id)


async def test_the_latest_cell_that_ended_here_is_not_looked_up():
    predecessors, woken = knower(Stored({}))
    for status, failure in (("finished", None), ("failed", BatchFailure("a", "failed"))):
        predecessors.record_end("a", status)
        assert predecessors.has_ended("a", before=2, cursor=0)
        assert predecessors.failure_of("a") == failure
    assert not woken
    assert not await predecessors.look_up()


async def test_a_cell_that_was_cancelled_for_a_failure_passes_the_failure_on():
    predecessors, _ = knower(Stored({}))
    cause = BatchFailure("a", "timed out")
    predecessors.record_end("b", "cancelled", cause)

    assert predecessors.failure_of("b") is cause


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("finished", None), ("failed", "failed"), ("interrupted", "was interrupted"), ("timed_out", "timed out"),
        ("crashed", "crashed"), ("lost", "was lost with its worker"), ("cancelled", "was cancelled"),
        ("of a newer version", "has no outcome that is kept"),
    ],
)  # fmt: skip
async def test_the_last_event_of_a_cell_shows_how_it_has_ended(status, word):
    stored = Stored({"a": b"d:3:7:9"}, {"9-0": end(status)})

    assert await find(stored, "a") == (BatchFailure("a", word) if word else None)
    assert stored.asked == [("HGET", "a"), ("XRANGE", "9-0")]


async def test_a_cancelled_cell_names_the_failed_cell_and_its_status():
    stored = Stored(
        {"a": b"d:1:1:4", "b": b"d:2:5:7"}, {"4-0": end("timed_out"), "7-0": end("cancelled", stopped_by="a")}
    )

    assert await find(stored, "b") == BatchFailure("a", "timed out")


async def test_a_failed_cell_is_named_even_if_its_own_events_are_removed():
    stored = Stored({"a": b"d:1:1:4", "b": b"d:2:5:7"}, {"7-0": end("cancelled", stopped_by="a")})

    assert await find(stored, "b") == BatchFailure("a", "did not succeed")


@pytest.mark.parametrize(
    ("entry", "event"),
    [(None, None), (b"d:3:7:9", None), (b"d:3:7:9", b"\xc1"), (b"d:3:7:9", b"\x05"), (b"nonsense", None), (b"p:8:", None), (b"p:9:", None), (b"p:12:c1,c2", None)],
    ids=repr,
)  # fmt: skip
async def test_an_unknown_outcome_counts_as_a_failure(entry, event):
    stored = Stored({"a": entry} if entry else {}, {"9-0": event} if event else {})

    assert await find(stored, "a") == BatchFailure("a", "has no outcome that is kept")


async def test_a_cell_that_has_not_committed_is_looked_up_again_when_it_has():
    stored = Stored({"a": b"p:3:c1"}, {"9-0": end("failed")})
    predecessors, woken = knower(stored)
    assert not predecessors.has_ended("a", before=9, cursor=2)
    assert await predecessors.look_up()

    assert not predecessors.has_ended("a", before=9, cursor=2)
    assert len(woken) == 1
    stored.ids["a"] = b"d:3:7:9"
    assert not predecessors.has_ended("a", before=9, cursor=3)
    assert await predecessors.look_up()
    assert predecessors.has_ended("a", before=9, cursor=3)
    assert predecessors.failure_of("a") == BatchFailure("a", "failed")


async def test_a_cell_that_is_being_looked_up_is_not_looked_up_twice():
    predecessors, woken = knower(Stored({"a": b"d:3:7:9"}, {"9-0": end("finished")}))
    for _ in range(3):
        assert not predecessors.has_ended("a", before=9, cursor=8)
    assert len(woken) == 1
