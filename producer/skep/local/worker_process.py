"""A worker as a child process."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar, Final, Self

from skep.local.extras import check_extra
from skep_shared.environment import PREFIX
from skep_shared.errors import StartError

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0


class WorkerProcess:
    """A worker as a child process; it stops when this process ends, however that happens."""

    python: ClassVar[str] = sys.executable  # the interpreter that workers run on

    def __init__(
        self,
        redis_url: str,
        *,
        flags: tuple[str, ...] = (),
        log_path: Path | None = None,
        temp_dir: Path | None = None,
        reads_environment: bool = True,
    ) -> None:
        """With a `temp_dir` the worker and its sessions create their temporary files there; its owner removes them.

        reads_environment: whether SKEP_* variables of this process set the worker's settings.
        """
        self._redis_url = redis_url
        self._flags = flags
        self._log_path = log_path
        self._temp_dir = temp_dir
        self._reads_environment = reads_environment
        self._alive_fd: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ended = False
        self.worker_id: str = ""

    @property
    def pid(self) -> int:
        """The process id, 0 if it isn't running."""
        return self._process.pid if self._process is not None else 0

    @property
    def is_ended(self) -> bool:
        """Return whether `stop` or `kill` was called."""
        return self._is_ended

    async def start(self) -> Self:
        """Start the worker and wait until it is ready. Raises StartError."""
        if self.python == sys.executable:
            check_extra("worker")
        ready_read, ready_write = os.pipe()
        alive_read, self._alive_fd = os.pipe()
        command = [
            self.python, "-P", "-m", "skep_workers", "--redis", self._redis_url,
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
            await self._end_at_once()
            raise StartError("worker", f"not ready after {READY_SECONDS:g} s{self._log_tail()}") from None
        finally:
            os.close(ready_read)
        if not line:
            await self._end_at_once()
            raise StartError("worker", f"it ended before it was ready{self._log_tail()}")
        self.worker_id = line
        return self

    async def stop(self) -> int:
        """Drain the worker (TERM, then KILL), and return its exit status."""
        self._is_ended = True
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
        """Kill the worker at once, as a power failure would, and return its exit status."""
        self._is_ended = True
        return await self._end_at_once()

    async def death(self) -> str | None:
        """Wait until the worker ends; return how, with its last log lines, or None if `stop` or `kill` was called."""
        process = self._process
        if process is not None:
            await _process_end(process.pid)
        if self._is_ended or process is None:
            return None
        status = await self._reap()
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        return f"{how}{self._log_tail()}"

    async def _end_at_once(self) -> int:
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

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if not self._reads_environment:
            environment = {name: value for name, value in environment.items() if not name.upper().startswith(PREFIX)}
        if self._temp_dir is not None:
            environment["TMPDIR"] = str(self._temp_dir)
        return environment

    def _log_tail(self) -> str:
        if self._log_path is None:
            return ""
        with contextlib.suppress(OSError):
            lines = self._log_path.read_text(errors="replace").splitlines()
            return ". Its last log lines: " + " / ".join(lines[-3:])
        return ""


async def _read_line(fd: int) -> str:
    """Return the text on the pipe up to a newline or its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(fd), "rb")
    )
    try:
        return (await reader.readline()).decode().strip()
    finally:
        transport.close()


async def _process_end(pid: int) -> None:
    """Wait for the end of a child process that has not been reaped."""
    loop = asyncio.get_running_loop()
    handle = os.pidfd_open(pid)
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
