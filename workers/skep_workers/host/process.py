"""A session process as the host sees it: what it is told, a pid, and a certain end.

Whatever comes on the cell socket goes to `on_frame`, in order; the end of the process goes to `on_exit`, once, after
everything it wrote. Bytes that are no frames end the process, never the host.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeGuard

from skep_shared.errors import StartError
from skep_shared.frame_codec import encode_blob, encode_frame
from skep_shared.frames import (
    Answer,
    Blob,
    Configure,
    Execute,
    Expect,
    Frame,
    Hello,
    Interrupt,
    Ping,
    Request,
    Resend,
    Restore,
    Shutdown,
    Twinned,
    Withdraw,
    Work,
)
from skep_shared.interrupt_page import INTERRUPT_SIGNAL, InterruptPage
from skep_workers.host.exit_status import describe_status
from skep_workers.host.incoming import MAX_FAULT_CHARS, Incoming
from skep_workers.host.parting import Ended, Parting, Patience
from skep_workers.host.process_ends import LastOutput, ProcessEnds, receive_from
from skep_workers.host.thread_signals import signal_thread
from skep_workers.host.twin_requests import TwinRequests

EXIT_STATUS_SECONDS: Final = 1.0
KILL_SECONDS: Final = 2.0
DEFAULT_PATIENCE: Final = Patience()
STOP_PATIENCE: Final = Patience(2.0, 2.0, 2.0)  # for a process that has nothing to save
FRAME_SECONDS: Final = 0.002
SEND_BUFFER_BYTES: Final = 8 * 1024 * 1024


class Parent(Protocol):
    """Who forks session processes: the zygote, or a session process that forks itself."""

    async def fork(self, descriptors: list[int], directory: str, on_exit: Callable[[int | None], None]) -> int:
        """Fork a session process with these descriptors; gives its pid. Raises StartError.

        `on_exit` is called once, with the wait status, or None if nobody is left who could tell.
        """


class SessionProcess:
    """One session process, from fork to exit."""

    def __init__(
        self, on_frame: Callable[[Frame], None], on_exit: Callable[[str, list[tuple[str, str]]], None]
    ) -> None:
        """`on_exit` gets the cause in words, and what was left in the pipes, as (stream, text)."""
        self._on_exit = on_exit
        self._twins = TwinRequests()
        self._parting = Parting()
        self._incoming = Incoming(on_frame, self.kill, self._twins, self._parting)
        self._transport: asyncio.Transport | None = None
        self._control: asyncio.Transport | None = None
        self._snapshots: asyncio.Transport | None = None
        self._snapshots_ended = asyncio.Event()
        self._is_stopping = False
        self._page: InterruptPage | None = None
        self._last_output: LastOutput | None = None
        self._status: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._ending: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()
        self.pid = 0
        self.start_ms = 0.0  # from before the fork to the hello

    async def start(self, parent: Parent, directory: Path, start_seconds: float) -> Hello:
        """Fork the process and wait for its hello. Raises StartError, and what the parent raises."""
        asked_at = time.monotonic()
        try:
            ends = ProcessEnds()
        except OSError as exc:
            raise StartError("session process", f"nothing can be opened for it ({exc})") from exc
        try:
            self.pid = await parent.fork(ends.theirs, str(directory), self._on_status)
        except BaseException:
            ends.close_ours()
            raise
        finally:
            ends.close_theirs()
        self._page, self._last_output = ends.map_page()
        incoming = self._incoming
        self._transport, self._control, self._snapshots = (
            await receive_from(ends.cells, incoming.take_cell_data, self._begin_end),
            await receive_from(ends.control, incoming.take_control_data, lambda: None),
            await receive_from(ends.snapshots, incoming.take_snapshot_data, self._snapshots_ended.set),
        )
        try:
            async with asyncio.timeout(start_seconds):
                hello = await incoming.hello
        except TimeoutError:
            self.kill()
            raise StartError("session process", f"no hello after {start_seconds:g} s") from None
        self.start_ms = (time.monotonic() - asked_at) * 1000
        return hello

    def execute(self, cells: list[Configure | Execute]) -> None:
        """Hand cells over, in order; before the first one the session's options."""
        _send(self._transport, [encode_frame(cell) for cell in cells])

    def control(self, frame: Interrupt | Withdraw | Answer | Request | Resend) -> None:
        """Send a request that is heard while a cell runs."""
        if isinstance(frame, Interrupt):
            self._signal_interrupt(frame)
            # Behind the signal, which ends most cells: who reads the frame there takes the GIL from the main thread.
            asyncio.get_running_loop().call_later(FRAME_SECONDS, _send, self._control, [encode_frame(frame)])
        else:
            _send(self._control, [encode_frame(frame)])

    def _signal_interrupt(self, frame: Interrupt) -> None:
        """Get through to a main thread that holds the GIL, where nobody can read the frame."""
        if self._page is not None and not self._is_reaped:
            self._page.write(frame.seq, frame.attempt)
            signal_thread(self.pid, self.pid, INTERRUPT_SIGNAL)

    @property
    def is_ending(self) -> bool:
        """Tell whether its end has begun, or was asked for: what is sent to it now it never gets."""
        return self._ending is not None or self._is_stopping

    @property
    def can_have_twin(self) -> bool:
        """Tell whether its zygote lives, which its twin would fall to."""
        return bool(self.pid) and not self._status.done() and not self._is_stopping

    async def twin(self, manifest: bytes, descriptors: list[int], patience_seconds: float) -> Twinned:
        """Ask for a fork of the process that gets these descriptors. Raises StartError without an answer."""
        return await self._twins.ask(self._transport, self._snapshots, manifest, descriptors, patience_seconds)

    def ping(self, now: float) -> float:
        """Ask for a sign of life; gives the seconds since the last one that was not answered (0: all were)."""
        if self._incoming.pinged_at is None:
            self._incoming.pinged_at = now
            _send(self._control, [encode_frame(Ping(0))])
            return 0.0
        return now - self._incoming.pinged_at

    def pause_reading(self) -> None:
        """Let the process wait with its output."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take its output again."""
        if self._transport is not None and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    def pause_snapshots(self, *, paused: bool) -> None:
        """Let snapshots wait, or come again."""
        if self._snapshots is not None and not self._snapshots.is_closing():
            if paused and self._snapshots.is_reading():
                self._snapshots.pause_reading()
            elif not paused and not self._snapshots.is_reading():
                self._snapshots.resume_reading()

    async def send_state(self, frame: Blob | Expect | Restore) -> None:
        """Send a part of a checkpoint to restore; waits while much is on its way."""
        transport = self._transport
        while _is_open(transport) and transport.get_write_buffer_size() > SEND_BUFFER_BYTES:  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # the transport has no signal of its own for this
        _send(transport, encode_blob(frame) if isinstance(frame, Blob) else [encode_frame(frame)])

    async def work(self, patience_seconds: float) -> Work | None:
        """Ask what of user code works in it; return None without an answer. Only while no cell runs."""
        return await self._parting.ask(lambda inquiry: _send(self._control, [encode_frame(inquiry)]), patience_seconds)

    async def leave(self, order: Shutdown, patience: Patience = DEFAULT_PATIENCE) -> Ended:
        """Have the process leave in order, and kill it where it does not in time; afterwards it is gone."""
        if self._control is not None and not self.gone.is_set():
            self._is_stopping = True
            _send(self._control, [encode_frame(order)])
            await self._parting.is_over(self.gone, patience)
            if not self.gone.is_set():
                self.kill()
                await self.gone.wait()
        return self._parting.ended

    async def stop(self) -> None:
        """End the process in order, saving nothing; afterwards it is gone."""
        await self.leave(Shutdown(), STOP_PATIENCE)

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
        incoming = self._incoming
        if not self._status.done():  # it lives on without its socket, or its zygote died and nobody can tell
            incoming.fault = incoming.fault or "it closed its connection to the host"
            self.kill()
        if self._is_stopping and self._snapshots is not None:  # it may have left with a last snapshot
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_STATUS_SECONDS):
                    await self._snapshots_ended.wait()
        for transport in (self._transport, self._control, self._snapshots):
            if transport is not None:
                transport.close()
        cause = incoming.fault or describe_status(status)
        # What it started in its group goes with it, however it ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        left = [] if self._last_output is None else self._last_output.take(incoming.frames_received)
        if not incoming.hello.done():
            words = [line for _, text in left for line in text.splitlines() if line.strip()]
            last = f": {words[-1][:MAX_FAULT_CHARS]}" if words else ""
            incoming.hello.set_exception(StartError("session process", f"{cause}{last}"))
        if self._page is not None:
            self._page.close()
            self._page = None
        self._twins.end(cause)
        self._parting.end()
        self.gone.set()
        self._on_exit(cause, left)


def _send(transport: asyncio.Transport | None, parts: Sequence[bytes | memoryview]) -> None:
    """Write, unless the other end has gone, which is told by itself: where asyncio says nothing, uvloop raises."""
    if _is_open(transport):
        transport.writelines(parts)


def _is_open(transport: asyncio.Transport | None) -> TypeGuard[asyncio.Transport]:
    return transport is not None and not transport.is_closing()
