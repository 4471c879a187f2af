"""The directory of a session, for each of its processes, one at a time.

It has the same path on every worker of the shard. A new process finds it empty, except for what its checkpoint puts
there; what the process before it had written and not committed is removed with that process.

Another worker on this machine may have had the session before, and not know yet that it has lost it. So the directory
is used only once every process that could still write to it has ended, see skep_shared.session_directories.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from skep_shared.errors import StartError
from skep_shared.foreign_errors import describe_error
from skep_shared.frames import Frame, Hello
from skep_shared.process_trees import ProcessId, is_running, kill_tree, open_process, process_id
from skep_shared.script_replies import Claim
from skep_shared.session_directories import DirectoryOwner, OwnerFile, SessionDirectories, empty
from skep_workers.host.process import KILL_SECONDS, Parent, SessionProcess
from skep_workers.host.zygote import Zygote

log = structlog.get_logger()

LOCK_SECONDS: Final = 2.0  # the lock is held for moments, unless its holder is stopped
AGAIN_SECONDS: Final = 0.01
LEAVE_SECONDS: Final = 2 * KILL_SECONDS + 1.0  # for a process whose worker has released the session and ends it
END_SECONDS: Final = 5.0  # for processes that were killed


class Housing:
    """Makes a session's directory with each process, and removes it with the next one or at the end."""

    def __init__(
        self,
        zygote: Zygote,
        directories: SessionDirectories,
        worker: ProcessId,
        claim: Claim,
        start_seconds: float,
    ) -> None:
        """`worker`: the process that this runs in."""
        self._zygote = zygote
        self._directories = directories
        self._session_id = claim.session_id
        self._start_seconds = start_seconds
        self._own = DirectoryOwner(claim.token, (claim.created_at, claim.epoch), worker)
        self._was_released = not claim.losses
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)

    async def start_process(
        self,
        on_frame: Callable[[Frame], None],
        on_exit: Callable[[str, list[tuple[str, str]]], None],
        parent: Parent | None = None,
    ) -> tuple[SessionProcess, Hello]:
        """Return a process that has said hello, forked from the zygote or this parent. Raise what `fork` raises."""
        try:
            directory = await self._take_directory()
        except OSError as exc:
            raise StartError("session process", f"its directory can't be made: {exc}") from exc
        process = SessionProcess(on_frame, on_exit)
        hello = await process.start(parent or self._zygote, directory, self._start_seconds)
        # Before anything of the session is sent to it: so far it has not touched the directory.
        identity = process_id(process.pid)
        try:
            await self._update([identity] if identity is not None else [])
        except StartError:
            process.kill()
            raise
        return process, hello

    async def vacate(self, process: SessionProcess | None, *, at_once: bool) -> None:
        """End the process, asked or (`at_once`) not, and remove what it left."""
        if process is not None:
            if at_once:
                process.kill()
                await process.gone.wait()
            else:
                await process.stop()
        await self._remove_directory()

    async def _take_directory(self) -> Path:
        """Return the directory, made empty, after all that used it have ended. Raise StartError if they don't end."""
        with await self._lock() as file:
            before = file.read()
            left, directory = self._make(file) if before is None or not before.processes else (None, None)
        if directory is None:
            await self._take_over()
            with await self._lock() as file:
                self._check(file.read())
                left, directory = self._make(file)
        if left is not None:
            await asyncio.to_thread(empty, left)
        return directory

    def _make(self, file: OwnerFile) -> tuple[Path | None, Path]:
        """Make the directory, of which this is the locked file; return what was there before, and the directory."""
        left = self._directories.discard(self._session_id)
        file.write(self._own)
        return left, self._directories.make(self._session_id)

    async def _take_over(self) -> None:
        """Become the directory's owner, and end the processes that used it before."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + LEAVE_SECONDS
        while True:
            with await self._lock() as file:
                before = file.read()
                processes = before.processes if before is not None else ()
                # One with a higher rank is the newer owner, unless Redis went back: then it will notice, and leave.
                is_newer = before is not None and before.rank > self._own.rank and before.token != self._own.token
                if not is_newer or not any(map(is_running, processes)):
                    file.write(self._own._replace(processes=processes))
                    break
            if loop.time() > ends_at:
                raise StartError("session process", "a newer owner of the session uses its directory on this machine")
            await asyncio.sleep(AGAIN_SECONDS)
        is_released = self._was_released and before is not None and before.token != self._own.token
        for process in processes:
            await self._end(process, is_released=is_released)

    async def _end(self, process: ProcessId, *, is_released: bool) -> None:
        """End a process of an earlier owner, and all below it. Raise StartError if it doesn't end in time."""
        # One whose worker has released the session is on its way out, and may have something to finish.
        if is_released and await _have_ended(_opened(process), LEAVE_SECONDS):
            return
        handles = kill_tree(process)
        if handles:
            self._log.warning("session.stale_process", pid=process.pid, killed=len(handles))
        if not await _have_ended(handles, END_SECONDS):
            reason = (
                f"process {process.pid} of an earlier owner uses {self._directories.path(self._session_id)} "
                f"and has not ended {END_SECONDS:g} s after it was killed"
            )
            raise StartError("session process", reason)

    async def _update(self, processes: Iterable[ProcessId]) -> None:
        """Note which processes use the directory. Raise StartError if it has another owner by now."""
        with await self._lock() as file:
            self._check(file.read())
            file.write(self._own._replace(processes=tuple(processes)))

    async def _remove_directory(self) -> None:
        """Remove the directory, unless a newer owner uses it."""
        try:
            with await self._lock() as file:
                owner = file.read()
                if owner is not None and owner.token != self._own.token:
                    return
                left = self._directories.discard(self._session_id)
                file.remove()
        except (OSError, StartError) as exc:
            self._log.warning("session.directory_left", error=describe_error(exc))
            return
        if left is not None:
            await asyncio.to_thread(empty, left)

    def _check(self, owner: DirectoryOwner | None) -> None:
        if owner is None or owner.token != self._own.token:
            reason = f"a newer owner of the session has taken {self._directories.path(self._session_id)} over"
            raise StartError("session process", reason)

    async def _lock(self) -> OwnerFile:
        """Return the locked file that says who uses the directory. Raise StartError."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + LOCK_SECONDS
        while True:
            try:
                return self._directories.lock(self._session_id)
            except BlockingIOError:
                if loop.time() > ends_at:
                    raise StartError(
                        "session process", "the owner of its directory can't be read: it is locked"
                    ) from None
            except OSError as exc:
                raise StartError("session process", f"its directory can't be used: {exc}") from exc
            await asyncio.sleep(AGAIN_SECONDS)


def _opened(process: ProcessId) -> list[int]:
    handle = open_process(process)
    return [] if handle is None else [handle]


async def _have_ended(handles: list[int], seconds: float) -> bool:
    """Wait until these processes have ended, at most so long, and close their pidfds; return whether they have."""
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    left = set(handles)

    def end(handle: int) -> None:
        loop.remove_reader(handle)
        os.close(handle)
        left.discard(handle)
        changed.set()

    for handle in handles:
        loop.add_reader(handle, end, handle)
    try:
        async with asyncio.timeout(seconds):
            while left:
                changed.clear()
                await changed.wait()
    except TimeoutError:
        return False
    finally:
        for handle in list(left):
            end(handle)
    return True
