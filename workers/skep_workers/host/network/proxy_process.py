"""The worker's end of the proxy: starts its process when a session needs it, and again whenever it has ended.

Everything that the process knows is known here too, and sent to the next one. The listening socket is the worker's, so
that the port stays the same: connections that are made while no proxy runs wait, and are served by the next one. A
proxy that does not answer is killed.

There is no limit on restarts, only on how often they happen: a session that finds a way to end the proxy must not be
able to take the network away from the others for good.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from skep_shared.errors import StartError
from skep_shared.foreign_errors import describe_error
from skep_workers.host.broker.backoff import backoff_delays
from skep_workers.proxy.control import ControlChannel, Message
from skep_workers.proxy.permissions import digest_of
from skep_workers.proxy.server import BACKLOG

log = structlog.get_logger()

STOP_SECONDS: Final = 2.0
PING_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 30.0  # a proxy that has not answered for so long is killed
HOST: Final = "127.0.0.1"
ALWAYS_PASSED: Final = ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "RES_OPTIONS", "LOCALDOMAIN")
COMMAND: Final = (sys.executable, "-P", "-m", "skep_workers.proxy")

# Receives the host, the port and the reason.
OnRefusal = Callable[[str, int, str], None]


@dataclass(slots=True)
class Permission:
    """A session that may use the proxy. listener: of the filter of its process, None if it needs none."""

    key: int
    hosts: tuple[str, ...]
    on_refusal: OnRefusal
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    listener: int | None = None


class ProxyProcess:
    """One proxy at a time, from the first session that needs it to the end of the worker."""

    def __init__(
        self,
        hosts: list[str],
        internal: list[str],
        start_seconds: float,
        *,
        command: tuple[str, ...] = COMMAND,
        ping_seconds: float = PING_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """`hosts`: that all sessions may connect to. `internal`: private networks that hosts may lead to."""
        self._common = hosts, internal
        self._start_seconds = start_seconds
        self._command = command
        self._ping_seconds = ping_seconds
        self._silence_seconds = silence_seconds
        self._starts = 0
        self._keys = 0
        self._permissions: dict[int, Permission] = {}
        self._listening: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: ControlChannel | None = None
        self._ready: asyncio.Future[None] | None = None
        self._answered_at = 0.0
        self._starting = asyncio.Lock()
        self._lost = asyncio.Event()
        self._ended: list[tuple[subprocess.Popen[bytes], str]] = []  # not waited for yet, and why each has ended

    @property
    def port(self) -> int:
        """The port on HOST; the same for all processes of this worker. 0 before the first one."""
        port: int = 0 if self._listening is None else self._listening.getsockname()[1]
        return port

    @property
    def pid(self) -> int:
        """The process's id, 0 if none runs."""
        return 0 if self._process is None else self._process.pid

    async def ensure_started(self) -> None:
        """Start the proxy if none runs. Raises StartError."""
        async with self._starting:
            if self._channel is not None:
                return
            try:
                ready = self._start()
            except OSError as exc:
                raise StartError("proxy", str(exc)) from exc
            try:
                async with asyncio.timeout(self._start_seconds):
                    await ready
            except TimeoutError:
                self._lose("no answer after its start")
                raise StartError("proxy", f"no answer after {self._start_seconds:g} s") from None
            except asyncio.CancelledError:
                self._lose("its start was cancelled")
                raise
            self._starts += 1
            log.info("proxy.started", pid=self.pid, port=self.port, starts=self._starts)

    async def keep_running(self) -> None:
        """Start the proxy again whenever it has ended, and kill it when it does not answer; until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ping_seconds):
                    await self._lost.wait()
            if not self._lost.is_set():
                self._ping()
                continue
            self._lost.clear()
            await self._reap()
            for delay in backoff_delays():
                await asyncio.sleep(delay)  # also before the first: it may end again at once, again and again
                try:
                    await self.ensure_started()
                    break
                except StartError as exc:
                    log.error("proxy.start_failed", error=describe_error(exc))

    def permit(self, hosts: tuple[str, ...], on_refusal: OnRefusal) -> Permission:
        """Permit a session to connect to these hosts, until `revoke`."""
        self._keys += 1
        permission = Permission(self._keys, hosts, on_refusal)
        self._permissions[permission.key] = permission
        self._send(permission)
        return permission

    def supply(self, permission: Permission, listener: int) -> None:
        """Make the sockets of the session's process from now on, by the listener of its filter, which is closed later.

        The listener is kept here, because without one a filter refuses all calls at once.
        """
        self._close_listener(permission)
        permission.listener = listener
        if self._channel is not None:
            self._channel.send("supply", permission.key, descriptors=(listener,))

    def revoke(self, permission: Permission) -> None:
        """End the session's connections, and permit no more of them."""
        self._close_listener(permission)
        if self._permissions.pop(permission.key, None) is not None and self._channel is not None:
            self._channel.send("revoke", permission.key)

    async def stop(self) -> None:
        """End the proxy: by the end of its control socket, and by a kill if that takes too long."""
        process = self._process
        self._lose("stopped")
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        await self._reap()
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for permission in self._permissions.values():
            self._close_listener(permission)

    def _start(self) -> asyncio.Future[None]:
        """Start a process; return what is done when it serves. Raises OSError."""
        if self._listening is None:
            self._listening = socket.create_server((HOST, 0), backlog=BACKLOG)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*self._command, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in ALWAYS_PASSED if name in os.environ},
                    start_new_session=True,  # Ctrl-C in the worker's terminal must reach the worker only
                )
            except OSError:
                ours.close()
                raise
        loop = asyncio.get_running_loop()
        self._ready = ready = loop.create_future()
        self._answered_at = loop.time()
        self._channel = channel = ControlChannel(ours, self._receive, lambda: self._lose("it ended"))
        channel.send("hosts", *self._common)
        for permission in self._permissions.values():
            self._send(permission)
        channel.send("listen", descriptors=(self._listening.fileno(),))
        return ready

    def _send(self, permission: Permission) -> None:
        if self._channel is None:
            return
        self._channel.send("permit", permission.key, digest_of(permission.token), permission.hosts)
        if permission.listener is not None:
            self._channel.send("supply", permission.key, descriptors=(permission.listener,))

    def _receive(self, message: Message, descriptors: list[int]) -> None:
        for each in descriptors:
            os.close(each)
        self._answered_at = asyncio.get_running_loop().time()
        match message:
            case ["ready"]:
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
            case ["refused", key, host, port, reason]:
                if (permission := self._permissions.get(key)) is not None:
                    permission.on_refusal(host, port, reason)

    def _ping(self) -> None:
        if self._channel is None or self._ready is None or not self._ready.done():
            return  # a start has its own deadline
        if asyncio.get_running_loop().time() - self._answered_at > self._silence_seconds:
            self._lose("it did not answer")
        else:
            self._channel.send("ping")

    def _lose(self, reason: str) -> None:
        channel, self._channel = self._channel, None
        process, self._process = self._process, None
        if channel is not None:
            channel.close()
        if process is None:
            return
        if reason != "stopped":
            process.kill()
            self._ended.append((process, reason))
            self._lost.set()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(StartError("proxy", f"{reason}; its own messages are on the worker's stderr"))
            self._ready.exception()  # marked as retrieved: no start may be waiting

    async def _reap(self) -> None:
        """Wait for the processes that have ended or were killed."""
        while self._ended:
            process, reason = self._ended.pop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, STOP_SECONDS)
            log.warning("proxy.lost", reason=reason, exit_status=process.returncode)

    @staticmethod
    def _close_listener(permission: Permission) -> None:
        listener, permission.listener = permission.listener, None
        if listener is not None:
            os.close(listener)
