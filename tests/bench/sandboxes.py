"""What a sandbox costs a session: its start, its cells, and the memory of one that is idle; in turns with none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import cycle

import skep
from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier
from skep_workers.sandbox.probes.machine_facts import read_facts
from skep_workers.sandbox.probes.mechanisms import find_all
from skep_workers.sandbox.tiers import Report

from .figures import Figure, Goal, Row
from .first_cell import first_cells
from .idle import SETTLE_SECONDS, make_resident
from .lab import Lab
from .processes import descendants, pss_megabytes
from .warm import warm_cells

NAME = "sandboxes"
ABOUT = "start, warm cell and idle memory of a session in each tier of the sandbox, compared with none"
PEERS: tuple[str, ...] = ()

MOST_START_MS = 5.0
MOST_WARM_RATIO = 1.03
MOST_IDLE_MEGABYTES = 0.5


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure every tier that works here. The clusters take turns, so that what else the machine does disturbs each."""
    starts, rounds, blocks, resident = lab.pick((60, 100, 12, 50), (15, 30, 6, 20))
    report = Report(tuple(find_all(read_facts())))
    tiers = [tier for tier in STRENGTH if not report.missing(tier)]
    async with AsyncExitStack() as stack:
        clusters = {tier: await stack.enter_async_context(lab.cluster("--sandbox", tier)) for tier in tiers}
        sessions = {tier: cluster.session("warm") for tier, cluster in clusters.items()}
        first: dict[Tier, list[float]] = {tier: [] for tier in tiers}
        warm: dict[Tier, list[float]] = {tier: [] for tier in tiers}
        for tier in tiers:
            await first_cells(clusters[tier], 3, "1+1")
            await warm_cells(sessions[tier], rounds)
        for tier, _ in zip(cycle(tiers), range(starts * len(tiers)), strict=False):
            first[tier] += await first_cells(clusters[tier], 1, "1+1")
        for tier, _ in zip(cycle(tiers), range(blocks * len(tiers)), strict=False):
            warm[tier] += await warm_cells(sessions[tier], rounds)
        idle = {tier: await _idle_megabytes(cluster, resident) for tier, cluster in clusters.items()}
    for tier in tiers[1:]:
        ours, none = Figure.of(tier, first[tier]), Figure.of("none", first[Tier.NONE])
        goals = (Goal("ms more than without", ours.value - none.value, MOST_START_MS),)
        yield Row(f"first cell, tier {tier}", ours, none, goals=goals)
        ours, none = Figure.of(tier, warm[tier]), Figure.of("none", warm[Tier.NONE])
        goals = (Goal("times without", ours.value / none.value, MOST_WARM_RATIO),)
        yield Row(f"warm cell, tier {tier}", ours, none, goals=goals)
        more = idle[tier] - idle[Tier.NONE]
        figures = (Figure(str(who), idle[who], "MB", count=resident) for who in (tier, Tier.NONE))
        goals = (Goal("MB more than without", more, MOST_IDLE_MEGABYTES),)
        yield Row(f"memory of an idle session (PSS), tier {tier}", *figures, goals=goals)


async def _idle_megabytes(cluster: skep.EmbeddedCluster, count: int) -> float:
    """Return by how much the memory of all processes of the worker's grows with each idle session."""
    worker = cluster.worker_processes[0].pid
    before = sum(map(pss_megabytes, descendants(worker)))
    await make_resident(cluster, 0, count)
    await asyncio.sleep(SETTLE_SECONDS)
    return (sum(map(pss_megabytes, descendants(worker))) - before) / count
