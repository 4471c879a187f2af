"""What a session's state costs its cells: `1+1` in sessions that have some, and cells that change it.

All sessions take turns of a few cells in one run, ours and ipykernel's kernels with the same state, so that whatever
else the machine does disturbs each alike. The turns begin at another session each time.

A state that a checkpoint leaves out costs nothing, so at the end each session is hibernated and its restored value is
compared with the one before.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter

import skep

from .children import Child, ChildFailed
from .environments import HERE
from .figures import Figure, Goal, Row, percentile
from .lab import Lab
from .libraries import why_unmeasured
from .session_states import EMPTY, STATES, SessionState
from .warm import CELL_SECONDS, warm_cells

NAME = "overhead"
ABOUT = "`1+1` in sessions with ordinary state, and cells that change it; beside an empty session and ipykernel"
PEERS: tuple[str, ...] = ()  # the kernels run in this environment, which has the libraries

UNRELATED = "1+1"
TIMES_EMPTY = 2.0
CHANGE_MS = 5.0
WARMUP_CELLS = 3
SERIES_SECONDS = 20.0  # a series whose cells took longer gets no more of them


@dataclass(slots=True)
class Series:
    """Cells of the same code in one session of ours and in a kernel with the same state, and what they took (ms)."""

    state: SessionState
    code: str
    session: skep.Session
    kernel: Child | None
    ours: list[float] = field(default_factory=list)
    peers: list[float] = field(default_factory=list)
    spent_seconds: float = 0.0

    async def warm_up(self) -> None:
        """Run the first cells, which aren't counted."""
        await self.take_turn(WARMUP_CELLS, WARMUP_CELLS)
        self.ours.clear()
        self.peers.clear()
        self.spent_seconds = 0.0

    async def take_turn(self, cells: int, peer_cells: int) -> None:
        """Run some cells of ours, then some of the kernel's."""
        for _ in range(cells):
            if self.ours and self.spent_seconds > SERIES_SECONDS:
                break
            started = perf_counter()
            self.ours += await warm_cells(self.session, 1, self.code)
            self.spent_seconds += perf_counter() - started
        if self.kernel is not None:
            self.peers += (
                await self.kernel.try_ask("warm", rounds=peer_cells, name=self.state.name, code=self.code) or []
            )


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure the cells that touch none of the state, then those that change it, then what a restore brings back."""
    for state in STATES:
        if reason := why_unmeasured(state.modules):
            yield Row(f"beside {state.what}", note=reason, failed=True)
    states = [state for state in STATES if not why_unmeasured(state.modules)]
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(lab.cluster())
        kernel, trouble = await lab.try_peer(stack, HERE, "notebook_kernel")
        sessions: dict[str, skep.Session] = {}
        kernels: dict[str, Child | None] = {}
        for state in states:
            sessions[state.name] = await _make(cluster, state)
            kernels[state.name], why = await _make_in_kernel(kernel, state)
            trouble = trouble or why

        def series(state: SessionState, code: str) -> Series:
            return Series(state, code, sessions[state.name], kernels[state.name])

        unrelated = [series(state, UNRELATED) for state in states]
        await take_turns(unrelated, *lab.pick((20, 12, 4), (4, 6, 2)))
        for each in unrelated:
            yield unrelated_row(each.state, each.ours, unrelated[0].ours, each.peers, trouble)
            trouble = ""

        empty = series(EMPTY, UNRELATED)
        changes = [empty, *(series(state, code) for state in states for code in state.changes)]
        await take_turns(changes, *lab.pick((8, 12, 3), (2, 6, 2)))
        for each in changes[1:]:
            yield change_row(each.state, each.code, each.ours, empty.ours, each.peers)

        yield await _restored_row([(state, sessions[state.name]) for state in states if state.value])


async def take_turns(series: Sequence[Series], rounds: int, cells: int, peer_cells: int) -> None:
    """Run so many rounds, in each of which every series has its turn; each round begins at another one."""
    for each in series:
        await each.warm_up()
    for number in range(rounds):
        first = number % len(series)
        for each in [*series[first:], *series[:first]]:
            await each.take_turn(cells, peer_cells)


def unrelated_row(
    state: SessionState, ours: list[float], empty: list[float], peers: list[float], note: str = ""
) -> Row:
    """Return the row of a cell that touches none of the state, compared with cells of the empty session in the same run."""
    figure, base = Figure.of("skep", ours), Figure.of("empty session", empty)
    goals = []
    if state is not EMPTY:
        goals.append(Goal("times the empty session's p50", figure.value / base.value, TIMES_EMPTY))
        goals.append(Goal("times its p99", percentile(ours, 99) / percentile(empty, 99), TIMES_EMPTY))
    kernel = tuple(Figure.of("ipykernel", samples) for samples in [peers] if samples)
    goals += [Goal("times ipykernel's p50", figure.value / peer.value, 1.0) for peer in kernel]
    return Row(f"`{UNRELATED}` beside {state.what}", figure, base, kernel, tuple(goals), note)


def change_row(state: SessionState, code: str, ours: list[float], empty: list[float], peers: list[float]) -> Row:
    """Return the row of a cell that changes the state, compared with `1+1` in the empty session."""
    figure, base = Figure.of("skep", ours), Figure.of("empty session's `1+1`", empty)
    kernel = tuple(Figure.of("ipykernel", samples) for samples in [peers] if samples)
    goals = (Goal("ms more than the empty session's p50", figure.value - base.value, CHANGE_MS),)
    return Row(f"`{code}`, {state.what}", figure, base, kernel, goals)


async def _make(cluster: skep.EmbeddedCluster, state: SessionState) -> skep.Session:
    session = cluster.session(f"overhead-{state.name}")
    (await session.run(state.make, wait=CELL_SECONDS)).raise_for_status()
    return session


async def _make_in_kernel(kernel: Child | None, state: SessionState) -> tuple[Child | None, str]:
    """Return the child that has a kernel with this state, or None and why there is none (nothing if none is wanted)."""
    if kernel is None:
        return None, ""
    try:
        await kernel.ask("make", name=state.name, code=state.make)
    except (ChildFailed, TimeoutError) as exc:
        return None, f"no ipykernel beside {state.what}: {exc!r}"
    return kernel, ""


async def _restored_row(cases: list[tuple[SessionState, skep.Session]]) -> Row:
    """Return how many sessions have, once they were hibernated, the value that they had before."""
    faults = []
    for state, session in cases:
        before = await _value(session, state)
        await session.hibernate()
        try:
            if await _value(session, state) != before:
                faults.append(f"{state.what}: restored with another value")
        except skep.CellFailed as exc:
            faults.append(f"{state.what}: {exc}")
    restored = Figure("skep", len(cases) - len(faults), "sessions")
    goal = Goal("sessions", restored.value, len(cases), at_least=True)
    return Row("restored with the value from before", restored, goals=(goal,), note="; ".join(faults))


async def _value(session: skep.Session, state: SessionState) -> object:
    outcome = await session.run(f"repr({state.value})", wait=CELL_SECONDS)
    outcome.raise_for_status()
    return outcome.value
