"""What connects a session process to its host: three sockets, two pipes and a shared page."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

from skep_shared.protocol.flushed_text import FlushedText
from skep_shared.protocol.interrupt_page import InterruptPage, make_page
from skep_workers.host.process.output_pipes import enlarge, make_pipe

LEFTOVER_BYTES: Final = 1024 * 1024


class ProcessChannels:
    """Both ends of every channel; once the process has its own ends, the host's. Raises OSError if too much is open."""

    def __init__(self) -> None:
        # A socket closes itself when it is dropped, a plain descriptor doesn't; opening the next one may fail.
        self.cells, self._their_cells = socket.socketpair()
        self.control, self._their_control = socket.socketpair()
        self.snapshots, self._their_snapshots = socket.socketpair()
        with contextlib.ExitStack() as made:
            self._out, self._their_out = make_pipe(made)
            self._err, self._their_err = make_pipe(made)
            enlarge(self._their_out, self._their_err)
            self._page = make_page()
            made.pop_all()

    @property
    def theirs(self) -> list[int]:
        """The descriptors for the process, in the order that it expects.

        It gets both ends of each pipe, since it reads them too.
        """
        return [
            self._their_cells.fileno(),
            self._their_control.fileno(),
            self._out,
            self._their_out,
            self._err,
            self._their_err,
            self._their_snapshots.fileno(),
            self._page,
        ]

    def close_theirs(self) -> None:
        """Close the process's ends here; the process has its own copies."""
        for sock in (self._their_cells, self._their_control, self._their_snapshots):
            sock.close()
        for fd in (self._their_out, self._their_err):
            os.close(fd)

    def close_ours(self) -> None:
        """Close the host's ends: no process was made."""
        for sock in (self.cells, self.control, self.snapshots):
            sock.close()
        for fd in (self._out, self._err, self._page):
            os.close(fd)

    def map_page(self) -> tuple[InterruptPage, "UnsentOutput"]:
        """Return the two uses of the shared page; the second one comes with the pipes."""
        unsent = UnsentOutput(FlushedText(self._page), (self._out, self._err))
        return InterruptPage(self._page), unsent  # in this order: the interrupt page closes the descriptor


class UnsentOutput:
    """Text that a process has written and its host has not received in frames."""

    def __init__(self, flushed: FlushedText, pipes: tuple[int, int]) -> None:
        self._flushed = flushed
        self._pipes = pipes

    def read(self, frames_received: int) -> tuple[tuple[str, str], ...]:
        """Return the text as (stream, text), and close the pipes. Call it once, after the process has ended.

        frames_received: how many frames of its cell socket have arrived.
        """
        texts = [self._flushed.read(frames_received)]
        self._flushed.close()
        for stream, fd in zip(("stdout", "stderr"), self._pipes, strict=True):
            os.set_blocking(fd, False)
            with contextlib.suppress(BlockingIOError):
                texts.append((stream, os.read(fd, LEFTOVER_BYTES).decode("utf-8", "replace")))
            os.close(fd)
        return tuple(piece for piece in texts if piece is not None and piece[1])


class _Receiver(asyncio.Protocol):
    """Passes the bytes of a socket, and its end, to two callbacks."""

    def __init__(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_data = on_data
        self._on_end = on_end

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_end()


async def receive_from(
    sock: socket.socket, on_data: Callable[[bytes], None], on_end: Callable[[], None]
) -> asyncio.Transport:
    """Pass what arrives on a socket to `on_data`; return the transport that writes to it."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: _Receiver(on_data, on_end), sock=sock)
    return transport
