"""What the tour prints: headings, code, sentences and times; and how it runs cells."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.text import Text

from skep.cli.output.event_printers import LivePrinter
from skep.cli.output.failures import StepFailed
from skep.cli.output.screen import Screen
from skep.outcome import Outcome
from skep.session import Session
from skep_shared.errors import SkepError
from skep_shared.events import CellFinished, CellStarted, Event

STEP_SECONDS = 30.0
READING_SECONDS = 0.5
MARGIN = "      "
_UNMET = (SkepError, TimeoutError, OSError, ValueError)


class Guide:
    """Prints the steps of the tour, and runs their cells."""

    def __init__(self) -> None:
        self.screen = Screen(merged=True, margin=MARGIN)
        self._printer = LivePrinter(self.screen)
        self._steps = 0
        self._cells = 0

    @asynccontextmanager
    async def step(self, title: str, *, is_start: bool = False) -> AsyncIterator[None]:
        """Print a step's heading. An error inside the step is raised as StepFailed, with the title.

        is_start: the step starts the servers; its errors are raised unchanged.
        """
        if self._steps and self.screen.out.is_terminal:
            await asyncio.sleep(READING_SECONDS)
        self._steps += 1
        number = self._steps
        rule = "─" * max(0, min(self.screen.out.width, 80) - len(title) - len(str(number)) - 6)
        heading = Text.assemble((f"\n── {number} ", "cyan"), (title, "bold"), (f" {rule}", "cyan"))
        heading.no_wrap, heading.overflow = True, "crop"
        self.screen.print(heading)
        try:
            yield
        except BrokenPipeError:
            raise
        except _UNMET as exc:
            if is_start and isinstance(exc, SkepError):
                raise
            reason = str(exc) or f"nothing happened for {STEP_SECONDS:g} s"
            raise StepFailed(f"the tour went wrong at step {number} ({title}): {reason}") from exc
        finally:
            self.screen.idle()
            self.screen.end_line()

    def say(self, text: str, style: str = "") -> None:
        """Print a sentence or two."""
        self.screen.print(Text(text, style))

    def fact(self, name: str, value: str) -> None:
        """Print a fact after its name, aligned with other facts."""
        line = Text.assemble((f"{MARGIN}{name:<9}", "cyan"), value)
        line.no_wrap, line.overflow = True, "ellipsis"
        self.screen.print(line)

    def command(self, command: str, meaning: str) -> None:
        """Print a command to try, and its purpose."""
        self.screen.print(Text(f"{MARGIN}{command}", "bold cyan"))
        self.screen.print(Text(f"{MARGIN}    {meaning}", "dim"))

    def code(self, source: str) -> None:
        """Show the next cell's code."""
        self._cells += 1
        label = f"{self._cells:>3} │ "
        for line in self.screen.code(source).split("\n", allow_blank=True):
            self.screen.print(Text.assemble((label, "cyan"), line))
            label = "    │ "

    def show(self, event: Event) -> None:
        """Print a cell's output event."""
        self._printer(event)

    async def run(self, session: Session, source: str) -> Outcome:
        """Print a cell, run it, print its output live, and return its outcome."""
        self.code(source)
        self.screen.busy("running")
        cell = await session.submit(source)
        async for event in cell.events():
            self.show(event)
        self.screen.idle()
        self.screen.end_line()
        return await cell.outcome(STEP_SECONDS)

    async def run_and_interrupt(self, session: Session, source: str) -> float:
        """Print a cell, interrupt it as soon as it runs, and return how long that took, in milliseconds."""
        self.code(source)
        cell = await session.submit(source)
        asked_at = ended_at = 0.0
        async for event in cell.events():
            self.show(event)
            if isinstance(event, CellStarted):
                asked_at = time.monotonic()
                await session.interrupt()
            elif isinstance(event, CellFinished):
                ended_at = time.monotonic()
        return (ended_at - asked_at) * 1000


def expect(condition: bool, otherwise: str) -> None:
    """Check a claim of the tour. Raises ValueError with the actual facts if it is false."""
    if not condition:
        raise ValueError(otherwise)
