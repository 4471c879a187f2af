"""Printed lines: what they cost the cell, and how soon a reader has them."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import monotonic, perf_counter

import skep

from .children import Child
from .figures import Figure, Goal, Row
from .lab import Lab

NAME = "printing"
ABOUT = "100,000 printed lines: the cell's time, the reader's lag; the first output of a cell that sleeps"
PEERS: tuple[str, ...] = ("notebooks",)

PRINTS = "for i in range({lines}): print(i)"
FLUSHED = "for i in range({lines}): print(i, flush=True)"
INTO_FILE = "with open({path!r}, 'w') as f:\n    for i in range({lines}): print(i, file=f)"
OS_WRITES = "import os\nfd = os.open({path!r}, os.O_WRONLY | os.O_CREAT)\nfor i in range({lines}): os.write(fd, b'%d\\n' % i)\nos.close(fd)"
SLOW_PART = 20  # ipykernel sends a message for each flush
SOON = "import time; print(1); time.sleep({seconds})"
TIMED = "import time\nstarted = time.monotonic()\n{code}\nended = time.monotonic()\n(ended - started, ended)"


async def cell_ms(session: skep.Session, code: str) -> float:
    """Return the milliseconds that the code takes, by the session's own clock."""
    outcome = await session.run(TIMED.format(code=code))
    outcome.raise_for_status()
    return float(outcome.value[0]) * 1000


async def printed_ms(session: skep.Session, code: str, lines: int) -> tuple[float, float]:
    """Return the cell's milliseconds, and those from its end to its last line here; each line must come, in order."""
    cell = await session.submit(TIMED.format(code=code))
    texts: list[str] = []
    last = 0.0
    async for event in cell.events():
        if event.kind == "output":
            texts.append(event.text)
            last = monotonic()
    outcome = await cell.outcome()
    outcome.raise_for_status()
    if "".join(texts) != "".join(f"{number}\n" for number in range(lines)):
        raise AssertionError(f"{lines} lines were printed, {''.join(texts).count(chr(10))} came, or out of order")
    return float(outcome.value[0]) * 1000, max(0.0, (last - outcome.value[1]) * 1000)


async def first_output_ms(session: skep.Session, seconds: float) -> float:
    """Return the milliseconds from the submit to the first output at the reader."""
    started = perf_counter()
    cell = await session.submit(SOON.format(seconds=seconds))
    taken = 0.0
    async with contextlib.aclosing(cell.events()) as events:
        async for event in events:
            if event.kind == "output":
                taken = (perf_counter() - started) * 1000
                break
    await cell.outcome()
    return taken


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure a plain and a flushed loop in turns with the same loop into a file."""
    lines, repeats = lab.pick((100_000, 5), (20_000, 2))
    path = str(lab.directory / "lines.txt")
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(lab.cluster())
        kernel, trouble = await lab.try_peer(stack, "notebooks", "notebook_kernel")
        session = cluster.session("printing")
        await session.run("1+1")
        for what, code, against, floor_name, limit in (
            ("print(i)", PRINTS, INTO_FILE, "into a file", 1.5),
            ("print(i, flush=True)", FLUSHED, OS_WRITES, "os.write a line", 3.0),
        ):
            floors, cells, lags = [], [], []
            for _ in range(repeats):
                floors.append(await cell_ms(session, against.format(lines=lines, path=path)))
                taken, lag = await printed_ms(session, code.format(lines=lines), lines)
                cells.append(taken)
                lags.append(lag)
            floor, ours, behind = Figure.of(floor_name, floors), Figure.of("skep", cells), Figure.of("skep", lags)
            peer, peer_lag = await _of_ipykernel(kernel, code, lines, lab, is_slow=code is FLUSHED)
            ratio = Goal(f"times {floor_name}", ours.value / floor.value, limit)
            yield Row(f"{lines:,} times {what}", ours, floor, peer, (ratio,), trouble)
            goals = (Goal("p50 ms", behind.value, 50.0),)
            yield Row(f"last line of {what} at the reader, after the cell's end", behind, None, peer_lag, goals)
        seconds, rounds = lab.pick((1.0, 10), (0.3, 4))
        ours = Figure.of("skep", [await first_output_ms(session, seconds) for _ in range(rounds)])
        first: tuple[Figure, ...] = ()
        if kernel is not None:
            theirs = await kernel.try_ask("first_output", code=SOON.format(seconds=seconds), rounds=rounds // 2)
            first = (Figure.of("ipykernel", theirs),) if theirs else ()
        goals = (Goal("p50 ms", ours.value, 15.0),)
        yield Row(f"first output of `print(1); time.sleep({seconds:g})`, after the submit", ours, None, first, goals)


async def _of_ipykernel(
    kernel: Child | None, code: str, lines: int, lab: Lab, *, is_slow: bool
) -> tuple[tuple[Figure, ...], tuple[Figure, ...]]:
    """Return ipykernel's time for the cell, and from its reply to the last output; of fewer lines where it is slow."""
    if kernel is None:
        return (), ()
    count = lines // SLOW_PART if is_slow else lines
    characters = sum(len(f"{number}\n") for number in range(count))
    given = []
    for _ in range(lab.pick(3, 1)):
        answer = await kernel.try_ask("printing", code=code.format(lines=count), characters=characters)
        if answer is None:
            return (), ()
        given.append(answer)
    who = f"ipykernel, {count:,} lines" if is_slow else "ipykernel"
    return (
        (Figure.of(who, [answer["cell"] for answer in given]),),
        (Figure.of(who, [answer["lag"] for answer in given]),),
    )
