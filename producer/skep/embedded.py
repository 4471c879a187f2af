"""A cluster of one's own: a real Redis and real workers, as child processes that end with this one."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Self

from skep.cluster import Cluster, open_shard
from skep.link import ShardLink
from skep.redis_server import RedisServer
from skep.replies import ReplyReader
from skep_shared.errors import InvalidArgument, StartError
from skep_shared.settings import Settings

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0
MAX_WORKERS: Final = 64
# A worker whose Redis has gone with its owner has nobody to wait for; flags that are given count over these.
OWN_FLAGS: Final = ("--redis-outage-seconds", "15", "--grace-seconds", "2")


class WorkerProcess:
    """A worker as a child process; it stops when this process ends, however that happens."""

    def __init__(
        self,
        redis_url: str,
        *,
        flags: tuple[str, ...] = (),
        log_path: Path | None = None,
        temp_dir: Path | None = None,
    ) -> None:
        """With a `temp_dir` the worker and its sessions put their temporary files there, to be removed by its owner."""
        self._redis_url = redis_url
        self._flags = flags
        self._log_path = log_path
        self._temp_dir = temp_dir
        self._alive_fd: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.worker_id = ""

    @property
    def pid(self) -> int:
        """The process id, 0 if it isn't running."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> Self:
        """Start the worker and wait until it is ready. Raises StartError."""
        ready_read, ready_write = os.pipe()
        alive_read, self._alive_fd = os.pipe()
        command = [
            sys.executable, "-P", "-m", "skep_workers", "--redis", self._redis_url,
            "--ready-fd", str(ready_write), "--alive-fd", str(alive_read), *self._flags,
        ]  # fmt: skip
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self._log_path.open("ab")) if self._log_path else None
            self._process = subprocess.Popen(
                command, pass_fds=[ready_write, alive_read], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env=self._environment(),
            )  # fmt: skip
        os.close(ready_write)
        os.close(alive_read)
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await _read_line(ready_read)
        except TimeoutError:
            await self.kill()
            raise StartError("worker", f"not ready after {READY_SECONDS:g} s{self._log_tail()}") from None
        finally:
            os.close(ready_read)
        if not line:
            await self.kill()
            raise StartError("worker", f"it ended before it was ready{self._log_tail()}")
        self.worker_id = line
        return self

    async def stop(self) -> int:
        """Drain the worker (TERM, then KILL); gives its exit status."""
        process = self._process
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        return await self._reap()

    async def kill(self) -> int:
        """End the worker at once, as a power cut would; gives its exit status."""
        if self._process is None:
            return 0
        self._process.kill()
        return await self._reap()

    async def _reap(self) -> int:
        process, self._process = self._process, None
        fd, self._alive_fd = self._alive_fd, None
        if fd is not None:
            os.close(fd)
        return await asyncio.to_thread(process.wait) if process is not None else 0

    def _environment(self) -> dict[str, str] | None:
        return {**os.environ, "TMPDIR": str(self._temp_dir)} if self._temp_dir is not None else None

    def _log_tail(self) -> str:
        if self._log_path is None:
            return ""
        with contextlib.suppress(OSError):
            lines = self._log_path.read_text(errors="replace").splitlines()
            return ". Its last words: " + " / ".join(lines[-3:])
        return ""


async def _read_line(fd: int) -> str:
    """Give what comes on the pipe up to a newline or its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(fd), "rb")
    )
    try:
        return (await reader.readline()).decode().strip()
    finally:
        transport.close()


class EmbeddedCluster(Cluster):
    """A Cluster that has its servers with it: `redis_url` for others, `worker_processes` to look at or to kill."""

    def __init__(self, link: ShardLink, replies: ReplyReader, worker_processes: list[WorkerProcess]) -> None:
        super().__init__(link, replies)
        self.worker_processes = worker_processes

    @property
    def redis_url(self) -> str:
        """The URL of the cluster's Redis, a unix socket."""
        return self.settings.redis_url


@asynccontextmanager
async def embedded(
    *, workers: int = 1, data_dir: Path | str | None = None, worker_flags: tuple[str, ...] = ()
) -> AsyncIterator[EmbeddedCluster]:
    """Run a Redis and `workers` workers of one's own, and connect to them.

    With `data_dir` sessions are kept there and a later call goes on from them; without, all of it is gone at the end.
    Raises InvalidArgument, StartError.
    """
    if type(workers) is not int or not 1 <= workers <= MAX_WORKERS:
        raise InvalidArgument("workers", workers, f"1 to {MAX_WORKERS}")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(RedisServer(data_dir=data_dir))
        # A worker that is killed can't remove its temporary files: they are in the server's directory and go with it.
        scratch = Path(server.socket_path).parent
        processes = [
            WorkerProcess(
                server.url, flags=(*OWN_FLAGS, *worker_flags), log_path=scratch / "workers.log", temp_dir=scratch
            )
            for _ in range(workers)
        ]
        for process in processes:
            stack.push_async_callback(process.stop)
        try:
            async with asyncio.TaskGroup() as group:
                for process in processes:
                    group.create_task(process.start())
        except* StartError as failures:
            raise failures.exceptions[0] from None
        link, replies = await stack.enter_async_context(open_shard(Settings.load(redis_url=server.url)))
        yield EmbeddedCluster(link, replies, processes)
