"""The real parts of a soak: a redis-server with an append-only file, and workers that are replaced when they end.

Everything is below one directory, which is every process's TMPDIR: so leftovers can be found and attributed.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from redis.asyncio import Redis
from tests.integration.conftest import StoppableRedis, wait_for_process_end

from skep.local.embedded import WorkerProcess
from skep_shared.errors import StartError

from .proxy import Link, Ruler
from .soak_log import SoakLog

LEASE_SECONDS = 1.0
WORKERS = 3
START_SECONDS = 30.0
WORKER_FLAGS = (
    "--lease-seconds", str(LEASE_SECONDS), "--command-timeout-seconds", "1.5", "--connect-timeout-seconds", "1.5",
    "--block-seconds", "2", "--max-resident", "24", "--idle-seconds", "4", "--grace-seconds", "1",
    "--keep-checkpoints", "3", "--log-format", "json",
)  # fmt: skip


class Worker:
    """One worker from start to end."""

    def __init__(self, name: str, link: Link, process: WorkerProcess) -> None:
        self.name = name
        self.link = link
        self.process = process
        self.is_ready = False
        self.is_ending = False  # ended by the soak: its exit status is no finding
        self.is_stopped = False

    @property
    def pid(self) -> int:
        """The process id, 0 without a process."""
        return self.process.pid

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; return False if the process is gone."""
        pid = self.pid
        if not pid:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def kill(self) -> None:
        """End it at once."""
        self.is_ending = True
        self.send(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the process (SIGSTOP)."""
        self.is_stopped = self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process."""
        self.is_stopped = False
        self.send(signal.SIGCONT)

    def zygotes(self) -> list[int]:
        """Return its child processes: usually its zygote."""
        return children(self.pid)

    def sessions(self) -> list[int]:
        """Return the processes of its sessions."""
        return [pid for zygote in self.zygotes() for pid in children(zygote)]


class Parts:
    """Redis and the workers."""

    def __init__(self, directory: Path, log: SoakLog, ruler: Ruler) -> None:
        self.directory = directory
        self.scratch = directory / "tmp"
        self.worker_log = directory / "workers.log"
        self.redis = StoppableRedis(directory)
        self.admin = Redis.from_url(self.redis.url, socket_timeout=10.0)
        self.workers: list[Worker] = []
        self.is_closing = False
        self._log = log
        self._ruler = ruler
        self._starts = 0
        self.links: list[Link] = []
        self._supervisions: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> list[Worker]:
        """The workers that faults can hit."""
        return [worker for worker in self.workers if worker.is_ready and not worker.is_ending]

    async def start(self) -> None:
        """Start all parts; return when the workers are ready."""
        self.scratch.mkdir()
        await self.start_redis()
        for _ in range(WORKERS):
            self._supervisions.append(asyncio.create_task(self._supervise_one()))
        async with asyncio.timeout(START_SECONDS):
            while len(self.ready) < WORKERS:  # noqa: ASYNC110 - they start in their own time
                await asyncio.sleep(0.05)

    async def start_redis(self) -> None:
        """Start Redis on the files of the last one."""
        async with asyncio.timeout(START_SECONDS):
            await self.redis.start()

    async def open_link(self, name: str) -> Link:
        """Return a link to Redis for a process."""
        link = Link(name, self.directory / "redis.sock", self._ruler)
        await link.open()
        self.links.append(link)
        return link

    async def _supervise_one(self) -> None:
        """Keep one worker running: whenever it ends, the next one starts."""
        while not self.is_closing:
            self._starts += 1
            name = f"w{self._starts}"
            link = await self.open_link(name)
            worker = Worker(
                name,
                link,
                WorkerProcess(link.url, flags=WORKER_FLAGS, log_path=self.worker_log, temp_dir=self.scratch),
            )
            self.workers.append(worker)
            try:
                await worker.process.start()
            except StartError as exc:
                # It may have found Redis away, or have been killed at a step of its first claim.
                self._log.note("start failed", name, text=str(exc))
            else:
                worker.is_ready = True
                await self._live(worker)
            self.workers.remove(worker)
            await asyncio.sleep(0.2)

    async def _live(self, worker: Worker) -> None:
        await wait_for_process_end(worker.pid)
        was_ours = worker.is_ending
        status = await worker.process.kill()  # it has ended: this reaps it
        if not was_ours or status not in {0, -signal.SIGKILL}:
            self._log.note("worker exit", worker.name, text=f"status {status}")

    async def drain(self) -> None:
        """End every worker by SIGTERM, and start no other."""
        self.is_closing = True
        for worker in self.workers:
            worker.is_ending = True
            worker.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.gather(*self._supervisions)
        except TimeoutError:
            self._log.note("unhandled", "workers", text="a worker did not end within the bound after SIGTERM")

    async def close(self) -> None:
        """End everything that still runs."""
        self.is_closing = True
        for supervision in self._supervisions:
            supervision.cancel()
        await asyncio.gather(*self._supervisions, return_exceptions=True)
        for worker in self.workers:
            await worker.process.kill()
        await self.admin.aclose()
        for link in self.links:
            await link.close()
        with contextlib.suppress(AssertionError):  # it was never started
            self.redis.kill()

    def left_over(self) -> list[int]:
        """Return the processes of this soak that still run, except Redis."""
        return [int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit() and self._is_ours(place)]

    def _is_ours(self, place: Path) -> bool:
        with contextlib.suppress(OSError):
            return f"TMPDIR={self.scratch}".encode() in (place / "environ").read_bytes().split(b"\0")
        return False


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that are not gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir() if pid else ():
            found += map(int, (task / "children").read_text().split())
    return found
