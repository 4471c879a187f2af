"""What a run shares: its directory, its clusters, its peers, and the end of everything that it started."""

import asyncio
import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import skep

from .children import Child, ChildFailed, child
from .environments import Environments, PeerMissing

T = TypeVar("T")

PR_SET_CHILD_SUBREAPER = 36
PEER_SCRIPTS = Path(__file__).parent / "peers"
BUSY_SECONDS = 0.5


@dataclass
class Lab:
    """One run. Its `directory` and all below it goes at the end."""

    directory: Path
    environments: Environments
    is_quick: bool
    redis_version: str = "?"
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def pick(self, full: T, quick: T) -> T:
        """Return the size that this run measures with."""
        return quick if self.is_quick else full

    @contextlib.asynccontextmanager
    async def cluster(self, *flags: str, workers: int = 1) -> AsyncIterator[skep.EmbeddedCluster]:
        """Run a Redis (append-only file, fsync every second) and workers with these flags."""
        data = self.directory / f"redis-{next(self._numbers)}"
        try:
            async with skep.embedded(workers=workers, data_dir=data, worker_flags=flags) as cluster:
                if self.redis_version == "?":
                    self.redis_version = str((await cluster._link.redis.info("server"))["redis_version"])
                yield cluster
        finally:
            shutil.rmtree(data, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def peer(self, environment: str, script: str, **settings: str) -> AsyncIterator[Child]:
        """Run a script of peers/ in a peer's environment. Raises PeerMissing."""
        python = self.environments.python(environment)
        own = {"PYTHONPATH": str(PEER_SCRIPTS), "PYTHONDONTWRITEBYTECODE": "1", **settings}
        log = self.directory / f"{script}.log"
        path = str(PEER_SCRIPTS / f"{script}.py")
        async with child(path, log=log, python=python, environment=own, directory=self.directory) as started:
            yield started

    async def try_peer(
        self, stack: contextlib.AsyncExitStack, environment: str, script: str, **settings: str
    ) -> tuple[Child | None, str]:
        """Return the peer, running until the stack's end, or None and why there is none (nothing if none is wanted)."""
        if not self.environments.are_wanted:
            return None, ""
        try:
            return await stack.enter_async_context(self.peer(environment, script, **settings)), ""
        except (PeerMissing, ChildFailed, TimeoutError) as exc:
            return None, f"no {environment}: {exc}"

    @contextlib.asynccontextmanager
    async def helper(self, module: str, *arguments: str) -> AsyncIterator[Child]:
        """Run a module of tests.bench as a child of its own, with our interpreter."""
        log = self.directory / f"{module}.log"
        async with child("-m", f"tests.bench.{module}", *arguments, log=log) as started:
            yield started


async def busy_share() -> float:
    """Return how much of the machine others use right now, 0 to 1."""
    before = _cpu_times()
    await asyncio.sleep(BUSY_SECONDS)
    after = _cpu_times()
    total = sum(after) - sum(before)
    idle = after[3] + after[4] - before[3] - before[4]
    return 1 - idle / max(total, 1)


def _cpu_times() -> list[int]:
    return [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that `end_orphans` finds it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans(patience_seconds: float = 3.0) -> list[str]:
    """End the remaining descendants; return the command lines of those that had to be killed."""
    ends_at = time.monotonic() + patience_seconds
    while _reap() and time.monotonic() < ends_at:
        time.sleep(0.05)
    killed = []
    for _ in range(100):  # a killed process leaves us its children
        left = _reap()
        if not left:
            break
        for pid in left:
            killed.append(f"{pid}: {_command_line(pid)}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return killed


def _reap() -> list[int]:
    """Return our children that still run, having reaped the others."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(text) for text in children.read_text().split()]


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    return "?"
