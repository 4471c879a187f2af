"""An interrupt at each place where a signal handler can run: in the cell's code, in asyncio, in the engine.

Python runs handlers after a call, at the start of a function and at a jump backwards. A trace function in the session
process finds these places, and raises the worker's signal at one of them. That alone must end the cell, and must have no
other effect: no task of an earlier cell is lost, no lock remains locked, and the next cell runs.
"""

import sys

import pytest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        (3, 12, 0) <= sys.version_info < (3, 12, 2),
        reason="a trace function of Python 3.12.0 and 3.12.1 gets no opcode events that it requests while it runs",
    ),
]

PLACES = 40  # of each kind of cell; testing all of them takes minutes

ARM = """
import asyncio, dis, gc, os, signal, sys, threading, time
from skep_shared.protocol.interrupt_page import INTERRUPT_SIGNAL

interrupter = signal.getsignal(signal.SIGINT).__self__
CALLS = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")}

class Injection:
    def __init__(self):
        self.at = self.places = self.seq = 0
        self.is_done = True
        self.before, self.handlers = {}, {}
        interrupter.requests._is_on_page = lambda cell: self.is_done and cell == (self.seq, 1)

    def arm(self, at):
        self.at, self.places, self.is_done = at, 0, False
        self.seq = interrupter.running.cell.seq + 1
        self.before.clear()
        for task in asyncio.all_tasks():  # a task that a cell made and did not await continues, as it should
            if task is not background:
                task.cancel()
        sys.settrace(self.trace)
        frame = sys._getframe()
        while frame is not None:
            frame.f_trace, frame.f_trace_opcodes = self.trace, True
            frame = frame.f_back

    def is_place(self, code, before, now):
        if before is None or code.co_code[before] not in CALLS:
            return False
        if code not in self.handlers:
            self.handlers[code] = dis._parse_exception_table(code)
        # An exception of a handler is raised by the instruction before it, and is handled as that one's errors are.
        return self.handler(code, before) == self.handler(code, now)

    def handler(self, code, at):
        return next((entry.target for entry in self.handlers[code] if entry.start <= at < entry.end), None)

    def trace(self, frame, event, arg):
        if self.is_done or interrupter.ended_seq >= self.seq:
            sys.settrace(None)
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before, self.before[frame] = self.before.get(frame), frame.f_lasti
            if self.is_place(frame.f_code, before, frame.f_lasti) and interrupter.ended_seq == self.seq - 1:
                self.places += 1
                if self.places == self.at:
                    self.is_done = True
                    self.where = frame.f_code.co_qualname, frame.f_lineno
                    signal.raise_signal(INTERRUPT_SIGNAL)
        elif event == "return":
            self.before.pop(frame, None)
        return self.trace

injection = Injection()
kept = [1, 2, 3]
ticks = 0
async def tick():
    global ticks
    while True:
        ticks += 1
        await asyncio.sleep(0)
background = asyncio.create_task(tick()) if BESIDE else None
def f(): return 1
async def again():
    while True: await asyncio.sleep(0)
"""
CHECK = """
sys.settrace(None)
before = ticks
while background and ticks == before: await asyncio.sleep(0)
(kept, background and background.done(), sorted(thread.name for thread in threading.enumerate()), injection.is_done)
"""

ENDLESS = {
    "spinning": "while True: f()",
    "awaiting": "while True: await asyncio.sleep(0)",
    "awaiting its children": "await asyncio.gather(again(), again())",
    "blocking": "while True: time.sleep(0)",
    "asyncio.run": "asyncio.run(again())",
    "run_until_complete": "asyncio.get_event_loop().run_until_complete(again())",
    "printing": "import subprocess\nwhile True:\n    print('x')\n    os.write(1, b'y')\n    sys.stdout.flush()",
}
ENDING = {
    "a value": "display('shown')\n[f() for _ in range(3)]",
    "an await": "await asyncio.sleep(0)",
    "a blocking call": "time.sleep(0)\nprint('end')",
    "an asyncio.run": "asyncio.run(asyncio.sleep(0))",
    "a run_until_complete": "asyncio.get_event_loop().run_until_complete(asyncio.sleep(0))",
    "an exception": "raise ValueError('mine')",
}
FIRST_ENDLESS = 1200  # places of a cell that never ends: enough to be well in its loop


async def interrupted_at(session, code, at):
    """Run the cell with an interrupt at that place, and return the cell and what the next one finds."""
    armed, cell, check = session.submit_all(f"injection.arm({at})", code, CHECK)
    await check.ended()
    assert armed.status == "finished"
    return cell, check.value


def places_of(number):
    return sorted({1 + index * number // PLACES for index in range(PLACES)})


async def begin(session, beside):
    """Prepare the session, once its control thread runs: it may still be starting when the first cell runs."""
    await session.run(
        "import threading\nwhile 'skep-control' not in {thread.name for thread in threading.enumerate()}: pass"
    )
    started = await session.run(f"BESIDE = {beside}\n{ARM}")
    assert started.error is None, started.error.traceback


@pytest.mark.timeout(600)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a background task"])
@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS.keys())
async def test_a_cell_without_an_end_is_ended_at_any_place(session, code, beside):
    await begin(session, beside)
    for at in places_of(FIRST_ENDLESS):
        cell, (kept, is_background_done, threads, _) = await interrupted_at(session, code, at)

        assert cell.status == "interrupted", (at, cell.error)
        assert (kept, is_background_done) == ([1, 2, 3], False if beside else None), at
        assert threads == ["MainThread", "skep-control"], at


@pytest.mark.timeout(600)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a background task"])
@pytest.mark.parametrize("code", ENDING.values(), ids=ENDING.keys())
async def test_a_cell_that_is_about_to_end_ends_once_at_any_place(session, code, beside):
    await begin(session, beside)
    uninterrupted, _ = await interrupted_at(session, code, 10**9)
    places = await session.value("injection.places")
    for at in places_of(places):
        cell, (kept, is_background_done, threads, _) = await interrupted_at(session, code, at)

        assert cell.status in {uninterrupted.status, "interrupted"}, at
        assert (kept, is_background_done) == ([1, 2, 3], False if beside else None), at
        assert threads == ["MainThread", "skep-control"], at
