"""The host's end of the zygote: starts it, requests session processes from it, and is notified when they end.

A zygote that dies is replaced at once. The sessions forked from it live on, but their exit statuses can no longer be
known, and the worker has to end the processes that they leave behind (see orphaned_sessions.py).
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgpack
import structlog

from skep_shared.errors import StartError
from skep_shared.foreign_errors import describe_error
from skep_shared.isolation.network import GrantedNetwork
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.packages import PackageMode
from skep_shared.session_directories import make_private_directory
from skep_workers.host.broker.backoff import backoff_delays
from skep_workers.host.control_groups.session_group import SessionGroup
from skep_workers.host.process.orphaned_sessions import OrphanedSessions
from skep_workers.sandbox.policy import NO_SANDBOX, SandboxPolicy

PACKET_BYTES: Final = 64 * 1024
STOP_SECONDS: Final = 2.0
HASH_SEED: Final = "PYTHONHASHSEED"
# Not `-P -m`: programs that a cell starts with its own interpreter's options, as multiprocessing does, would not find
# modules in the session's directory. The path's first entry is the worker's directory: nothing may be imported from it.
START: Final = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); from skep_workers.session.zygote import main; main()"
)
ALWAYS_PASSED: Final = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME")

log = structlog.get_logger()


def session_environment(pass_env: list[str]) -> dict[str, str]:
    """Return the environment of session processes: an allow-list, so that it has no Redis URL and no secrets."""
    names = {*ALWAYS_PASSED, *pass_env, *(name for name in os.environ if name.startswith("LC_"))}
    chosen = {name: os.environ[name] for name in sorted(names) if name in os.environ}
    # Figures are drawn off screen, and text is UTF-8 regardless of the locale.
    return chosen | {"MPLBACKEND": "module://skep_workers.session.figures", "PYTHONUTF8": "1"}


@dataclass(frozen=True, slots=True)
class SessionSetup:
    """What every session of a worker begins with: modules imported in advance, environment variables, a sandbox.

    group_directories: the worker's control groups, which the zygote removes if the worker is killed.
    package_index: settings of pip, where packages come from. package_mode: what becomes of installed ones.
    """

    preload: list[str] = field(default_factory=list)
    pass_env: list[str] = field(default_factory=list)
    sandbox: SandboxPolicy = NO_SANDBOX
    group_directories: tuple[str, ...] = ()
    package_index: dict[str, str] = field(default_factory=dict)
    package_mode: PackageMode = PackageMode.SAVED


class Zygote:
    """One zygote process at a time, started when it is first needed, and again when it has died (`keep_running`)."""

    def __init__(
        self,
        scratch: Path,
        place: Path,
        setup: SessionSetup,
        *,
        hash_seed: int,
        start_seconds: float,
        on_start: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`scratch` is the worker's own directory, which the zygote removes if the worker is killed.

        place: where sessions have their directories; the zygote removes those of this worker if the worker is killed.
        hash_seed: the shard's, so that hashes of strings are the same in all its processes.
        `on_start` is called with the pid of each zygote before it can fork.
        """
        self._hash_seed = hash_seed
        self._on_start = on_start
        self._scratch = scratch
        self._place = place
        self._setup = setup
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._ready: asyncio.Future[int] | None = None
        self._requests = itertools.count(1)
        # Resolved with the pid of a fork, or with 1 or 0: whether a fork was adopted.
        self._requested: dict[int, asyncio.Future[int]] = {}
        self._exit_handlers: dict[int, Callable[[int | None], None]] = {}
        self._lost = asyncio.Event()
        self._orphaned_sessions = OrphanedSessions(lambda: self._process.pid if self._process is not None else None)

    @property
    def has_sandbox(self) -> bool:
        """Return whether sessions are restricted to their own directories."""
        return self._setup.sandbox.tier is not Tier.NONE

    async def ensure_started(self) -> None:
        """Start the zygote if none is running. Raises StartError."""
        async with self._starting:
            if self._socket is not None:
                return
            loop = asyncio.get_running_loop()
            setup = self._setup
            environment = session_environment(setup.pass_env)
            passed_seed = environment.get(HASH_SEED, "")  # for programs that cells start, if the operator passes it on
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                command = [sys.executable, "-c", START, str(theirs.fileno()), str(os.getpid()), str(self._scratch)]
                self._process = subprocess.Popen(
                    [*command, str(self._place), passed_seed, setup.sandbox.to_text(), *setup.preload],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=environment | {HASH_SEED: str(self._hash_seed)},
                    start_new_session=True,  # Ctrl-C in the worker's terminal must reach the worker only
                )
            # Not in its arguments, which every process of the machine can read: an index may need a password.
            ours.send(msgpack.packb(["packages", setup.package_index, setup.package_mode]))
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
            if setup.group_directories:
                ours.send(msgpack.packb(["groups", *setup.group_directories]))
            log.info("zygote.started", pid=pid, preload=setup.preload)

    def follow_shard(self, place: Path, hash_seed: int) -> None:
        """Fork from a zygote with this place and hash seed from now on; sessions of the previous zygote live on."""
        if (place, hash_seed) != (self._place, self._hash_seed):
            self._place, self._hash_seed = place, hash_seed
            self._lose("the shard has another place or hash seed")

    async def keep_running(self) -> None:
        """Start a new zygote whenever it dies, before a session needs one, until cancelled."""
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

    async def fork(
        self,
        descriptors: list[int],
        directory: str,
        on_exit: Callable[[int | None], None],
        group: SessionGroup | None = None,
        network: GrantedNetwork | None = None,
    ) -> int:
        """Fork a session process with these descriptors in this control group; return its pid. Raises StartError.

        `on_exit` is called once, with the wait status, or None if the zygote died first. `network`: of a session in a
        sandbox; None: no network. With an allow-list, one more descriptor follows, see NetworkedZygote.
        """
        await self.ensure_started()
        try:
            private = str(make_private_directory(Path(directory)))
        except OSError as exc:
            raise StartError("session process", f"its private directory can't be made: {exc}") from exc
        packed = [] if network is None else network.pack()
        try:
            entries = group.open_entries() if group is not None else []
        except OSError as exc:
            raise StartError("session process", f"its control group can't be entered: {exc}") from exc
        try:
            message = ("fork", directory, private, packed, len(entries))
            pid = await self._ask(*message, descriptors=[*descriptors, *entries])
        finally:
            for entry in entries:
                os.close(entry)
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
        """Send a request and return its answer. Raises StartError."""
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
        """End the zygote; the session processes are ended separately."""
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
        await self._orphaned_sessions.end_all()

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
        self._receive_message(msgpack.unpackb(data))

    def _receive_message(self, message: list[Any]) -> None:
        match message:
            case ["ready", pid]:
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(pid)
            case ["forked", request, pid]:
                future = self._requested.get(request)
                if future is not None and not future.done():
                    future.set_result(pid)
                else:  # the request has timed out
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            case ["refused", request, reason]:
                future = self._requested.get(request)
                if future is not None and not future.done():
                    future.set_exception(StartError("session process", f"the zygote can't fork: {reason}"))
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
        error = StartError("zygote", f"{reason}; its own messages are on the worker's stderr")
        for future in (self._ready, *self._requested.values()):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # marked as retrieved: the caller may have got an error from the socket already
        handlers, self._exit_handlers = self._exit_handlers, {}
        if reason != "stopped":
            self._orphaned_sessions.adopt(handlers)
        for handler in handlers.values():
            handler(None)
