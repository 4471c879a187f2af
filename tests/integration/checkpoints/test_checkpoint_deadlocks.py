"""A forked child has one thread: objects that wait for another thread are saved in another way, or soon reported."""

from contextlib import aclosing

import pytest

pytestmark = pytest.mark.anyio

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
# A lock that a thread holds, as in libraries with threads of their own. In the session's process the thread releases it
# on request; in a fork nothing can.
GUARDED = """
import os, threading
home, is_held, may_let_go = os.getpid(), threading.Event(), threading.Event()
lock = threading.Lock()
def hold():
    with lock:
        is_held.set()
        may_let_go.wait()
holder = threading.Thread(target=hold, daemon=True); holder.start(); is_held.wait()
class Guarded:
    def __init__(self, part): self.part = part
    def __reduce__(self):
        {asked}
        with lock:
            return Guarded, (self.part,)
"""
MAKE = "part = [1]; guarded = Guarded(part); other = {'part': part}; kept = 5"
LIVING = {"lock", "holder", "is_held", "may_let_go"}


async def losses(session):
    """Return what the latest checkpoint leaves out."""
    async with aclosing(session.events()) as events:
        return [event.lost async for event in events if event.kind == "checkpoint.partial"][-1]


async def test_an_object_that_waits_for_a_thread_in_a_fork_is_reduced_in_the_session_itself(session):
    asked = "if os.getpid() == home: may_let_go.set()"
    await session.run(GUARDED.format(asked=asked))
    outcome = await session.run(MAKE)

    assert outcome.ok
    assert (await losses(session)).keys() <= LIVING
    await session.run(KILL)
    assert (await session.run("guarded.part is part is other['part'], part, kept")).value == (True, [1], 5)


async def test_an_object_that_hangs_in_the_session_too_is_left_out_and_reported(session):
    await session.run(GUARDED.format(asked="pass"))
    await session.run(MAKE)
    await session.run(KILL)

    assert (await session.run("part is other['part'], part, kept")).value == (True, [1], 5)
    missing = await session.run("guarded")
    assert missing.status == "failed"
    assert "pickling it hangs, in a forked process" in missing.error.evalue


async def test_it_is_reduced_again_after_each_cell(session):
    await session.run(GUARDED.format(asked="if os.getpid() == home: may_let_go.set()"))
    await session.run(MAKE)
    await session.run("part.append(2)")
    await session.run(KILL)

    assert (await session.run("guarded.part is part, part")).value == (True, [1, 2])
