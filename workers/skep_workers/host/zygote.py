"""The host's end of the zygote: starts it, asks it for session processes, hears of their ends.

A zygote that dies is replaced at once; the sessions forked from it live on, but how one of them ends is then not known
any more, and what it leaves is the worker's to end (see strays.py).
"""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgpack
import structlog

from skep_shared.errors import StartError
from skep_shared.foreign_errors import describe_error
from skep_workers.host.backoff import backoff_delays
from skep_workers.host.strays import Strays

PACKET_BYTES: Final = 64 * 1024
STOP_SECONDS: Final = 2.0
HASH_SEED: Final = "PYTHONHASHSEED"
ALWAYS_PASSED: Final = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME")

log = structlog.get_logger()


def session_environment(pass_env: list[str]) -> dict[str, str]:
    """Give the environment of session processes: an allow-list, so that no Redis URL and no secret is in it."""
    names = {*ALWAYS_PASSED, *pass_env, *(name for name in os.environ if name.startswith("LC_"))}
    chosen = {name: os.environ[name] for name in sorted(names) if name in os.environ}
    # Figures are drawn off screen, and text is UTF-8 whatever the locale says.
    return chosen | {"MPLBACKEND": "module://skep_workers.session.figures", "PYTHONUTF8": "1"}


class Zygote:
    """One zygote process at a time, started when it is first needed, and again when it has died (`keep`)."""

    def __init__(
        self,
        scratch: Path,
        place: Path,
        *,
        preload: list[str],
        pass_env: list[str],
        hash_seed: int,
        start_seconds: float,
        on_start: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`scratch` is the worker's own directory, which the zygote removes should the worker be killed.

        place: where sessions have their directories; the zygote removes this worker's should it be killed.

        hash_seed: the shard's, so that hashes of strings are the same in all its processes.
        `on_start` is called with the pid of each zygote before it can fork.
        """
        self._hash_seed = hash_seed
        self._on_start = on_start
        self._scratch = scratch
        self._place = place
        self._preload = preload
        self._pass_env = pass_env
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._ready: asyncio.Future[int] | None = None
        self._requests = itertools.count(1)
        self._requested: dict[int, asyncio.Future[int]] = {}  # pid of a fork; or 1, 0: whether one was adopted
        self._exit_handlers: dict[int, Callable[[int | None], None]] = {}
        self._lost = asyncio.Event()
        self._strays = Strays(lambda: self._process.pid if self._process is not None else None)

    async def ensure_started(self) -> None:
        """Start the zygote if none is running. Raises StartError."""
        async with self._starting:
            if self._socket is not None:
                return
            loop = asyncio.get_running_loop()
            environment = session_environment(self._pass_env)
            passed_seed = environment.get(HASH_SEED, "")  # for programs that cells start, if an operator passes it
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                command = [sys.executable, "-P", "-m", "skep_workers.session.zygote", str(theirs.fileno())]
                self._process = subprocess.Popen(
                    [*command, str(os.getpid()), str(self._scratch), str(self._place), passed_seed, *self._preload],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=environment | {HASH_SEED: str(self._hash_seed)},
                    start_new_session=True,  # Ctrl-C in the worker's terminal is the worker's business
                )
            self._on_start(self._process.pid)
            ours.setblocking(False)
            self._socket = ours
            self._ready = loop.create_future()
            loop.add_reader(ours.fileno(), self._receive)
            try:
                async with asyncio.timeout(self._start_seconds):
                    pid = await self._ready
            except TimeoutError:
                self._lose("no answer")
                raise StartError("zygote", f"no answer after {self._start_seconds:g} s") from None
            log.info("zygote.started", pid=pid, preload=self._preload)

    def follow_shard(self, place: Path, hash_seed: int) -> None:
        """Fork from a zygote with this place and hash seed from now on; the sessions of the one before live on."""
        if (place, hash_seed) != (self._place, self._hash_seed):
            self._place, self._hash_seed = place, hash_seed
            self._lose("the shard has another place or hash seed")

    async def keep(self) -> None:
        """Start another one whenever it dies, before somebody needs it; until cancelled."""
        while True:
            await self._lost.wait()
            self._lost.clear()
            for delay in backoff_delays():
                try:
                    await self.ensure_started()
                    break
                except StartError as exc:
                    log.error("zygote.start_failed", error=describe_error(exc))
                    await asyncio.sleep(delay)

    async def fork(self, descriptors: list[int], directory: str, on_exit: Callable[[int | None], None]) -> int:
        """Fork a session process with these descriptors; gives its pid. Raises StartError.

        `on_exit` is called once, with the wait status, or None if the zygote died first.
        """
        await self.ensure_started()
        pid = await self._ask("fork", directory, descriptors=descriptors)
        self._exit_handlers[pid] = on_exit
        return pid

    async def adopt(self, pid: int, source: int, on_exit: Callable[[int | None], None]) -> None:
        """Take over the fork that the session process `source` has made of itself. Raises StartError."""
        self._exit_handlers[pid] = on_exit
        try:
            is_adopted = bool(await self._ask("adopt", pid, source))
        except StartError:
            self._exit_handlers.pop(pid, None)
            raise
        if not is_adopted:
            self._exit_handlers.pop(pid, None)
            raise StartError("session process", f"process {pid} is no fork of process {source}")

    async def _ask(self, *question: Any, descriptors: Sequence[int] = ()) -> int:
        """Put a request and give its answer. Raises StartError."""
        request = next(self._requests)
        future = asyncio.get_running_loop().create_future()
        self._requested[request] = future
        try:
            if self._socket is None:
                raise StartError("session process", "there is no zygote")
            packet = msgpack.packb([question[0], request, *question[1:]])
            socket.send_fds(self._socket, [packet], descriptors)
            async with asyncio.timeout(self._start_seconds):
                answer: int = await future
        except TimeoutError:
            raise StartError("session process", f"no fork after {self._start_seconds:g} s") from None
        except OSError as exc:
            self._lose(str(exc))
            raise StartError("session process", f"the zygote can't be reached ({exc})") from exc
        finally:
            self._requested.pop(request, None)
        return answer

    async def stop(self) -> None:
        """End the zygote; its children have their own ends."""
        process = self._process
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(msgpack.packb(["stop"]))
        self._lose("stopped")
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        await self._strays.close()

    def _receive(self) -> None:
        assert self._socket is not None  # noqa: S101 - the reader is removed before the socket
        try:
            data = self._socket.recv(PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose("it died")
            return
        self._take(msgpack.unpackb(data))

    def _take(self, message: list[Any]) -> None:
        match message:
            case ["ready", pid]:
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(pid)
            case ["forked", request, pid]:
                future = self._requested.get(request)
                if future is not None and not future.done():
                    future.set_result(pid)
                else:  # asked for by somebody who has given up
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            case ["adopted", request, is_adopted]:
                future = self._requested.get(request)
                if future is not None and not future.done():
                    future.set_result(int(is_adopted))
            case ["exited", pid, status]:
                handler = self._exit_handlers.pop(pid, None)
                if handler is not None:
                    handler(status)

    def _lose(self, reason: str) -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            return
        asyncio.get_running_loop().remove_reader(sock.fileno())
        sock.close()
        process, self._process = self._process, None
        if process is not None and reason != "stopped":
            self._lost.set()
            log.warning("zygote.lost", reason=reason, exit_status=process.poll())
            process.kill()
        error = StartError("zygote", f"{reason}; its own words are on the worker's stderr")
        for future in (self._ready, *self._requested.values()):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # seen: who asked may have heard it from the socket
        handlers, self._exit_handlers = self._exit_handlers, {}
        if reason != "stopped":
            self._strays.take(handlers)
        for handler in handlers.values():
            handler(None)
