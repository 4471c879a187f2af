"""input() of a cell, answered from this command's own stdin; its end is the cell's EOF."""

import asyncio
import contextlib
import os
import termios
from collections.abc import Iterator
from typing import Final

STDIN_FD: Final = 0
READ_BYTES: Final = 64 * 1024


class StdinLines:
    """Lines of stdin, read without a thread, so that a wait for one can be given up."""

    def __init__(self) -> None:
        self._buffer = b""
        self._ended = False

    async def line(self, *, is_password: bool = False) -> str | None:
        """Return the next line without its end, None at the end of stdin."""
        with _without_echo() if is_password else contextlib.nullcontext():
            while b"\n" not in self._buffer and not self._ended:
                await self._wait()
                data = os.read(STDIN_FD, READ_BYTES)
                self._buffer += data
                self._ended = not data
        if not self._buffer:
            self._ended = False  # a terminal can be read again after Ctrl-D
            return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("utf-8", "replace")

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        try:
            loop.add_reader(STDIN_FD, ready.set)
        except PermissionError:
            return  # a file or /dev/null, which can't be waited for and needs no wait
        try:
            await ready.wait()
        finally:
            loop.remove_reader(STDIN_FD)


@contextlib.contextmanager
def _without_echo() -> Iterator[None]:
    """Turn the terminal's echo off inside the block; do nothing if stdin is no terminal."""
    try:
        before = termios.tcgetattr(STDIN_FD)
    except termios.error:
        yield
        return
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(STDIN_FD, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(STDIN_FD, termios.TCSADRAIN, before)
