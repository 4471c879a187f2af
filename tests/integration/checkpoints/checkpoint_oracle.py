"""Random cells with crashes, compared with the same cells without: `python -m tests.integration.checkpoints.checkpoint_oracle`."""

import argparse
import asyncio
import random
import secrets
import sys
import time
from typing import Self

from tests.integration.cells.random_cells import cells

import skep
from skep.local.embedded import WorkerProcess
from skep.local.redis_server import RedisServer

LEASE_SECONDS = "1"
CRASH_EVERY = 25
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
CRASHES = ["process", "process", "process", "hibernate", "hibernate", "worker"]


class Oracle:
    """One cluster with two workers, one of which is killed from time to time."""

    def __init__(self, cluster: skep.Cluster) -> None:
        self._cluster = cluster
        self._workers: list[WorkerProcess] = []
        self.crashes = dict.fromkeys(CRASHES, 0)

    async def __aenter__(self) -> Self:
        for _ in range(2):
            await self._start_worker()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for worker in self._workers:
            await worker.kill()

    async def _start_worker(self) -> None:
        settings = self._cluster.settings
        flags = ("--prefix", settings.prefix, "--lease-seconds", LEASE_SECONDS, "--log-level", "error")
        self._workers.append(await WorkerProcess(settings.redis_url, flags=flags).start())

    async def compare(self, seed: int, count: int) -> tuple[str, str]:
        """Return the final state of both sessions."""
        plain = skep.SessionOptions(durability="none")
        reference = self._cluster.session(f"plain-{seed}-{secrets.token_hex(3)}", options=plain)
        session = self._cluster.session(f"crash-{seed}-{secrets.token_hex(3)}")
        codes = list(cells(seed, count))
        # A worker's death must not affect the reference, so it runs first.
        expected = await self._run(reference, codes)
        dice = random.Random(seed)
        crash_at = {start + dice.randrange(CRASH_EVERY) for start in range(0, count, CRASH_EVERY)}
        for start in range(count):
            if start in crash_at:
                await self._crash(session, dice, codes[start])
            await session.submit(codes[start])
        return expected, await self._describe(session)

    async def _run(self, session: skep.Session, codes: list[str]) -> str:
        for code in codes:
            await session.submit(code)
        return await self._describe(session)

    async def _describe(self, session: skep.Session) -> str:
        outcome = await session.run("_describe()")
        outcome.raise_for_status()
        assert isinstance(outcome.value, str)
        return outcome.value

    async def _crash(self, session: skep.Session, dice: random.Random, code: str) -> None:
        kind = dice.choice(CRASHES)
        self.crashes[kind] += 1
        if kind == "process":  # with effects that must be undone
            dying = await session.submit(f"try:\n    exec({code!r}, globals())\nexcept BaseException: pass\n{KILL}")
            assert (await dying.outcome()).status is skep.CellStatus.CRASHED
        elif kind == "hibernate":
            last = await session.submit("pass")
            await last.outcome()
            await session.hibernate()
        else:
            owner = (await session.info()).owner if dice.random() < 0.5 else None
            worker = next((each for each in self._workers if each.worker_id == owner), self._workers[0])
            self._workers.remove(worker)
            await worker.kill()
            await self._start_worker()


async def main(seeds: range, count: int) -> int:
    """Compare the sessions for each seed; return the number of seeds that differ."""
    different = 0
    async with RedisServer() as server, skep.connect(server.url) as cluster, Oracle(cluster) as oracle:
        for seed in seeds:
            began = time.monotonic()
            expected, actual = await oracle.compare(seed, count)
            verdict = "equal" if expected == actual else "DIFFERENT"
            lines = len(expected.splitlines())
            print(f"seed {seed}: {verdict}, {count} cells, {lines} objects and names, {time.monotonic() - began:.1f} s")
            if expected != actual:
                different += 1
                _show(expected, actual)
        print(f"{len(seeds) - different} of {len(seeds)} seeds equal; crashes: {oracle.crashes}")
    return different


def _show(expected: str, actual: str) -> None:
    import difflib

    lines = difflib.unified_diff(expected.splitlines(), actual.splitlines(), "plain", "crashed", n=0, lineterm="")
    print("\n".join(list(lines)[:40]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many (20)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--cells", type=int, default=500, help="cells for each (500)")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(range(given.first, given.first + given.seeds), given.cells)) > 0)
