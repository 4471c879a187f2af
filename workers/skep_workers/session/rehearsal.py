"""A cell that the zygote runs once itself, before it forks sessions.

What runs for the first time writes to memory: the interpreter adapts code to what it meets, types remember lookups,
modules make what they made no sooner. A session would do all that in copies of its own of the zygote's pages, before
its first cell ends. Nothing of the rehearsal is left but that: its process has no name, thread or descriptor more.
"""

import asyncio
import contextlib
import tempfile

from skep_shared.originals import os, socket
from skep_workers.session.process import SessionMain
from skep_workers.session.sources import forget_sources

CELLS = ("x = 1\nx", "y = [x, 'text']\nprint", "x += 1")


def rehearse(scratch: str) -> None:
    """Run some cells as a session does, save their state and forget it; in a directory of its own below `scratch`."""
    before = os.getcwd()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-", dir=scratch))
        stack.callback(os.chdir, before)
        os.chdir(directory)
        pairs = [socket.socketpair() for _ in range(3)]
        for sock in (sock for pair in pairs for sock in pair):
            stack.enter_context(sock)
        main = SessionMain()
        stack.callback(asyncio.set_event_loop, None)
        stack.callback(main.forget)
        main.rehearse(CELLS, [theirs for _, theirs in pairs])
        forget_sources()
