"""Cells that the zygote runs once itself, before it forks sessions.

Code that runs for the first time writes to memory: the interpreter specializes its bytecode, types cache lookups, and
modules create objects lazily. A session would write all that to its own copies of the zygote's pages before its first
cell ends: 5.9 MB per session without the rehearsal and 5.1 with it, when it was introduced. The rehearsal leaves
nothing else behind: no name, no thread and no descriptor.

The cells come through a socket and the start of a session is rehearsed too, because that is code like any other. Each
cell of the list is there for code that the others don't run; the last one for `tokenize`, which compiles its patterns
when it is first used.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterable
from typing import Final

from skep_shared.originals import os, socket
from skep_workers.session.errors.sources import forget_sources
from skep_workers.session.main import SessionMain

CELLS: Final = ("x = 1\nx", "y = [x, 'text']\nprint", "x += 1", "import os; x;")
ROUNDS: Final = 3  # after which the interpreter has specialized the functions that run in each cell


def warm_up(scratch: str, environment: str) -> None:
    """Rehearse until sessions have little left to write to the memory that they share with the zygote."""
    rehearse(scratch, environment, CELLS * ROUNDS)


def rehearse(scratch: str, environment: str, cells: Iterable[str]) -> None:
    """Begin as a session does, run these cells, save their state and drop it; in a directory below `scratch`."""
    before = os.getcwd()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-", dir=scratch))
        stack.callback(os.chdir, before)
        os.chdir(directory)
        pairs = [socket.socketpair() for _ in range(3)]
        for sock in (sock for pair in pairs for sock in pair):
            stack.enter_context(sock)
        main = SessionMain(environment)
        stack.callback(asyncio.set_event_loop, None)
        stack.callback(main.close_rehearsal)
        main.rehearse(cells, pairs[0][0], [theirs for _, theirs in pairs])
        forget_sources()
