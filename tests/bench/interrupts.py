"""Interrupts: from the client's call to the cell's terminal event, and what is left of the namespace."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter

import skep

from .children import Child
from .figures import Figure, Goal, Row
from .lab import Lab
from .libraries import why_unmeasured

NAME = "interrupts"
ABOUT = "an interrupt's call to the cell's terminal event, of everything that hangs"
PEERS: tuple[str, ...] = ("notebooks",)

GRACE_SECONDS = 0.5  # between the steps of an interrupt; the default, 2 s, would only make the stubborn cases longer
SETTLE_SECONDS = 0.03
SETTLE_IN_C_SECONDS = 0.2  # until GET_OUT is over, also on a busy machine
SPARE_SECONDS = 1.0  # for a new process and its restore
WORD_SECONDS = 3.0
END_SECONDS = 20.0
# A call that holds the GIL also keeps the thread that sends output from running: the word has to get out before.
GET_OUT = "import time\nuntil = time.monotonic() + 0.05\nwhile time.monotonic() < until: pass\n"
# On 3.11 what interrupts a loop comes out of the instruction before it: that one has to be in the `try`.
SWALLOWS = """
while True:
    try:
        n = 0
        while True: n += 1
    except BaseException: pass
"""
SETUP = "import asyncio, os, socket, subprocess, time\nprecious = {'list': list(range(1000))}\nprogress = 0"
BACKGROUND = """
async def tick():
    global ticks
    while True:
        ticks += 1
        await asyncio.sleep(0.01)
ticks = 0
tasks = [asyncio.create_task(tick()) for _ in range(3)]
await asyncio.sleep(0)
"""
LOOK = "(os.getpid(), precious['list'][-1], progress, sum(not task.done() for task in globals().get('tasks', [])))"


@dataclass(frozen=True)
class Case:
    """A way to hang. `is_hot`: the issue's own goals hold; `stubborn`: the first step can't be expected to end it."""

    name: str
    code: str
    is_hot: bool = False
    stubborn: bool = False
    with_peer: bool = False
    needs: str = ""
    setup: str = "pass"

    @property
    def settle_seconds(self) -> float:
        """How long after its word the cell surely hangs."""
        return SETTLE_IN_C_SECONDS if self.code.startswith(GET_OUT) or self.stubborn else SETTLE_SECONDS


CASES = (
    Case("while True: pass", "while True: pass", is_hot=True),
    Case("time.sleep(60)", "time.sleep(60)", is_hot=True),
    Case("await asyncio.sleep(60)", "await asyncio.sleep(60)"),
    Case("asyncio.gather of sleeps", "await asyncio.gather(*(asyncio.sleep(60 + n) for n in range(50)))"),
    Case("blocking socket read", "left, right = socket.socketpair(); left.recv(1)"),
    Case("subprocess.run sleep", "subprocess.run(['sleep', '60'])"),
    Case(
        "NumPy loop", "while True: a = np.sqrt(a + 1)", needs="numpy",
        setup="import numpy as np\na = np.ones(1_000_000)",
    ),
    Case(
        "re backtracking (C, GIL held, looks for signals)",
        GET_OUT + "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')",
        stubborn=True,
        with_peer=True,
    ),
    Case(
        "deque of an endless repeat (C, GIL held, never looks)",
        GET_OUT + "import collections, itertools; collections.deque(itertools.repeat(0), maxlen=0)",
        stubborn=True,
    ),
    Case(
        "swallows BaseException in a loop",
        SWALLOWS,
        stubborn=True,
    ),
)  # fmt: skip


@dataclass
class Seen:
    """What came of one case."""

    taken: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    intact: int = 0
    kept_process: int = 0
    lost_tasks: int = 0
    silent: int = 0


async def wait_for_word(cell: skep.Cell) -> None:
    """Wait until the cell has printed, which is when it is about to hang."""
    async with contextlib.aclosing(cell.events()) as events:
        async for event in events:
            if event.kind == "output":
                return


async def hang_and_interrupt(session: skep.Session, case: Case, rounds: int, *, background: bool) -> Seen:
    """Return what came of hanging and interrupting this often."""
    seen = Seen()
    for code in (SETUP, case.setup):
        (await session.run(code)).raise_for_status()
    for number in range(1, rounds + 1):
        if background and (number == 1 or case.stubborn):
            (await session.run(BACKGROUND)).raise_for_status()
        before = (await session.run(LOOK)).value
        cell = await session.submit(f"progress = {number}\nprint('word')\n{case.code}")
        ending = asyncio.create_task(cell.outcome(timeout=END_SECONDS))
        try:
            async with asyncio.timeout(WORD_SECONDS):
                await wait_for_word(cell)
        except TimeoutError:
            seen.silent += 1
        await asyncio.sleep(case.settle_seconds)
        started = perf_counter()
        await cell.interrupt()
        try:
            outcome = await ending
        except skep.WaitTimeout:
            seen.taken.append(END_SECONDS * 1000)
            seen.statuses[f"not ended after {END_SECONDS:g} s"] += 1
            return seen
        seen.taken.append((perf_counter() - started) * 1000)
        seen.statuses[str(outcome.status)] += 1
        after = (await session.run(LOOK)).value
        seen.kept_process += after[0] == before[0]
        # What a killed process had done in the cell is rolled back with it.
        expected = number if after[0] == before[0] else before[2]
        seen.intact += (after[1], after[2]) == (999, expected)
        seen.lost_tasks += max(0, before[3] - after[3])
    return seen


def _row(case: Case, seen: Seen, peers: tuple[Figure, ...], *, background: bool) -> Row:
    rounds = len(seen.taken)
    ours = Figure.of("skep", seen.taken)
    worst = max(seen.taken)
    goals = [Goal("share interrupted", seen.statuses["interrupted"] / rounds, 1.0, at_least=True)]
    if case.is_hot:
        goals += [Goal("p50 ms", ours.value, 3.0), Goal("p99 ms", ours.p99 or worst, 15.0)]
    if case.stubborn:
        goals.append(Goal("longest ms, two graces and a restore", worst, (2 * GRACE_SECONDS + SPARE_SECONDS) * 1000))
        goals.append(Goal("share with its namespace, or the checkpoint's", seen.intact / rounds, 1.0, at_least=True))
    else:
        goals.append(Goal("longest ms", worst, 200.0))
        goals.append(Goal("share with the namespace intact", seen.intact / rounds, 1.0, at_least=True))
        goals.append(Goal("share in the same process", seen.kept_process / rounds, 1.0, at_least=True))
    statuses = ", ".join(f"{count} {status}" for status, count in seen.statuses.items())
    note = f"{statuses}; same process {seen.kept_process}/{rounds}"
    if seen.silent:
        note += f"; output printed before held back {seen.silent} times"
    if background:
        note += f"; background tasks lost: {seen.lost_tasks}"
    what = f"{case.name}{', 3 tasks in the background' if background else ''}"
    return Row(what, ours, None, peers, tuple(goals), note)


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure every case with and without background tasks, each in a session of its own."""
    rounds, stubborn_rounds = lab.pick((40, 3), (8, 1))
    options = skep.SessionOptions(interrupt_grace=GRACE_SECONDS)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(lab.cluster())
        kernel, trouble = await lab.try_peer(stack, "notebooks", "notebook_kernel")
        for number, case in enumerate(CASES):
            if reason := why_unmeasured([case.needs] if case.needs else []):
                yield Row(case.name, note=reason, failed=True)
                continue
            for background in (False, True):
                session = cluster.session(f"case-{number}-{background}", options=options)
                times = stubborn_rounds if case.stubborn else rounds if case.is_hot else rounds // 2
                seen = await hang_and_interrupt(session, case, times, background=background)
                peers = () if background or kernel is None else await _of_ipykernel(kernel, case, lab)
                row = _row(case, seen, peers, background=background)
                yield Row(
                    row.what, row.ours, None, row.peers, row.goals, f"{row.note}; {trouble}" if trouble else row.note
                )
                await session.close(purge=True)


async def _of_ipykernel(kernel: Child, case: Case, lab: Lab) -> tuple[Figure, ...]:
    """Return what ipykernel takes, for the cases that the goals name."""
    if not (case.is_hot or case.with_peer):
        return ()
    code = f"import time\nprint('word', flush=True)\n{case.code}"
    taken = await kernel.try_ask("interrupts", code=code, rounds=lab.pick(15, 4))
    return (Figure.of("ipykernel", taken),) if taken else ()
