"""The events of a session are written to Redis in order, in writes of a bounded size."""

import asyncio
from dataclasses import replace

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from skep_shared.broker.script_replies import Claim
from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT
from skep_shared.chunks.stored_manifest import StoredManifest
from skep_shared.settings import WorkerSettings
from skep_workers.host.checkpoint.writer import SavedState
from skep_workers.host.residency.event_queue import MAX_EMIT_BYTES, MAX_EMIT_EVENTS, EndedCell
from skep_workers.host.residency.journal import Journal

pytestmark = pytest.mark.anyio

CLAIM = Claim("s", "token", 1, 0, 0, 0, 0, "", False, b"", 0)


class Scripts:
    """Records what is emitted."""

    def __init__(self):
        self.emitted = []

    async def emit(self, claim, first_event, events, *, said=""):
        self.emitted.append(list(events))
        return first_event + len(events) - 1


async def emitted(events, ignoring):
    """Return what a journal writes for these events, write by write."""
    scripts = Scripts()
    journal = Journal(scripts, CLAIM, WorkerSettings.load(prefix="t"), ignoring)
    running = asyncio.create_task(journal.run())
    for event in events:
        journal.add(event)
    async with asyncio.timeout(10):
        await journal.written()
    running.cancel()
    return scripts.emitted


async def test_no_write_is_larger_than_the_limit(ignoring):
    events = [bytes([number]) * (MAX_EMIT_BYTES // 3) for number in range(10)]
    written = await emitted(events, ignoring)

    assert [event for write in written for event in write] == events
    assert max(sum(map(len, write)) for write in written) <= MAX_EMIT_BYTES


async def test_an_event_over_the_limit_is_written_alone(ignoring):
    events = [b"a", b"b" * (MAX_EMIT_BYTES + 1), b"c"]

    assert await emitted(events, ignoring) == [[b"a"], [events[1]], [b"c"]]


async def test_no_write_has_more_events_than_the_limit(ignoring):
    written = await emitted([b"x"] * (2 * MAX_EMIT_EVENTS + 1), ignoring)

    assert [len(write) for write in written] == [MAX_EMIT_EVENTS, MAX_EMIT_EVENTS, 1]


class Starts(Scripts):
    """Answers with `answer` what is sent ahead, and records what is awaited."""

    def __init__(self, answer):
        super().__init__()
        self._answer = answer
        self.posted, self.awaited = [], asyncio.Queue()

    def post_begin(self, claim, seq):
        self.posted.append(seq)
        if self._answer is None:
            return None
        reply = asyncio.get_running_loop().create_future()
        if isinstance(self._answer, Exception):
            reply.set_exception(self._answer)
        else:
            reply.set_result(self._answer)
        return reply

    async def begin(self, claim, seq):
        await self.awaited.put(seq)
        return seq


@pytest.mark.parametrize(
    "answer", [None, RedisConnectionError("lost"), NoScriptError("flushed"), [b"FENCED", 2]], ids=str
)
async def test_the_start_of_a_cell_is_recorded_again_and_awaited_if_sending_it_ahead_has_failed(answer, ignoring):
    scripts = Starts(answer)
    journal = Journal(scripts, CLAIM, WorkerSettings.load(prefix="t"), ignoring)
    running = asyncio.create_task(journal.run())
    await asyncio.sleep(0)  # it runs: before that nothing is written
    journal.begin(1)

    async with asyncio.timeout(10):
        assert await scripts.awaited.get() == 1
    assert scripts.posted == [1]
    running.cancel()


async def test_the_start_of_a_cell_is_sent_once(ignoring):
    scripts = Starts([b"OK"])
    journal = Journal(scripts, CLAIM, WorkerSettings.load(prefix="t"), ignoring)
    running = asyncio.create_task(journal.run())
    await asyncio.sleep(0)
    journal.begin(1)
    journal.begin(1)
    journal.add(b"event")
    async with asyncio.timeout(10):
        await journal.written()

    assert (scripts.posted, scripts.awaited.empty()) == ([1], True)
    running.cancel()


class Sequence(Scripts):
    """Records the order of all writes."""

    def __init__(self):
        super().__init__()
        self.writes = []

    async def emit(self, claim, first_event, events, *, said=""):
        self.writes.append(("emit", first_event, len(events)))

    async def commit(self, claim, *, first_event, cells, **_options):
        self.writes.append(("commit", first_event, sum(len(cell.events) for cell in cells)))

    async def save(self, claim, checkpoint, *_state, **_options):
        self.writes.append(("save", str(checkpoint)))


async def test_a_checkpoint_with_a_new_file_does_not_let_output_overtake_the_commit_before_it(ignoring):
    """A cell that has ended waits for the next one's end, to commit with it, while a file is put into the session."""
    scripts = Sequence()
    journal = Journal(scripts, replace(CLAIM, head=NO_CHECKPOINT), WorkerSettings.load(prefix="t"), ignoring)
    running = asyncio.create_task(journal.run())
    await asyncio.sleep(0)
    journal.add_first(1, b"queued")
    journal.end_cell(EndedCell("a", 1, lambda *_: b"finished", needs_saving=False, is_followed=True))
    journal.add(b"output of the next cell")

    async def make_state():
        return SavedState(1, StoredManifest(b"manifest", [], {}), kind="last", part=1)

    async with asyncio.timeout(10):
        await journal.amend(make_state)
        await journal.written()
    running.cancel()

    assert scripts.writes == [("commit", 1, 2), ("save", "1-1"), ("emit", 3, 1)]


class Commits(Scripts):
    """Records the events of every write, and the number of each cell's first event."""

    def __init__(self):
        super().__init__()
        self.writes = []
        self.first_events = {}
        self.has_committed = asyncio.Event()

    async def emit(self, claim, first_event, events, *, said=""):
        self.writes.append(list(events))

    async def commit(self, claim, *, first_event, cells, **_options):
        self.writes.append([event for cell in cells for event in cell.events])
        self.first_events |= {cell.cell_id: cell.first_event for cell in cells}
        self.has_committed.set()


def end(journal, seq):
    """End a cell that waits for its checkpoint."""
    journal.end_cell(EndedCell(f"cell-{seq}", seq, lambda *_: b"end of %d" % seq))


async def test_what_is_reported_about_a_checkpoint_is_written_with_the_commit_that_it_belongs_to(ignoring):
    """Its worker may die before the next write."""
    scripts = Commits()
    journal = Journal(scripts, replace(CLAIM, head=NO_CHECKPOINT), WorkerSettings.load(prefix="t"), ignoring)
    running = asyncio.create_task(journal.run())
    for seq in (1, 2, 3):
        journal.add_first(seq, b"start of %d" % seq)
        end(journal, seq)
    journal.add_first(4, b"start of 4")
    journal.saved(SavedState(1, failure="full"), [b"report of 1"])
    journal.saved(SavedState(2, failure="full"), [b"report of 2"])
    async with asyncio.timeout(10):
        await scripts.has_committed.wait()
        journal.saved(SavedState(3))
        end(journal, 4)
        journal.saved(SavedState(4))
        await journal.written()
    running.cancel()

    assert scripts.writes == [
        [b"start of 1", b"report of 1", b"end of 1", b"start of 2", b"report of 2", b"end of 2"],
        [b"start of 3", b"end of 3", b"start of 4", b"end of 4"],
    ]
    written = [event for write in scripts.writes for event in write]
    assert scripts.first_events == {f"cell-{seq}": 1 + written.index(b"start of %d" % seq) for seq in (1, 2, 3, 4)}
    assert journal.last_event == journal.last_written == len(written)


async def test_a_cell_whose_end_was_undone_keeps_its_first_event_when_one_before_it_is_reported_on(ignoring):
    """Its first event comes before the end of the cell before it then."""
    scripts = Commits()
    journal = Journal(scripts, replace(CLAIM, head=NO_CHECKPOINT), WorkerSettings.load(prefix="t"), ignoring)
    for seq in (1, 2):
        journal.add_first(seq, b"start of %d" % seq)
        end(journal, seq)
    journal.reopen(lambda seq: b"retry of %d" % seq)
    end(journal, 1)
    journal.saved(SavedState(1, failure="full"), [b"report of 1"])
    journal.add(b"output of 2")
    end(journal, 2)
    journal.saved(SavedState(2))
    running = asyncio.create_task(journal.run())
    async with asyncio.timeout(10):
        await journal.written()
    running.cancel()

    [written] = scripts.writes
    assert written == [
        b"start of 1", b"retry of 1", b"start of 2", b"retry of 2", b"report of 1", b"end of 1",
        b"output of 2", b"end of 2",
    ]  # fmt: skip
    assert scripts.first_events == {"cell-1": 1, "cell-2": 3}
