"""Child processes that answer questions: a line of JSON on stdin, a line of JSON back.

One that is no longer asked ends when its stdin does, so none outlives this process, however that ends. Each leads a
process group of its own; what it has started is killed with it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
END_SECONDS = 5.0
LINE_BYTES = 64 * 1024 * 1024
ROOT = Path(__file__).parents[2]


class ChildFailed(RuntimeError):
    """The child said so, or ended."""


class Child:
    """A started child."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._is_stuck = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def ask(self, what: str, *, seconds: float = 180.0, **arguments: Any) -> Any:
        """Return the child's answer. Raises ChildFailed, TimeoutError; after that one the child is of no more use."""
        if self._is_stuck:
            raise ChildFailed(f"it has not answered before, so it can't be asked for {what!r}")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the missing answer tells it better
            self._process.stdin.write(json.dumps([what, arguments]).encode() + b"\n")
            await self._process.stdin.drain()
        self._is_stuck = True
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        self._is_stuck = False
        if not line:
            raise ChildFailed(f"it ended at {what!r}. Its last words: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildFailed(f"{what}: {answer['error']}")
        return answer["answer"]

    async def try_ask(self, what: str, *, seconds: float = 60.0, **arguments: Any) -> Any | None:
        """Return the answer of a peer, or None: a run goes on without its figure, and says so on stderr."""
        try:
            return await self.ask(what, seconds=seconds, **arguments)
        except (ChildFailed, TimeoutError) as exc:
            print(f"  no figure of {self._log.stem} for {what}: {exc!r}", file=sys.stderr)
            return None

    def _last_words(self) -> str:
        return " / ".join(self._log.read_text(errors="replace").splitlines()[-3:])

    async def end(self) -> None:
        """Ask it to end, and wait for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self._is_stuck else END_SECONDS):
                await self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


@contextlib.asynccontextmanager
async def child(
    *arguments: str,
    log: Path,
    python: Path | str = sys.executable,
    environment: Mapping[str, str] | None = None,
    directory: Path = ROOT,
    pass_fds: Sequence[int] = (),
) -> AsyncIterator[Child]:
    """Run `python ARGUMENTS …` as a child that is ready to be asked."""
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            str(python), *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, cwd=directory,
            env={**os.environ, **(environment or {})}, start_new_session=True, limit=LINE_BYTES, pass_fds=pass_fds,
        )  # fmt: skip
    started = Child(process, log)
    try:
        await started.ask("ready", seconds=START_SECONDS)
        yield started
    finally:
        await started.end()
