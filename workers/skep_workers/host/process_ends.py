"""What joins a session process to its host: three sockets, two pipes, a shared page; and what is left in them."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

from skep_shared.flushed_text import FlushedText
from skep_shared.interrupt_page import InterruptPage, make_page

LAST_OUTPUT_BYTES: Final = 1024 * 1024


def _pipe(made: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe2(os.O_CLOEXEC)
    for fd in ends:
        made.callback(os.close, fd)
    return ends


class ProcessEnds:
    """Both ends of everything until the process has its own, then the host's. Raises OSError if too much is open."""

    def __init__(self) -> None:
        # Sockets that are forgotten close themselves, plain descriptors don't: there may be none left for the next one.
        self.cells, self._their_cells = socket.socketpair()
        self.control, self._their_control = socket.socketpair()
        self.snapshots, self._their_snapshots = socket.socketpair()
        with contextlib.ExitStack() as made:
            self._out, self._their_out = _pipe(made)
            self._err, self._their_err = _pipe(made)
            self._page = make_page()
            made.pop_all()

    @property
    def theirs(self) -> list[int]:
        """What the process gets, in the order in which it takes them; the pipes whole, as it reads them too."""
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
        """Leave to the process what it has got."""
        for sock in (self._their_cells, self._their_control, self._their_snapshots):
            sock.close()
        for fd in (self._their_out, self._their_err):
            os.close(fd)

    def close_ours(self) -> None:
        """Let go of the rest: no process has come of it."""
        for sock in (self.cells, self.control, self.snapshots):
            sock.close()
        for fd in (self._out, self._err, self._page):
            os.close(fd)

    def map_page(self) -> tuple[InterruptPage, "LastOutput"]:
        """Give the shared page's two uses, the second with the pipes."""
        last = LastOutput(FlushedText(self._page), (self._out, self._err))
        return InterruptPage(self._page), last


class LastOutput:
    """What a process has written and its host has not got from it as frames."""

    def __init__(self, flushed: FlushedText, pipes: tuple[int, int]) -> None:
        self._flushed = flushed
        self._pipes = pipes

    def take(self, frames_received: int) -> list[tuple[str, str]]:
        """Give it as (stream, text), once the process has ended, after so many frames of its cell socket."""
        left = [self._flushed.read(frames_received)]
        self._flushed.close()
        for stream, fd in zip(("stdout", "stderr"), self._pipes, strict=True):
            os.set_blocking(fd, False)
            with contextlib.suppress(BlockingIOError):
                left.append((stream, os.read(fd, LAST_OUTPUT_BYTES).decode("utf-8", "replace")))
            os.close(fd)
        return [piece for piece in left if piece is not None and piece[1]]


class _Receiver(asyncio.Protocol):
    """Hands what comes on a socket to two callbacks."""

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
    """Have what comes on a socket handed over; gives what writes on it."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: _Receiver(on_data, on_end), sock=sock)
    return transport
