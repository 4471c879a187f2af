"""The first cell of a new session, submit to outcome, from a zygote that is warm."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import skep

from .figures import Figure, Goal, Row
from .floors import warm_forks
from .lab import Lab
from .libraries import why_unmeasured
from .warm import warm_cells

NAME = "first"
ABOUT = "the first cell of a new session, also with numpy and pandas preloaded and used"
PEERS: tuple[str, ...] = ("notebooks",)

HEAVY = "import numpy as np, pandas as pd\nint(pd.DataFrame({'a': np.arange(10)}).sum().iloc[0])"
PRELOAD = ("numpy", "pandas")


async def first_cells(cluster: skep.Cluster, count: int, code: str) -> list[float]:
    """Return the milliseconds of each first cell; the sessions are closed again off the clock."""
    taken = []
    for number in range(count):
        session = cluster.session(f"first-{number}")
        taken += await warm_cells(session, 1, code)
        await session.close(purge=True)
    return taken


async def run(lab: Lab) -> AsyncIterator[Row]:
    """Measure ours, then the peer, which starts a process and imports everything each time."""
    count = lab.pick(100, 20)
    async with AsyncExitStack() as stack:
        kernel, trouble = await lab.try_peer(stack, "notebooks", "notebook_kernel")
        for what, code, modules, limit in (
            ("`1+1`", "1+1", (), 15.0),
            ("numpy and pandas preloaded and used", HEAVY, PRELOAD, 25.0),
        ):
            if reason := why_unmeasured(modules):
                yield Row(what, note=reason, failed=True)
                continue
            flags = [flag for name in modules for flag in ("--preload", name)]
            async with lab.cluster(*flags) as cluster:
                await first_cells(cluster, 3, code)
                floor = Figure.of("fork of a warm process", warm_forks(count, *modules))
                ours = Figure.of("skep", await first_cells(cluster, count, code))
            goals = [Goal("p50 ms", ours.value, limit)]
            peers: tuple[Figure, ...] = ()
            cold = await kernel.try_ask("cold", count=lab.pick(7, 2), code=code) if kernel is not None else None
            if cold:
                peers = (Figure.of("ipykernel", cold),)
                if not modules:
                    times = peers[0].value / ours.value
                    goals.append(Goal("times faster than ipykernel", times, 20.0, at_least=True))
            yield Row(what, ours, floor, peers, tuple(goals), trouble)
