"""Twenty sessions, fifty cells each, from three client processes at random, on two workers: what every reader sees."""

import asyncio
import json
import random
import secrets
import sys
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise, product
from typing import Any

import pytest

import skep

from . import oracle_client

pytestmark = pytest.mark.anyio

SESSIONS, CELLS, CLIENTS = 20, 50, 3


@dataclass(frozen=True)
class Run:
    """What was asked for, what the clients were told, and what is stored."""

    cluster: skep.EmbeddedCluster
    told: dict[str, list[dict[str, Any]]]  # by session, in seq order
    events: dict[str, list[skep.Event]]


@pytest.fixture(scope="module")
async def run():
    """The run that all tests of this module look at."""
    seed = secrets.randbits(32)
    shuffled = random.Random(seed)
    sessions = [f"oracle-{seed}-{number}" for number in range(SESSIONS)]
    plan = [(session_id, f"{session_id}/{number}") for session_id, number in product(sessions, range(CELLS))]
    shuffled.shuffle(plan)
    # Room for half of the sessions each, so that both workers take part.
    async with skep.embedded(workers=2, worker_flags=("--max-resident", str(SESSIONS // 2))) as cluster:
        shares = [plan[first::CLIENTS] for first in range(CLIENTS)]
        replies = await asyncio.gather(*[_run_client(cluster.redis_url, share) for share in shares])
        told: dict[str, list[dict[str, Any]]] = {session_id: [] for session_id in sessions}
        for line in "".join(replies).splitlines():
            reply = json.loads(line)
            told[reply["session_id"]].append(reply)
        for replies_of_session in told.values():
            replies_of_session.sort(key=lambda reply: reply["seq"])
        events = {}
        for session_id in sessions:
            events[session_id] = [event async for event in cluster.session(session_id).events()]
        yield Run(cluster, told, events)


async def _run_client(url: str, share: list[tuple[str, str]]) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, oracle_client.__file__, url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(json.dumps(share).encode())
    assert process.returncode == 0
    return out.decode()


async def test_every_cell_finishes(run):
    replies = [reply for replies in run.told.values() for reply in replies]

    assert len(replies) == SESSIONS * CELLS
    assert {reply["status"] for reply in replies} == {"finished"}


async def test_both_workers_had_sessions(run):
    owners = {event.worker_id for events in run.events.values() for event in events if event.kind == "session.started"}

    assert owners == {process.worker_id for process in run.cluster.worker_processes}


async def test_cells_take_effect_in_seq_order_once_each(run):
    for replies in run.told.values():
        assert [reply["seq"] for reply in replies] == list(range(1, CELLS + 1))
        chain = ""
        for count, reply in enumerate(replies, start=1):
            chain = sha256((chain + reply["cell_id"]).encode()).hexdigest()
            assert reply["value"] == [count, chain]


async def test_event_ids_are_dense_from_1(run):
    for events in run.events.values():
        assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]


async def test_a_replay_from_every_id_yields_the_same_suffix(run):
    for session_id in list(run.events)[:1]:
        session, events = run.cluster.session(session_id), run.events[session_id]
        for number, after in enumerate(["0-0", *(event.id for event in events)]):
            assert [event async for event in session.events(after)] == events[number:]


async def test_following_from_any_id_yields_the_same_suffix(run):
    for session_id, events in run.events.items():
        number = random.randrange(len(events))
        followed = run.cluster.session(session_id).events(events[number].id, follow=True)
        for expected in events[number + 1 :]:
            assert await anext(followed) == expected
        await followed.aclose()


async def test_the_epoch_of_a_session_s_events_never_decreases(run):
    for session_id, events in run.events.items():
        info = await run.cluster.session(session_id).info()
        epochs = [event.epoch for event in events]
        assert epochs == sorted(epochs)
        assert epochs[-1] <= info.epoch


async def test_each_cell_has_one_terminal_event(run):
    for session_id, events in run.events.items():
        finished = [event.cell_id for event in events if event.kind == "cell.finished"]
        assert finished == [reply["cell_id"] for reply in run.told[session_id]]


async def test_a_cell_s_events_stand_together_in_the_order_of_its_life(run):
    ranks = {"cell.queued": 0, "cell.started": 1, "output": 2, "result": 3, "cell.finished": 4}
    for events in run.events.values():
        of_cells = [event for event in events if event.cell_id is not None]
        for before, after in pairwise(of_cells):
            if before.cell_id == after.cell_id:
                assert ranks[before.kind] <= ranks[after.kind]
            else:
                assert (before.kind, after.kind) == ("cell.finished", "cell.queued")


async def test_output_of_each_cell_is_complete_and_in_order(run):
    for session_id, events in run.events.items():
        for reply in run.told[session_id]:
            expected = oracle_client.expected_text(reply["cell_id"])
            stored = [event.text for event in events if event.kind == "output" and event.cell_id == reply["cell_id"]]
            assert reply["text"] == "".join(stored) == expected


async def test_a_later_client_gets_the_same_outcome(run):
    async with skep.connect(run.cluster.redis_url) as later:
        for session_id, replies in run.told.items():
            cells = [later.cell(session_id, reply["cell_id"]) for reply in replies]
            outcomes = await asyncio.gather(*[cell.outcome() for cell in cells])
            for reply, outcome in zip(replies, outcomes, strict=True):
                assert (outcome.seq, list(outcome.value), outcome.text) == (reply["seq"], reply["value"], reply["text"])
                assert outcome.status == reply["status"]


async def test_a_later_client_reads_the_same_events_of_every_cell(run):
    async with skep.connect(run.cluster.redis_url) as later:
        for session_id, events in run.events.items():
            for reply in run.told[session_id]:
                of_cell = [event for event in events if event.cell_id == reply["cell_id"]]
                assert [event async for event in later.cell(session_id, reply["cell_id"]).events()] == of_cell
