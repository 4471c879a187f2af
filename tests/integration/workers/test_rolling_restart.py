"""Every worker of a shard is replaced while services continue: no error, nothing lost, nothing run twice."""

import asyncio

import pytest

import skep

pytestmark = pytest.mark.anyio

WORKERS, SESSIONS, LEAST_CELLS = 3, 9, 5
AGENTS, TURNS = 6, 4
GRACE_SECONDS = 0.5  # some turns take longer, others don't
TURN = """
import time
seen = [*globals().get('seen', []), {turn}]
print('turn', {turn})
time.sleep({seconds})
seen
"""


async def test_clients_do_not_notice_a_rolling_restart(shard, start_worker):
    workers = [await start_worker() for _ in range(WORKERS)]
    is_over = asyncio.Event()

    async def count(session):
        outcomes = []
        while not is_over.is_set() or len(outcomes) < LEAST_CELLS:
            outcomes.append(await session.run("n = globals().get('n', 0) + 1\nn"))
        return outcomes

    sessions = [shard.session(f"s-{number}") for number in range(SESSIONS)]
    counting = [asyncio.create_task(count(session)) for session in sessions]
    for worker in workers:
        status, _ = await asyncio.gather(worker.stop(), start_worker())
        assert status == 0
    is_over.set()

    for outcomes in await asyncio.gather(*counting):
        assert [outcome.value for outcome in outcomes] == list(range(1, len(outcomes) + 1))
        assert {(outcome.status, outcome.attempt) for outcome in outcomes} == {(skep.CellStatus.FINISHED, 1)}
    for session in sessions:
        events = [event async for event in session.events()]
        assert [event.id for event in events] == [f"{number}-0" for number in range(1, len(events) + 1)]


async def test_more_sessions_than_slots_lose_nothing(shard, start_worker):
    for _ in range(2):
        await start_worker("--max-resident", "3")
    sessions = [shard.session(f"s-{number}") for number in range(30)]

    for wanted in (1, 2, 3):
        outcomes = await asyncio.gather(*(session.run("n = globals().get('n', 0) + 1\nn") for session in sessions))
        assert {(outcome.value, outcome.attempt) for outcome in outcomes} == {(wanted, 1)}


@pytest.mark.timeout(600)
async def test_agents_with_long_cells_continue_through_a_rolling_restart(shard, start_worker):
    grace = ("--grace-seconds", str(GRACE_SECONDS))
    workers = [await start_worker(*grace) for _ in range(WORKERS)]

    async def work(number):
        session, outcomes = shard.session(f"agent-{number}"), []
        for turn in range(TURNS):
            code = TURN.format(turn=turn, seconds=(number + turn) % 4 * GRACE_SECONDS / 2)
            outcomes.append(await session.run(code, max_attempts=WORKERS + 1))  # it may be on each worker in turn
        return outcomes

    working = [asyncio.create_task(work(number)) for number in range(AGENTS)]
    for worker in workers:
        status, _ = await asyncio.gather(worker.stop(), start_worker(*grace))
        assert status == 0

    for number, outcomes in enumerate(await asyncio.gather(*working)):
        assert [outcome.status for outcome in outcomes] == [skep.CellStatus.FINISHED] * TURNS
        assert [outcome.value for outcome in outcomes] == [list(range(turn + 1)) for turn in range(TURNS)]
        assert [outcome.text for outcome in outcomes] == [f"turn {turn}\n" for turn in range(TURNS)]
        events = [event async for event in shard.session(f"agent-{number}").events()]
        assert "error" not in {event.kind for event in events}
        reasons = {event.reason for event in events if event.kind == "cell.retried"}
        assert reasons <= {"worker shut down before it had ended"}
