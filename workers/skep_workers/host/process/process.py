"""A session process as the host sees it: requests to it, a pid, and an end that is always reported.

Its frames go to its `ProcessListener`, those of a socket in order. So does its end: once, after everything that it
wrote. Bytes that are no frames end the process, never the host.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeGuard

import structlog

from skep_shared.errors import StartError
from skep_shared.isolation.session_limits import Excess
from skep_shared.packed_events import EndedWork
from skep_shared.protocol.frame_codec import encode_blob, encode_frame
from skep_shared.protocol.frames import (
    Answer,
    Blob,
    Configure,
    Execute,
    Expect,
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
from skep_shared.protocol.interrupt_page import INTERRUPT_SIGNAL, InterruptPage
from skep_workers.host.control_groups.session_group import SessionGroup
from skep_workers.host.process.channels import ProcessChannels, UnsentOutput, receive_from
from skep_workers.host.process.exit_status import describe_status
from skep_workers.host.process.frame_router import MAX_FAULT_CHARS, FrameRouter
from skep_workers.host.process.leave_requests import LeaveRequests, Patience
from skep_workers.host.process.listener import ProcessEnd, ProcessListener
from skep_workers.host.process.thread_signals import signal_thread
from skep_workers.host.process.twin_requests import TwinRequests

EXIT_STATUS_SECONDS: Final = 1.0
KILL_SECONDS: Final = 2.0
GROUP_AGAIN_SECONDS: Final = 0.01  # for killed processes to leave their control group
GROUP_ROUNDS: Final = 200
DEFAULT_PATIENCE: Final = Patience()
STOP_PATIENCE: Final = Patience(2.0, 2.0, 2.0)  # for a process that has nothing to save
FRAME_SECONDS: Final = 0.002
SEND_BUFFER_BYTES: Final = 8 * 1024 * 1024

log = structlog.get_logger()


class Parent(Protocol):
    """The process that forks a session process: the zygote, or a session process that forks itself."""

    async def fork(
        self,
        descriptors: list[int],
        directory: str,
        on_exit: Callable[[int | None], None],
        group: SessionGroup | None,
    ) -> int:
        """Fork a session process with these descriptors in this control group; return its pid. Raises StartError.

        `on_exit` is called once with the wait status, or with None if the process that knew it has ended.
        """


class SessionProcess:
    """One session process, from fork to exit."""

    def __init__(self, listener: ProcessListener, group: SessionGroup | None = None) -> None:
        """`group`: a control group that is its own; it is removed when the process has ended."""
        self._listener = listener
        self._group = group
        self._twins = TwinRequests()
        self._leave_requests = LeaveRequests()
        self._router = FrameRouter(listener, self.kill, self._twins, self._leave_requests)
        self._transport: asyncio.Transport | None = None
        self._control: asyncio.Transport | None = None
        self._snapshots: asyncio.Transport | None = None
        self._snapshots_ended = asyncio.Event()
        self._is_stopping = False
        self._excess: Excess | None = None
        self._page: InterruptPage | None = None
        self._unsent: UnsentOutput | None = None
        self._status: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._ending: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()
        self.pid = 0
        self.start_ms = 0.0  # from before the fork to the hello

    async def start(self, parent: Parent, directory: Path, start_seconds: float) -> Hello:
        """Fork the process and wait for its hello. Raises StartError, and what the parent raises."""
        asked_at = time.monotonic()
        try:
            channels = ProcessChannels()
        except OSError as exc:
            raise StartError("session process", f"its sockets and pipes can't be opened ({exc})") from exc
        try:
            self.pid = await parent.fork(channels.theirs, str(directory), self._on_status, self._group)
        except BaseException:
            channels.close_ours()
            if self._group is not None:
                self._group.remove()
            raise
        finally:
            channels.close_theirs()
        self._page, self._unsent = channels.map_page()
        router = self._router
        self._transport, self._control, self._snapshots = (
            await receive_from(channels.cells, router.receive_cell_data, self._begin_end),
            await receive_from(channels.control, router.receive_control_data, lambda: None),
            await receive_from(channels.snapshots, router.receive_snapshot_data, self._snapshots_ended.set),
        )
        try:
            async with asyncio.timeout(start_seconds):
                hello = await router.hello
        except TimeoutError:
            self.kill()
            raise StartError("session process", f"no hello after {start_seconds:g} s") from None
        self.start_ms = (time.monotonic() - asked_at) * 1000
        return hello

    def execute(self, cells: list[Configure | Execute]) -> None:
        """Send cells, in order; the session's options come before the first cell."""
        _send(self._transport, [encode_frame(cell) for cell in cells])

    def control(self, frame: Interrupt | Withdraw | Answer | Request | Resend) -> None:
        """Send a request that the process reads while a cell runs."""
        if isinstance(frame, Interrupt):
            self._signal_interrupt(frame)
            # After the signal, which ends most cells: the thread that reads the frame takes the GIL from user code.
            asyncio.get_running_loop().call_later(FRAME_SECONDS, _send, self._control, [encode_frame(frame)])
        else:
            _send(self._control, [encode_frame(frame)])

    def _signal_interrupt(self, frame: Interrupt) -> None:
        """Reach a main thread that holds the GIL: no other thread can read the frame then."""
        if self._page is not None and not self._is_reaped:
            self._page.write(frame.seq, frame.attempt)
            signal_thread(self.pid, self.pid, INTERRUPT_SIGNAL)

    @property
    def is_ending(self) -> bool:
        """Return whether its end has begun or was requested: it would not receive what is sent now."""
        return self._ending is not None or self._is_stopping

    @property
    def can_have_twin(self) -> bool:
        """Return whether its zygote lives, which a twin would need as its parent."""
        return bool(self.pid) and not self._status.done() and not self._is_stopping

    async def twin(self, manifest: bytes, descriptors: list[int], patience_seconds: float) -> Twinned:
        """Ask for a fork of the process that gets these descriptors. Raise StartError if no answer arrives."""
        return await self._twins.ask(self._transport, self._snapshots, manifest, descriptors, patience_seconds)

    def has_begun(self, seq: int) -> bool:
        """Return whether the process has begun this cell, or has ended."""
        return self._page is None or self._page.begun() >= seq

    def ping(self, now: float) -> float:
        """Send a ping unless one is unanswered; return for how many seconds that one has been, 0 if none is."""
        if self._router.pinged_at is None:
            self._router.pinged_at = now
            _send(self._control, [encode_frame(Ping(0))])
            return 0.0
        return now - self._router.pinged_at

    def pause_reading(self) -> None:
        """Read no more of the cell socket for now; the process waits when it has filled it."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read the cell socket again."""
        if self._transport is not None and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    def pause_snapshots(self, *, paused: bool) -> None:
        """Stop reading the snapshot socket, or read it again."""
        if self._snapshots is not None and not self._snapshots.is_closing():
            if paused and self._snapshots.is_reading():
                self._snapshots.pause_reading()
            elif not paused and not self._snapshots.is_reading():
                self._snapshots.resume_reading()

    async def send_state(self, frame: Blob | Expect | Restore) -> None:
        """Send a part of the checkpoint to restore; wait first while much is unsent."""
        transport = self._transport
        while _is_open(transport) and transport.get_write_buffer_size() > SEND_BUFFER_BYTES:  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # the transport has no signal of its own for this
        _send(transport, encode_blob(frame) if isinstance(frame, Blob) else [encode_frame(frame)])

    async def work(self, patience_seconds: float) -> Work | None:
        """Return what user code does in it, or None if it does not answer in time. Call it only while no cell runs."""
        requests = self._leave_requests
        return await requests.ask_for_work(lambda frame: _send(self._control, [encode_frame(frame)]), patience_seconds)

    async def leave(self, order: Shutdown, patience: Patience = DEFAULT_PATIENCE) -> EndedWork:
        """Ask the process to leave in order, and kill it if it takes too long. It is gone when this returns."""
        if self._control is not None and not self.gone.is_set():
            self._is_stopping = True
            _send(self._control, [encode_frame(order)])
            await self._leave_requests.wait_for_end(self.gone, patience)
            if not self.gone.is_set():
                self.kill()
                await self.gone.wait()
        return self._leave_requests.ended_work

    async def stop(self) -> None:
        """End the process in order without saving. It is gone when this returns."""
        await self.leave(Shutdown(), STOP_PATIENCE)

    @property
    def enforced_limits(self) -> frozenset[str]:
        """The names of the limits that the kernel enforces."""
        return self._group.enforced if self._group is not None else frozenset()

    def enforced_excess(self) -> Excess | None:
        """Return the limit that the kernel has enforced, if any."""
        return self._group.excess() if self._group is not None else None

    def end_for(self, excess: Excess) -> None:
        """Kill the process because its session exceeds a limit; its end is reported with this reason."""
        self._excess = self._excess or excess
        self._router.fault = self._router.fault or str(excess)
        self.kill()

    def kill(self) -> None:
        """Kill the process and its group."""
        if self.pid and not self._is_reaped:
            # The group first: the process leads it once it has said hello.
            for send, target in ((os.killpg, self.pid), (os.kill, self.pid)):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    send(target, signal.SIGKILL)
        self.resume_reading()  # a paused transport does not notice the end
        if self._transport is None:
            self._begin_end()
        else:
            # Its sockets close with it, unless a child of it holds them open.
            asyncio.get_running_loop().call_later(KILL_SECONDS, self._begin_end)

    @property
    def _is_reaped(self) -> bool:
        """Return whether its pid may belong to another process by now. Unknown, and False, if its zygote is dead."""
        return self.gone.is_set() or (self._status.done() and self._status.result() is not None)

    def _on_status(self, status: int | None) -> None:
        if not self._status.done():
            self._status.set_result(status)

    def _begin_end(self) -> None:
        if self._ending is None:
            self._ending = self._listener.start_ending(self._end())

    async def _end(self) -> None:
        status: int | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_STATUS_SECONDS):
                status = await asyncio.shield(self._status)
        router = self._router
        if not self._status.done():  # it lives without its socket, or its zygote has died and its status is unknown
            router.fault = router.fault or "it closed its connection to the host"
            self.kill()
        if self._is_stopping and self._snapshots is not None:  # its last snapshot may still arrive
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_STATUS_SECONDS):
                    await self._snapshots_ended.wait()
        for transport in (self._transport, self._control, self._snapshots):
            if transport is not None:
                transport.close()
        # Its children in its process group end too, however it ended. Without a pid it was never forked, and 0 would be
        # this worker's own group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.pid:
                os.killpg(self.pid, signal.SIGKILL)
        excess = self._excess or self.enforced_excess()
        cause = router.fault or (str(excess) if excess is not None else describe_status(status))
        await self._remove_group()
        leftover = () if self._unsent is None else self._unsent.read(router.frames_received)
        if not router.hello.done():
            lines = [line for _, text in leftover for line in text.splitlines() if line.strip()]
            last = f": {lines[-1][:MAX_FAULT_CHARS]}" if lines else ""
            router.hello.set_exception(StartError("session process", f"{cause}{last}"))
        begun = 0
        if self._page is not None:
            begun = self._page.begun()
            self._page.close()
            self._page = None
        self._twins.end(cause)
        self._leave_requests.end()
        self.gone.set()
        self._listener.process_ended(ProcessEnd(cause, leftover, excess, begun))

    async def _remove_group(self) -> None:
        """End what is left in the process's control group, and remove the group."""
        if self._group is None:
            return
        for _ in range(GROUP_ROUNDS):
            if self._group.remove():
                return
            await asyncio.sleep(GROUP_AGAIN_SECONDS)  # nothing signals that a killed process has left its group
        log.warning("control_groups.left", pid=self.pid, reason="a process in it has not ended")


def _send(transport: asyncio.Transport | None, parts: Sequence[bytes | memoryview]) -> None:
    """Write, unless the other end is closed, which is reported separately: asyncio ignores the write, uvloop raises."""
    if _is_open(transport):
        transport.writelines(parts)


def _is_open(transport: asyncio.Transport | None) -> TypeGuard[asyncio.Transport]:
    return transport is not None and not transport.is_closing()
