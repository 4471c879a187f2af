"""A session is idle when nothing of it works: with busy tasks, threads or child processes it keeps its process for longer."""

import contextlib

import pytest

import skep

pytestmark = pytest.mark.anyio

IDLE = ("--idle-seconds", "0.5")
WORKS = {
    "task": "import asyncio\nasync def work():\n    for n in range(9):\n        await asyncio.sleep(0.3); print(n, flush=True)\ntask = asyncio.create_task(work())",
    "thread": "import threading, time\ndef work():\n    for n in range(9):\n        time.sleep(0.3); print(n, flush=True)\nthreading.Thread(target=work).start()",
    "child": "import subprocess\np = subprocess.Popen('for n in 0 1 2 3 4 5 6 7 8; do sleep 0.3; echo $n; done', shell=True)",
}  # fmt: skip


async def kinds(session, until):
    """Return the kinds of the session's events, with the text of output, until one of this kind comes."""
    found = []
    async with contextlib.aclosing(session.events(follow=True)) as events:
        async for event in events:
            found += event.text.split() if event.kind == "output" else [event.kind]
            if event.kind == until:
                return found, event
    raise AssertionError(found)


@pytest.mark.parametrize("code", WORKS.values(), ids=WORKS)
async def test_a_session_that_works_is_hibernated_when_its_work_has_ended(shard, start_worker, code):
    await start_worker(*IDLE)
    session = shard.session("s")
    await session.run(f"x = 1\n{code}; None")

    found, event = await kinds(session, "session.hibernated")

    # The checkpoint at the release reports no losses any more: the task that couldn't be saved is done.
    assert [each for each in found if each != "checkpoint.partial"][-2:] == ["8", "session.hibernated"]
    assert event.reason == "it was idle for 0.5 s"
    assert (event.tasks, event.threads, event.children) == ([], [], [])
    assert (await session.run("x")).value == 1


async def test_a_session_that_works_forever_is_hibernated_after_busy_idle_seconds_and_its_work_is_saved(
    shard, start_worker
):
    await start_worker(*IDLE, "--busy-idle-seconds", "2")
    session = shard.session("s")
    await session.run(
        "import asyncio\nresults = []\nasync def work():\n    while True:\n        results.append(1); await asyncio.sleep(0.1)\n"
        "task = asyncio.create_task(work(), name='worker'); None"
    )

    _, event = await kinds(session, "session.hibernated")

    assert event.reason == "it had no cell for 2 s, though it worked"
    assert event.tasks == ["worker (work)"]
    assert (await session.run("len(results)")).value >= 10


async def test_a_process_that_does_not_answer_counts_as_working(shard, start_worker):
    await start_worker(*IDLE, "--busy-idle-seconds", "3")
    session = shard.session("s")
    await session.run(
        "import re, asyncio\nx = 1\nasyncio.get_running_loop().call_later(0.1, re.match, r'(a+)+$', 'a' * 60 + 'b'); None"
    )

    _, event = await kinds(session, "session.hibernated")

    assert event.reason == "it had no cell for 3 s, though it worked"
    assert event.notes == ["its process did not begin to leave in time, and was killed"]
    assert (await session.run("x")).value == 1


async def test_sessions_that_do_nothing_make_room_first(shard, start_worker):
    await start_worker("--max-resident", "2")
    works, idles, comes = shard.session("works"), shard.session("idles"), shard.session("comes")
    await works.run("import threading\nthreading.Thread(target=threading.Event().wait, name='worker').start()")
    await idles.run("x = 1")
    await comes.run("x = 2")

    _, event = await kinds(idles, "session.hibernated")
    assert event.reason == "room was needed for another session"
    assert (await idles.run("x")).value == 1
    assert "session.hibernated" not in [event.kind async for event in works.events()]


async def test_while_all_sessions_work_a_new_one_waits_until_one_of_them_is_done(shard, start_worker, gate):
    await start_worker("--max-resident", "1")
    works, comes = shard.session("works"), shard.session("comes")
    await works.run(
        f"import threading\ndone = []\ndef work():\n    {gate.wait}\n    done.append(1)\n    print('done', flush=True)\nthreading.Thread(target=work).start()"
    )
    waiting = await comes.submit("2")
    with pytest.raises(TimeoutError):
        await waiting.outcome(3)
    gate.open()

    assert (await waiting.outcome()).value == 2
    found, _ = await kinds(works, "session.hibernated")
    assert found[-2:] == ["done", "session.hibernated"]
    assert (await works.run("done")).value == [1]


async def test_when_all_sessions_have_worked_too_long_the_one_longest_without_a_cell_makes_room(shard, start_worker):
    await start_worker("--max-resident", "1", "--idle-seconds", "0.5", "--busy-idle-seconds", "600")
    works = shard.session("works")
    await works.run("import threading\nthreading.Thread(target=threading.Event().wait, name='worker').start()")
    fast = shard.session("fast")
    waiting = await fast.submit("3")
    await works.run("1")
    assert not await _has_ended(waiting)
    await works.close()

    assert (await waiting.outcome()).value == 3


async def _has_ended(cell):
    try:
        await cell.outcome(1)
    except TimeoutError:
        return False
    return True


async def test_a_session_may_have_an_idle_time_of_its_own(shard, start_worker):
    await start_worker()  # whose idle time is 15 minutes
    session, other = shard.session("s", options=skep.SessionOptions(idle_seconds=0.3)), shard.session("other")
    await other.run("x = 1")
    await session.run("x = 1")

    _, event = await kinds(session, "session.hibernated")

    assert event.reason == "it was idle for 0.3 s"
    assert (await session.run("x")).value == 1
    assert (await other.info()).owner is not None


async def test_a_session_that_works_keeps_its_process_for_its_own_idle_time_if_that_is_longer(shard, start_worker):
    await start_worker(*IDLE, "--busy-idle-seconds", "0.5")
    session = shard.session("s", options=skep.SessionOptions(idle_seconds=2))
    await session.run("import threading\nthreading.Thread(target=threading.Event().wait, name='worker').start()")

    _, event = await kinds(session, "session.hibernated")

    assert event.reason == "it had no cell for 2 s, though it worked"


async def test_the_idle_time_survives_a_takeover(shard, start_worker):
    first = await start_worker()
    session = shard.session("s", options=skep.SessionOptions(idle_seconds=600))
    await session.run("x = 1")
    await session.update(skep.SessionOptions(idle_seconds=0.3))
    await first.kill()
    await start_worker()
    await session.run("x")

    _, event = await kinds(session, "session.hibernated")

    assert event.reason == "it was idle for 0.3 s"
