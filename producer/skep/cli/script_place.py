"""The surroundings of a file that `skep run` runs, as with `python FILE` or in a notebook server.

Only the workers of an embedded cluster are on the same machine as the file; other workers don't have its folder, and
only get its arguments.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from skep.cli.source_files import STDIN
from skep.session import Session

# Run apart, so that the file finds no name bound that it has not bound itself. A pipe or a file is read as it is by the
# session's process, on the same machine; a terminal is asked through input(), a line at a time.
_STDIN: Final = """
import builtins, io, sys

ask, real = builtins.input, sys.stdin

class Stdin(io.TextIOBase):
    name, encoding, errors, mode = "<stdin>", "utf-8", "strict", "r"

    def readable(self):
        return True

    def isatty(self):
        return True

    def readline(self, size=-1, /):
        before, sys.stdin = sys.stdin, real
        try:
            return ask("") + "\\n"
        except EOFError:
            return ""
        finally:
            sys.stdin = before

    def read(self, size=-1, /):
        lines = []
        while line := self.readline():
            lines.append(line)
        return "".join(lines)

def input(prompt="", /):
    import sys
    print(prompt, end="", flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    return line.removesuffix("\\n")

if source is None:
    sys.stdin = Stdin()
else:
    sys.stdin = open(source, encoding="utf-8", errors="surrogateescape")
    builtins.input = input
"""


async def place_script(session: Session, name: str, arguments: Sequence[str]) -> None:
    """Set the session's directory, `sys.path`, `sys.argv`, `sys.stdin` and `__file__` for the file.

    A script runs in the shell's directory and imports modules from its own folder; a notebook runs in its own folder.
    Raises CellFailed.
    """
    here = Path.cwd()
    path = here / name
    is_notebook = path.suffix == ".ipynb"
    # By __import__: the file must not find a name bound that it has not bound itself.
    lines = [
        f"__import__('os').chdir({str(path.parent if is_notebook else here)!r})",
        f"__import__('sys').path[0] = {str(here if name == STDIN else path.parent)!r}",
        _argv_line(name, arguments),
    ]
    if name != STDIN:
        lines.append(f"exec({_STDIN!r}, {{'source': {_stdin_path()!r}}})")
        if not is_notebook:
            lines.append(f"__file__ = {str(path)!r}")
    (await session.run("\n".join(lines))).raise_for_status()


async def pass_arguments(session: Session, name: str, arguments: Sequence[str]) -> None:
    """Set the session's `sys.argv` for the file, on any worker. Raises CellFailed."""
    (await session.run(_argv_line(name, arguments))).raise_for_status()


def _argv_line(name: str, arguments: Sequence[str]) -> str:
    return f"__import__('sys').argv[:] = {[name, *arguments]!r}"


def _stdin_path() -> str | None:
    """Return a path by which another process of this machine can open our stdin; None if only we can read it."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:  # it is closed
        return os.devnull
    is_readable = stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or os.path.samestat(os.fstat(0), Path(os.devnull).stat())
    return f"/proc/{os.getpid()}/fd/0" if is_readable else None
