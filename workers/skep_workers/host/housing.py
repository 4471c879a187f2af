"""Where a session lives on its worker: a directory for each of its processes, one at a time.

A new process finds an empty directory and what its checkpoint puts there; what the one before it had written and not
committed goes with that one's directory.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from skep_shared.frames import Frame, Hello
from skep_workers.host.process import Parent, SessionProcess
from skep_workers.host.zygote import Zygote

NAME_CHARS = 40  # of the session id, in the directory's name


class Housing:
    """Makes a directory with each process, and removes it with the next one or at the end."""

    def __init__(self, zygote: Zygote, parent: Path, session_id: str, start_seconds: float) -> None:
        self._zygote = zygote
        self._parent = parent
        self._prefix = f"{session_id[:NAME_CHARS]}-"
        self._start_seconds = start_seconds
        self._directory: Path | None = None

    async def start_process(
        self,
        on_frame: Callable[[Frame], None],
        on_exit: Callable[[str, list[tuple[str, str]]], None],
        parent: Parent | None = None,
    ) -> tuple[SessionProcess, Hello]:
        """Give a process that has said hello, forked from the zygote or this parent. Raises what `fork` raises."""
        await self._remove_directory()
        self._directory = Path(tempfile.mkdtemp(prefix=self._prefix, dir=self._parent))
        process = SessionProcess(on_frame, on_exit)
        return process, await process.start(parent or self._zygote, self._directory, self._start_seconds)

    async def vacate(self, process: SessionProcess | None, *, at_once: bool) -> None:
        """End the process, asked or (`at_once`) not, and remove what it left."""
        if process is not None:
            if at_once:
                process.kill()
                await process.gone.wait()
            else:
                await process.stop()
        await self._remove_directory()

    async def _remove_directory(self) -> None:
        directory, self._directory = self._directory, None
        if directory is not None:
            # Symbolic links are removed, never followed: shutil.rmtree.avoids_symlink_attacks holds on Linux.
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
