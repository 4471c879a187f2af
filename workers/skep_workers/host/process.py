"""A session process as the host sees it: two sockets, two pipes, a pid, and a certain end.

Whatever comes on the cell socket goes to `on_frame`, in order; the end of the process goes to `on_exit`, once, after
everything it wrote. Bytes that are no frames end the process, never the host.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeGuard

from skep_shared.errors import ProtocolError, StartError
from skep_shared.flushed_text import FlushedText
from skep_shared.frame_codec import FrameDecoder, encode_blob, encode_frame
from skep_shared.frames import (
    Answer,
    Blob,
    Configure,
    Execute,
    Fault,
    Frame,
    Hello,
    Interrupt,
    Ping,
    Pong,
    Reply,
    Request,
    Restore,
    Saved,
    Shutdown,
    Twin,
    Twinned,
    Withdraw,
)
from skep_shared.interrupt_page import INTERRUPT_SIGNAL, InterruptPage, make_page
from skep_workers.host.snapshot_order import SnapshotOrder
from skep_workers.host.thread_signals import signal_thread
from skep_workers.host.twin_requests import TwinRequests

LAST_OUTPUT_BYTES: Final = 1024 * 1024
MAX_FAULT_CHARS: Final = 1000
EXIT_STATUS_SECONDS: Final = 1.0
KILL_SECONDS: Final = 2.0
# With which the process ends itself; user code that exits so is told the same.
OWN_EXITS: Final = {
    70: "the engine failed, or met bytes that are no frames (exit status 70)",
    71: "it could not start (exit status 71)",
    74: "it closed its connection to the host (exit status 74)",
}
SEND_BUFFER_BYTES: Final = 8 * 1024 * 1024
_HOSTS_OWN: Final = (
    Hello,
    Configure,
    Execute,
    Withdraw,
    Interrupt,
    Shutdown,
    Ping,
    Pong,
    Request,
    Reply,
    Answer,
    Restore,
    Twin,
)


class Parent(Protocol):
    """Who forks session processes: the zygote, or a session process that forks itself."""

    async def fork(self, descriptors: list[int], directory: str, on_exit: Callable[[int | None], None]) -> int:
        """Fork a session process with these descriptors; gives its pid. Raises StartError.

        `on_exit` is called once, with the wait status, or None if nobody is left who could tell.
        """


class _Receiver(asyncio.Protocol):
    """Hands what comes on a socket to two callbacks."""

    def __init__(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_data = on_data
        self._on_end = on_end

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_end()


class SessionProcess:
    """One session process, from fork to exit."""

    def __init__(
        self, on_frame: Callable[[Frame], None], on_exit: Callable[[str, list[tuple[str, str]]], None]
    ) -> None:
        """`on_exit` gets the cause in words, and what was left in the pipes, as (stream, text)."""
        self._on_frame = on_frame
        self._on_exit = on_exit
        self._decoder = FrameDecoder()
        self._control_decoder = FrameDecoder()
        self._pinged_at: float | None = None
        self._transport: asyncio.Transport | None = None
        self._control: asyncio.Transport | None = None
        self._snapshots: asyncio.Transport | None = None
        self._snapshot_decoder = FrameDecoder()
        self._snapshots_ended = asyncio.Event()
        self._snapshot_order = SnapshotOrder(self._on_frame)
        self._is_stopping = False
        self._twins = TwinRequests()
        self._pipes: list[int] = []
        self._page: InterruptPage | None = None
        self._flushed: FlushedText | None = None
        self._frames_received = 0
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._status: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._fault: str | None = None
        self._ending: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()
        self.pid = 0
        self.start_ms = 0.0  # from before the fork to the hello

    async def start(self, parent: Parent, directory: Path, start_seconds: float) -> Hello:
        """Fork the process and wait for its hello. Raises StartError, and what the parent raises."""
        loop = asyncio.get_running_loop()
        asked_at = time.monotonic()
        cell_ours, cell_theirs = socket.socketpair()
        control_ours, control_theirs = socket.socketpair()
        snapshot_ours, snapshot_theirs = socket.socketpair()
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        self._pipes = [out_read, err_read]
        descriptors = [
            cell_theirs.fileno(),
            control_theirs.fileno(),
            out_read,
            out_write,
            err_read,
            err_write,
            snapshot_theirs.fileno(),
            page := make_page(),
        ]
        try:
            self.pid = await parent.fork(descriptors, str(directory), self._on_status)
        except BaseException:
            cell_ours.close()
            control_ours.close()
            snapshot_ours.close()
            self._close_pipes()
            os.close(page)
            raise
        finally:
            cell_theirs.close()
            control_theirs.close()
            snapshot_theirs.close()
            os.close(out_write)
            os.close(err_write)
        self._flushed = FlushedText(page)
        self._page = InterruptPage(page)
        transport, _ = await loop.create_connection(
            lambda: _Receiver(self._on_cell_data, self._on_cell_end), sock=cell_ours
        )
        control, _ = await loop.create_connection(
            lambda: _Receiver(self._on_control_data, lambda: None), sock=control_ours
        )
        snapshots, _ = await loop.create_connection(
            lambda: _Receiver(self._on_snapshot_data, self._snapshots_ended.set), sock=snapshot_ours
        )
        self._transport, self._control, self._snapshots = transport, control, snapshots
        try:
            async with asyncio.timeout(start_seconds):
                hello = await self._hello
        except TimeoutError:
            self.kill()
            raise StartError("session process", f"no hello after {start_seconds:g} s") from None
        self.start_ms = (time.monotonic() - asked_at) * 1000
        return hello

    def execute(self, cells: list[Configure | Execute]) -> None:
        """Hand cells over, in order; before the first one the session's options."""
        _send(self._transport, [encode_frame(cell) for cell in cells])

    def control(self, frame: Interrupt | Withdraw | Answer | Request) -> None:
        """Send a request that is heard while a cell runs."""
        if self._control is not None:
            _send(self._control, [encode_frame(frame)])
            if isinstance(frame, Interrupt):
                self._signal_interrupt(frame)

    def _signal_interrupt(self, frame: Interrupt) -> None:
        """Get through to a main thread that holds the GIL, where nobody can read the frame."""
        if self._page is not None and not self._is_reaped:
            self._page.write(frame.seq, frame.attempt)
            signal_thread(self.pid, self.pid, INTERRUPT_SIGNAL)

    @property
    def can_have_twin(self) -> bool:
        """Tell whether its zygote lives, which its twin would fall to."""
        return bool(self.pid) and not self._status.done() and not self._is_stopping

    async def twin(self, manifest: bytes, descriptors: list[int], patience_seconds: float) -> Twinned:
        """Ask for a fork of the process that gets these descriptors. Raises StartError without an answer."""
        return await self._twins.ask(self._transport, self._snapshots, manifest, descriptors, patience_seconds)

    def ping(self, now: float) -> float:
        """Ask for a sign of life; gives the seconds since the last one that was not answered (0: all were)."""
        if self._pinged_at is None:
            self._pinged_at = now
            _send(self._control, [encode_frame(Ping(0))])
            return 0.0
        return now - self._pinged_at

    def pause_reading(self) -> None:
        """Let the process wait with its output."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take its output again."""
        if self._transport is not None and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    async def stop(self, patience_seconds: float = KILL_SECONDS) -> None:
        """End the process: ask, then kill; afterwards it is gone."""
        if self._control is not None and not self.gone.is_set():
            self._is_stopping = True
            _send(self._control, [encode_frame(Shutdown())])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds):
                    await self.gone.wait()
                    return
            self.kill()
            await self.gone.wait()

    def kill(self) -> None:
        """End the process and its group at once."""
        if self.pid and not self._is_reaped:
            # The group first: the process leads it once it has said hello.
            for send, target in ((os.killpg, self.pid), (os.kill, self.pid)):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    send(target, signal.SIGKILL)
        self.resume_reading()  # a paused transport would never see the end
        if self._transport is None:
            self._begin_end()
        else:
            # Its sockets end with it, unless something that it has started holds them open.
            asyncio.get_running_loop().call_later(KILL_SECONDS, self._begin_end)

    @property
    def _is_reaped(self) -> bool:
        """Tell whether its number may be another process' by now; with its zygote dead nobody can say."""
        return self.gone.is_set() or (self._status.done() and self._status.result() is not None)

    def _on_cell_data(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                self._frames_received += 1
                if not self._hello.done():
                    if not isinstance(frame, Hello):
                        raise ProtocolError(f"the first frame is {type(frame).__name__}, not Hello")
                    self._hello.set_result(frame)
                elif isinstance(frame, Fault):
                    self._fault = f"the engine failed: {frame.reason[:MAX_FAULT_CHARS]}"
                elif isinstance(frame, Blob | Saved):
                    self._snapshot_order.take(frame)
                elif isinstance(frame, Twinned):
                    self._twins.take(frame)
                elif isinstance(frame, _HOSTS_OWN):
                    raise ProtocolError(f"{type(frame).__name__} does not come from a session process")
                else:
                    self._on_frame(frame)
        except ProtocolError as exc:
            self._fault = f"it broke the protocol ({exc})"
            self.kill()

    def _on_control_data(self, data: bytes) -> None:
        try:
            for frame in self._control_decoder.feed(data):
                if isinstance(frame, Pong):
                    self._pinged_at = None
                elif isinstance(frame, Reply):
                    self._on_frame(frame)
                else:
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the control socket")
        except ProtocolError as exc:
            self._fault = f"it broke the protocol ({exc})"
            self.kill()

    def _on_snapshot_data(self, data: bytes) -> None:
        try:
            for frame in self._snapshot_decoder.feed(data):
                if not isinstance(frame, Blob | Saved):
                    raise ProtocolError(f"{type(frame).__name__} does not belong on the snapshot socket")
                self._snapshot_order.take_apart(frame)
        except ProtocolError as exc:
            self._fault = f"it broke the protocol ({exc})"
            self.kill()

    def pause_snapshots(self, *, paused: bool) -> None:
        """Let snapshots wait, or come again."""
        if self._snapshots is not None and not self._snapshots.is_closing():
            if paused and self._snapshots.is_reading():
                self._snapshots.pause_reading()
            elif not paused and not self._snapshots.is_reading():
                self._snapshots.resume_reading()

    async def send_state(self, frame: Blob | Restore) -> None:
        """Send a part of a checkpoint to restore; waits while much is on its way."""
        transport = self._transport
        while _is_open(transport) and transport.get_write_buffer_size() > SEND_BUFFER_BYTES:  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # the transport has no signal of its own for this
        _send(transport, encode_blob(frame) if isinstance(frame, Blob) else [encode_frame(frame)])

    def _on_cell_end(self) -> None:
        self._begin_end()

    def _on_status(self, status: int | None) -> None:
        if not self._status.done():
            self._status.set_result(status)

    def _begin_end(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(), name=f"end of process {self.pid}")

    async def _end(self) -> None:
        status: int | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_STATUS_SECONDS):
                status = await asyncio.shield(self._status)
        if not self._status.done():  # it lives on without its socket, or its zygote died and nobody can tell
            self._fault = self._fault or "it closed its connection to the host"
            self.kill()
        if self._is_stopping and self._snapshots is not None:  # it may have left with a last snapshot
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_STATUS_SECONDS):
                    await self._snapshots_ended.wait()
        for transport in (self._transport, self._control, self._snapshots):
            if transport is not None:
                transport.close()
        cause = self._fault or describe_status(status)
        # What it started in its group goes with it, however it ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        left = [*self._read_flushed(), *self._read_pipes()]
        if not self._hello.done():
            words = [line for _, text in left for line in text.splitlines() if line.strip()]
            last = f": {words[-1][:MAX_FAULT_CHARS]}" if words else ""
            self._hello.set_exception(StartError("session process", f"{cause}{last}"))
        if self._page is not None:
            self._page.close()
            self._page = None
        self._twins.end(cause)
        self.gone.set()
        self._on_exit(cause, left)

    def _read_flushed(self) -> list[tuple[str, str]]:
        flushed, self._flushed = self._flushed, None
        if flushed is None:
            return []
        text = flushed.read(self._frames_received)
        flushed.close()
        return [] if text is None else [text]

    def _read_pipes(self) -> list[tuple[str, str]]:
        left = []
        for stream, fd in zip(("stdout", "stderr"), self._pipes, strict=True):
            os.set_blocking(fd, False)
            with contextlib.suppress(BlockingIOError):
                left.append((stream, os.read(fd, LAST_OUTPUT_BYTES).decode("utf-8", "replace")))
        self._close_pipes()
        return [(stream, text) for stream, text in left if text]

    def _close_pipes(self) -> None:
        pipes, self._pipes = self._pipes, []
        for fd in pipes:
            os.close(fd)


def _send(transport: asyncio.Transport | None, parts: Sequence[bytes]) -> None:
    """Write, unless the other end has gone, which is told by itself: where asyncio says nothing, uvloop raises."""
    if _is_open(transport):
        transport.writelines(parts)


def _is_open(transport: asyncio.Transport | None) -> TypeGuard[asyncio.Transport]:
    return transport is not None and not transport.is_closing()


def describe_status(status: int | None) -> str:
    """Say how a process ended, from its wait status."""
    if status is None:
        return "it ended, how is not known"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return f"killed by {name}"
    code = os.WEXITSTATUS(status)
    return OWN_EXITS.get(code, f"exited with status {code}")
