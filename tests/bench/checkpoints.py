"""The cost of a checkpoint: six states, changed a little, compared with dill, cloudpickle and Kishu.

A restore is reported in two figures. One is of the state alone: ours is how much later a hibernated session's first cell
starts than an empty session's, so all that a new process does for its state: to read manifest and chunks from Redis, to
hand them from the host to the process, to check, to load; theirs is to read the pickle from Redis (Kishu: its database)
and to load it, in a process that is there and has everything imported. The other figure is the whole wait of a user
who starts with nothing but Redis: ours from the submit of the cell to its start, theirs from the start of Python until
the state is loaded.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep
from typing import Any
from urllib.parse import urlsplit

import skep

from .children import ChildFailed
from .environments import PeerMissing
from .figures import Figure, Goal, Row
from .first_cell import PRELOAD
from .lab import Lab
from .libraries import why_unmeasured
from .peers.states import State, states
from .warm import CELL_SECONDS, warm_cells

NAME = "checkpoints"
ABOUT = "checkpoints of six states: time added, until durable, bytes, restore; beside dill, cloudpickle and Kishu"
PEERS: tuple[str, ...] = ("notebooks",)

PICKLES = ("dill", "cloudpickle")
PEER_SECONDS = 25.0  # a peer that takes longer for one state is reported as too slow
MEASURE_SECONDS = 5.0  # for each state and measure; at least twice
ADDED_MS = {"i": 1.0, "ii": 5.0, "iii": 50.0}
STORED_BYTES = {"ii": 10_000}
CHUNKS = {"iii": 2}
NEXT_CELL_MS = 30.0
EMPTY_SESSIONS = 10
RESTORES = 3
SETTLE_SECONDS = 0.05
NOW = "\nimport time; time.monotonic()"


@dataclass(frozen=True, slots=True)
class Stored:
    """What one changing cell has left in Redis."""

    chunks: int
    chunk_bytes: int
    manifest_bytes: int

    @property
    def kilobytes(self) -> float:
        """All of it."""
        return (self.chunk_bytes + self.manifest_bytes) / 1000


async def ends(session: skep.Session, code: str) -> tuple[float, float]:
    """Return the ms from a cell's end to its outcome, and those to the next cell's start; both are sent at once."""
    first, second = await session.submit_many([code + NOW, NOW])
    ended = (await first.outcome(CELL_SECONDS)).value
    here = monotonic()
    started = (await second.outcome(CELL_SECONDS)).value
    return (here - ended) * 1000, (started - ended) * 1000


async def stored_by(cluster: skep.EmbeddedCluster, session: skep.Session, code: str) -> Stored:
    """Run a cell; return the bytes that it added to the session's blobs, and the size of its manifest."""
    redis, keys = cluster._link.redis, cluster._link.keys
    before = set(await redis.hkeys(keys.blobs(session.id)))  # type: ignore[misc]
    (await session.run(code)).raise_for_status()
    added = set(await redis.hkeys(keys.blobs(session.id))) - before  # type: ignore[misc]
    sizes = [await redis.execute_command("HSTRLEN", keys.blobs(session.id), name) for name in added]
    entries: list[Any] = await redis.xrevrange(keys.checkpoints(session.id), count=1)
    return Stored(len(sizes), sum(sizes), len(entries[0][1][b"m"]))


async def first_cell(session: skep.Session) -> tuple[float, float]:
    """Return the ms from the submit of a session's first cell in a new process to its start, and to its outcome."""
    submitted = monotonic()
    outcome = await session.run(NOW, wait=CELL_SECONDS)
    ended = monotonic()
    outcome.raise_for_status()
    return (outcome.value - submitted) * 1000, (ended - submitted) * 1000


async def empty_start(cluster: skep.EmbeddedCluster) -> tuple[float, float]:
    """Return the same two for sessions without a state, in the median."""
    taken = []
    for number in range(EMPTY_SESSIONS):
        session = cluster.session(f"empty-{number}")
        taken.append(await first_cell(session))
        await session.close(purge=True)
    return statistics.median(start for start, _ in taken), statistics.median(outcome for _, outcome in taken)


async def restored(session: skep.Session) -> tuple[float, float]:
    """Hibernate a session; return the ms from the submit of its next cell to that cell's start, and to its outcome."""
    process: int = (await session.run("import os; os.getpid()", wait=CELL_SECONDS)).value
    await session.hibernate()
    await asyncio.to_thread(_wait_for_end, process)
    return await first_cell(session)


def _wait_for_end(process: int) -> None:
    """Return when the process that had the state is away: to free its memory is no part of a restore."""
    while Path(f"/proc/{process}").exists():
        sleep(0.01)
    sleep(SETTLE_SECONDS)  # its worker removes what it left


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure each state in a session with checkpoints and in one without, then the peers."""
    part = lab.pick(1, 10)
    flags = [flag for name in PRELOAD if find_spec(name) for flag in ("--preload", name)]
    async with lab.cluster(*flags) as cluster:
        empty = await empty_start(cluster)
        for state in states(part):
            if reason := why_unmeasured(name for name in PRELOAD if f"import {name}" in state.make):
                yield Row(state.what, note=reason, failed=True)
                continue
            peers, note = await _peers(lab, state, part, urlsplit(cluster.redis_url).path)
            async for row in _measure(cluster, state, empty, peers, lab):
                yield Row(
                    row.what, row.ours, row.floor, row.peers, row.goals, "; ".join(filter(None, (row.note, note)))
                )
                note = ""


async def _measure(
    cluster: skep.EmbeddedCluster,
    state: State,
    empty: tuple[float, float],
    peers: dict[str, dict[str, float]],
    lab: Lab,
) -> AsyncIterator[Row]:
    rounds = lab.pick(60, 10) if state.name in {"i", "ii"} else lab.pick(8, 3)
    saved = cluster.session(f"saved-{state.name}")
    bare = cluster.session(f"bare-{state.name}", options=skep.SessionOptions(durability="none"))
    (await bare.run(state.make)).raise_for_status()
    made_durable, made_next = await ends(saved, state.make)
    without: list[float] = []
    with_it: list[float] = []
    pairs: list[tuple[float, float]] = []
    started = monotonic()
    while len(with_it) < 2 or (len(with_it) < rounds and monotonic() - started < MEASURE_SECONDS):  # in turns
        without += await warm_cells(bare, 1, state.change)
        with_it += await warm_cells(saved, 1, state.change)
    started = monotonic()
    while len(pairs) < 2 or (len(pairs) < rounds and monotonic() - started < MEASURE_SECONDS):
        pairs.append(await ends(saved, state.change))
    stored = await stored_by(cluster, saved, state.change)
    back, back_and_saved = zip(
        *[await restored(saved) for _ in range(rounds if state.name == "i" else RESTORES)], strict=True
    )
    await saved.close(purge=True)
    await bare.close(purge=True)

    label = f"({state.name}) {state.what}"
    added = Figure("skep", statistics.median(with_it) - statistics.median(without), "ms", count=len(with_it))
    goals = [Goal("added ms", added.value, ADDED_MS[state.name])] if state.name in ADDED_MS else []
    yield Row(f"{label}: added to the cell", added, None, _of(peers, "added", "ms"), tuple(goals))
    durable, following = (Figure.of("skep", samples) for samples in zip(*pairs, strict=True))
    yield Row(
        f"{label}: until durable", durable, None, _of(peers, "durable", "ms"),
        note=f"after the cell that made it {made_durable:,.0f} ms",
    )  # fmt: skip
    wanted = () if state.name in ADDED_MS else (Goal("ms", max(following.value, made_next), NEXT_CELL_MS),)
    yield Row(
        f"{label}: next cell's start after its end", following, None, (), wanted,
        f"after the cell that made it {made_next:,.0f} ms",
    )  # fmt: skip
    goals = []
    if state.name in STORED_BYTES:
        goals.append(Goal("bytes", stored.kilobytes * 1000, STORED_BYTES[state.name]))
    if state.name in CHUNKS:
        goals.append(Goal("chunks", stored.chunks, CHUNKS[state.name]))
    yield Row(
        f"{label}: stored", Figure("skep", stored.kilobytes, "kB"), None, _of(peers, "bytes", "kB", 1000), tuple(goals),
        f"{stored.chunks} chunks of {stored.chunk_bytes / 1000:,.1f} kB, manifest {stored.manifest_bytes / 1000:,.1f} kB",
    )  # fmt: skip
    others = _of(peers, "restored", "ms")
    start = Figure.of("skep", [max(0.0, taken - empty[0]) for taken in back])
    yield Row(
        f"{label}: restored, a cell's start beyond an empty session's", start, None, others, _no_slower(start, others)
    )
    others, start = _of(peers, "anew", "ms"), Figure.of("skep", back)
    yield Row(
        f"{label}: restored from nothing, submit to a cell's start", start, None, others, _no_slower(start, others),
        "peers: from the start of Python",
    )  # fmt: skip
    yield Row(
        f"{label}: restored, its outcome beyond an empty session's",
        Figure.of("skep", [max(0.0, taken - empty[1]) for taken in back_and_saved]),
        note="with the checkpoint that the outcome waits for",
    )


def _no_slower(ours: Figure, peers: tuple[Figure, ...]) -> tuple[Goal, ...]:
    return (Goal("times the best peer", ours.value / min(peer.value for peer in peers), 1.0),) if peers else ()


def _of(peers: dict[str, dict[str, float]], what: str, unit: str, divisor: float = 1) -> tuple[Figure, ...]:
    return tuple(Figure(name, given[what] / divisor, unit) for name, given in peers.items() if what in given)


async def _peers(lab: Lab, state: State, part: int, socket: str) -> tuple[dict[str, dict[str, float]], str]:
    """Return what each peer takes for this state, and why one is missing; each in a process of its own."""
    taken: dict[str, dict[str, float]] = {}
    notes = []
    for name in (*PICKLES, "kishu") if lab.environments.are_wanted else ():
        started = perf_counter()
        try:
            if name == "kishu":
                taken[name] = await _kishu(lab, state, part)
            else:
                arguments = {"method": name, "name": state.name, "socket": socket}
                async with lab.peer("notebooks", "pickles") as peer:
                    taken[name] = await peer.ask("measure", seconds=PEER_SECONDS, part=part, **arguments)
                anew = perf_counter()
                async with lab.peer("notebooks", "pickles") as peer:
                    await peer.ask("load", seconds=PEER_SECONDS, **arguments)
                    taken[name]["anew"] = (perf_counter() - anew) * 1000
        except TimeoutError:
            notes.append(f"{name}: not done after {perf_counter() - started:.0f} s")
        except (PeerMissing, ChildFailed) as exc:
            notes.append(f"no {name}: {exc}")
    return taken, "; ".join(notes)


async def _kishu(lab: Lab, state: State, part: int) -> dict[str, float]:
    with TemporaryDirectory(dir=lab.directory) as root:
        settings = {"KISHU_PATH_ROOT": root, "HOME": root, "IPYTHONDIR": str(Path(root, "ipython"))}
        async with lab.peer("notebooks", "kishu_cells", **settings) as peer:
            rounds = 5 if state.name in {"i", "ii"} else 1
            given: dict[str, float] = await peer.ask(
                "measure", seconds=PEER_SECONDS, name=state.name, part=part, rounds=rounds
            )
        anew = perf_counter()
        async with lab.peer("notebooks", "kishu_cells", **settings) as peer:
            given["restored"] = await peer.ask("restore", seconds=PEER_SECONDS)
            given["anew"] = (perf_counter() - anew) * 1000
    return given
