"""`skep tour`: show what skep does, with real cells and workers."""

import asyncio
import secrets
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Final

from skep.cell import Cell
from skep.cli.ctrl_c import CtrlC
from skep.cli.flags import Place
from skep.cli.output.event_printers import duration
from skep.cli.output.failures import ExitCode
from skep.cli.places import flags_for, own_cluster, own_workers, program_name, settings_of
from skep.cli.tour_guide import STEP_SECONDS, Guide, expect
from skep.cluster import connect
from skep.local.embedded import EmbeddedCluster, WorkerProcess
from skep.session import Session
from skep_shared.broker.redis_client.redis_url import redacted
from skep_shared.errors import NotFound
from skep_shared.events import (
    CellFinished,
    CellRetried,
    CellStarted,
    Event,
    OutputEvent,
    SessionMoved,
    SessionRestored,
    event_number,
)
from skep_shared.states import CellStatus

# A dead worker is detected when its lease has expired; a short lease keeps the tour short.
TOUR_FLAGS: Final = ("--lease-seconds", "1")

NAMES = ("import math\nradius = 3", "area = math.pi * radius**2\nround(area, 2)")
AREA: Final = 28.27
AWAIT = 'import asyncio\nawait asyncio.sleep(0.1)\nf"an area of {area:.1f}, after an await"'
LINES = """\
import sys, time
for number in range(1, 6):
    print("line", number, file=sys.stderr if number == 4 else sys.stdout)
    time.sleep(0.25)
"""
FAILING = """\
def price(item):
    return {"tea": 3}[item]
price("coffee")
"""
LOOP = "turns = 0\nwhile True:\n    turns += 1"
LONG = """\
import time
for part in range(1, 6):
    print("part", part, "of 5")
    time.sleep(0.25)
"""
QUEUED = ('print("I waited in the queue")', 'print("so did I")')
PARTS_BEFORE_THE_KILL: Final = 3


async def run_tour(place: Place) -> int:
    """Run the tour, and return the exit status. Raises StepFailed."""
    guide = Guide()
    started_at = time.monotonic()
    with CtrlC(guide.screen).watched():
        await _run_steps(guide, place, started_at)
    return ExitCode.OK


async def _run_steps(guide: Guide, place: Place, started_at: float) -> None:
    guide.say("skep runs Python cells in sessions that outlive the worker they run on.", "bold")
    async with AsyncExitStack() as stack:
        cluster = await _start(guide, stack, place)
        session = cluster.session(f"tour-{secrets.token_hex(3)}")
        await _names_live_on(guide, session)
        await _output_is_live(guide, session)
        await _error_ends_nothing(guide, session)
        await _interrupt_ends_a_cell(guide, session)
        await _worker_dies(guide, session, cluster)
        count, cells = await _record_is_whole(guide, session, cluster)
        await _suggest_next(guide, place, f"{cells} cells, {count} events, 1 worker lost, {_since(started_at)}")


async def _start(guide: Guide, stack: AsyncExitStack, place: Place) -> EmbeddedCluster:
    title = "A Redis and two workers" if place.redis_url is None else "Two workers on your Redis"
    async with guide.step(title, is_start=True):
        started_at = time.monotonic()
        if place.redis_url is None:
            opening = own_cluster(guide.screen, workers=2, flags=TOUR_FLAGS)
        else:
            opening = own_workers(guide.screen, place, workers=2, flags=TOUR_FLAGS)
        cluster = await stack.enter_async_context(opening)
        guide.fact("redis", redacted(cluster.redis_url))
        if place.redis_url is not None:
            guide.fact("prefix", f"{cluster.settings.prefix} (removed at the end)")
        for process in cluster.worker_processes:
            guide.fact("worker", f"{process.worker_id}, process {process.pid}")
        where = (
            "They are private to this tour and end with it." if place.redis_url is None else "They end with this tour."
        )
        guide.say(f"Ready after {_since(started_at)}. {where}")
    return cluster


async def _names_live_on(guide: Guide, session: Session) -> None:
    async with guide.step("A session keeps its variables"):
        for source in (*NAMES, AWAIT):
            outcome = await guide.run(session, source)
            expect(outcome.ok, f"the cell {outcome.status}")
        guide.say("Three cells, one namespace: what a cell binds is there for the next one.")
        guide.say("`await` works at the top level; the last expression is the cell's result.")


async def _output_is_live(guide: Guide, session: Session) -> None:
    async with guide.step("Output appears while the cell runs"):
        guide.code(LINES)
        cell = await session.submit(LINES)
        arrivals = []
        async for event in cell.events():
            guide.show(event)
            if isinstance(event, OutputEvent | CellFinished):
                arrivals.append(time.monotonic())
        ahead = arrivals[-1] - arrivals[0]
        guide.say(f"stdout and stderr in one order; the first line came {ahead:.1f} s before the cell ended.")


async def _error_ends_nothing(guide: Guide, session: Session) -> None:
    async with guide.step("An error ends its cell, not the session"):
        outcome = await guide.run(session, FAILING)
        expect(outcome.status is CellStatus.FAILED, f"the cell {outcome.status}")
        outcome = await guide.run(session, 'price("tea")')
        expect(outcome.value == 3, f"the function returned {outcome.value!r}")
        guide.say("The traceback is an event like any other, and `price` is still there.")


async def _interrupt_ends_a_cell(guide: Guide, session: Session) -> None:
    async with guide.step("Whatever runs can be interrupted"):
        took_ms = await guide.run_and_interrupt(session, LOOP)
        guide.say(f"The loop ended {duration(took_ms)} after the request. Its effects remain:")
        outcome = await guide.run(session, "turns > 0")
        expect(outcome.value is True, f"the cell {outcome.status}")


async def _worker_dies(guide: Guide, session: Session, cluster: EmbeddedCluster) -> None:
    async with guide.step("A worker is killed in the middle of a cell"):
        start = (await session.info()).last_event
        guide.code(LONG)
        cells = await session.submit_many([LONG, *QUEUED])
        for source in QUEUED:
            guide.code(source)
        guide.say("Three cells are queued; the first one runs.")
        watch = _Takeover(guide, cells)
        async with asyncio.timeout(STEP_SECONDS):
            async for event in session.events(f"{start}-0", follow=True):
                watch.add(event)
                if watch.parts >= PARTS_BEFORE_THE_KILL and not watch.killed_at:
                    owner = await _owner_process(session, cluster)
                    watch.kill(owner)
                    await owner.kill()
                if watch.is_over:
                    break
        expect(watch.was_retried, "the killed cell was not run again")
        outcomes = [await cell.outcome(STEP_SECONDS) for cell in cells]
        expect(all(outcome.ok for outcome in outcomes), "not every cell finished")
        guide.say(f"All three cells finished; the takeover took {duration(watch.takeover_ms)} (the lease here is 1 s).")
        outcome = await guide.run(session, "round(area, 2)")
        expect(outcome.value == AREA, f"the variables of earlier cells are gone: the cell {outcome.status}")
        guide.say("`area` is from step 2: variables are saved after every cell, and move with the session.")


class _Takeover:
    """Prints the events around the death of a worker."""

    def __init__(self, guide: Guide, cells: list[Cell]) -> None:
        self._guide = guide
        self._last_id = cells[-1].id
        self._text = ""
        self.killed_at = 0.0
        self.takeover_ms = 0.0
        self.was_retried = False
        self.is_over = False

    @property
    def parts(self) -> int:
        """The number of complete lines."""
        return self._text.count("\n")

    def kill(self, owner: WorkerProcess) -> None:
        """Announce the kill of the session's worker."""
        self._guide.say(f"✗ SIGKILL for worker {owner.worker_id}, which has the session", "bold red")
        self._guide.screen.busy("the lease of the dead worker runs out")
        self.killed_at = time.monotonic()

    def add(self, event: Event) -> None:
        """Print the event, and record its facts."""
        match event:
            case SessionMoved():
                self.takeover_ms = (time.monotonic() - self.killed_at) * 1000
                self._guide.screen.idle()
                self._guide.say(f"→ worker {event.worker_id} takes over: {event.reason}", "bold green")
            case SessionRestored():
                self._guide.say(
                    "→ it restores the session's variables as the last finished cell left them", "bold green"
                )
            case CellRetried():
                self.was_retried = True
                self._guide.say(
                    f"→ the cell runs again, attempt {event.attempt}; its first output is void", "bold green"
                )
            case CellFinished(cell_id=cell_id):
                self.is_over = cell_id == self._last_id
            case CellStarted():
                pass
            case _:
                self._text += event.text if isinstance(event, OutputEvent) else ""
                self._guide.show(event)


async def _owner_process(session: Session, cluster: EmbeddedCluster) -> WorkerProcess:
    owner = (await session.info()).owner
    for process in cluster.worker_processes:
        if process.worker_id == owner:
            return process
    raise NotFound("worker process", str(owner))


async def _record_is_whole(guide: Guide, session: Session, cluster: EmbeddedCluster) -> tuple[int, int]:
    async with guide.step("A second client replays the record"):
        settings = cluster.settings
        async with connect(settings=settings) as other:
            reader = other.session(session.id)
            events = [event async for event in reader.events("0-0")]
            transcript = await reader.transcript()
        expect([event_number(event.id) for event in events] == list(range(1, len(events) + 1)), "ids are missing")
        kinds = Counter(event.kind for event in events)
        for kind, count in sorted(kinds.items(), key=lambda item: -item[1]):
            guide.fact(f"{count:>4}", kind)
        parts = [cell.text for cell in transcript if "part 1 of 5" in cell.text]
        expect(len(parts) == 1 and parts[0].count("part 1 of 5") == 1, "the transcript doubles the killed cell")
        guide.say(
            f"{len(events)} events, 1-0 to {events[-1].id}: none missing, none twice, though two workers wrote them."
        )
        guide.say("`session.transcript()` folds them into one clean record per cell: the void attempt is gone.")
    return len(events), len(transcript)


async def _suggest_next(guide: Guide, place: Place, summary: str) -> None:
    async with guide.step("That was it"):
        guide.say(f"{summary}.")
        guide.say("Next:")
        program = program_name()
        redis = " --redis redis://127.0.0.1:6379"
        if place.redis_url is not None:
            redis = flags_for(settings_of(place))
        for command, meaning in (
            (f"{program} gateway", "sessions in the browser and over HTTP, with a Redis and a worker of its own"),
            (f"{program} run FILE", "a script or a notebook, with live output"),
            (f"{program} worker{redis}", "a worker on a Redis of yours"),
            (f"{program} exec 'x = 1' --session me{redis}", "a cell for it"),
        ):
            guide.command(command, meaning)


def _since(started_at: float) -> str:
    return duration((time.monotonic() - started_at) * 1000)
