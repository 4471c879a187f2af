"""Ctrl-C ends a wait at once, the cell goes on, and a second Ctrl-C leaves also while the client is closed."""

import signal

import pytest

WAITS = {
    "outcome": "cell.outcome()",
    "run": "session.run('1')",
    "events": "list(cell.events())",
    "followed events": "list(session.events(follow=True))",
}
WAITING = """
import sys, threading, time, skep.sync
with skep.sync.connect(sys.argv[1]) as cluster:
    session = cluster.session(sys.argv[2])
    cell = session.submit("input()")
    try:
        print("waiting", flush=True)
        WAIT
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    session.answer("42")
    print(cell.outcome().value)
"""


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_ctrl_c_ends_a_wait_and_the_cell_goes_on(start, session, wait):
    program = start(WAITING.replace("WAIT", wait))
    assert program.stdout.readline() == "waiting\n"
    with session.events(follow=True) as events:
        assert any(event.kind == "input.requested" for event in events)
    program.send_signal(signal.SIGINT)
    said, complaints = program.communicate(timeout=30)

    assert (said, complaints, program.returncode) == ("interrupted\n42\n", "", 0)


AGAIN = """
import sys, skep.sync
with skep.sync.connect(sys.argv[1]) as cluster:
    session = cluster.session(sys.argv[2])
    cell = session.submit("input()")
    for time in ("once", "twice"):
        try:
            print("waiting", flush=True)
            cell.outcome()
        except KeyboardInterrupt:
            print(time, flush=True)
    session.answer("42")
    print(cell.outcome().value)
"""


def test_a_second_ctrl_c_ends_the_next_wait(start, session):
    program = start(AGAIN)
    for time in ("once", "twice"):
        assert program.stdout.readline() == "waiting\n"
        with session.events(follow=True) as events:
            assert any(event.kind == "input.requested" for event in events)
        program.send_signal(signal.SIGINT)
        assert program.stdout.readline() == f"{time}\n"
    said, complaints = program.communicate(timeout=30)

    assert (said, complaints, program.returncode) == ("42\n", "", 0)


# It doesn't print: a thread that is killed in print() holds stdout, and the interpreter can't end.
SLOW_END = """
import asyncio, os, sys, skep.sync
from skep.sync.process import background
cluster = skep.sync.connect(sys.argv[1]).open()
cluster.session(sys.argv[2]).submit("1").outcome()

async def last():
    os.write(1, b"ending\\n")
    await asyncio.Event().wait()

background().at_end.append(last)
"""


def test_ctrl_c_ends_a_slow_exit(start):
    program = start(SLOW_END)
    assert program.stdout.readline() == "ending\n"
    program.send_signal(signal.SIGINT)
    _, complaints = program.communicate(timeout=30)

    assert (complaints, program.returncode) == ("", 0)
