"""The directory of a session, used by one of its processes at a time.

It has the same path on every worker of the shard. It is empty for a new process, except for the files that the
checkpoint restores. Files that the previous process had written but not committed are removed with that process.

Another worker on this machine may have had the session before and not have noticed yet that it has lost it. So the
directory is used only after every process that could still write to it has ended, see skep_shared.session_directories.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from skep_shared.broker.script_replies import Claim
from skep_shared.errors import StartError
from skep_shared.foreign_errors import describe_error
from skep_shared.process_trees import ProcessId, is_running, kill_tree, open_process, process_id
from skep_shared.protocol.frames import Hello
from skep_shared.session_directories import DirectoryOwner, OwnerFile, SessionDirectories, empty
from skep_workers.host.control_groups.session_group import SessionGroup
from skep_workers.host.process.listener import ProcessListener
from skep_workers.host.process.process import KILL_SECONDS, Parent, SessionProcess
from skep_workers.host.process.zygote import Zygote

log = structlog.get_logger()

LOCK_SECONDS: Final = 2.0  # the lock is held only briefly, unless its holder is stopped (SIGSTOP)
AGAIN_SECONDS: Final = 0.01
LEAVE_SECONDS: Final = 2 * KILL_SECONDS + 1.0  # for a process that its worker is ending, having released the session
END_SECONDS: Final = 5.0  # for processes that were killed


class WorkDirectory:
    """Makes a new session directory for each process, and removes it for the next one or at the end."""

    def __init__(
        self,
        zygote: Zygote,
        directories: SessionDirectories,
        worker: ProcessId,
        claim: Claim,
        start_seconds: float,
        make_group: Callable[[], SessionGroup | None] = lambda: None,
    ) -> None:
        """`worker`: this process. `make_group` makes the control group of a process, if it is to have one."""
        self._zygote = zygote
        self._directories = directories
        self._session_id = claim.session_id
        self._make_group = make_group
        self._start_seconds = start_seconds
        self._own = DirectoryOwner(claim.token, (claim.created_at, claim.epoch), worker)
        self._was_released = not claim.losses
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)

    async def start_process(
        self, listener: ProcessListener, parent: Parent | None = None
    ) -> tuple[SessionProcess, Hello]:
        """Start a process, forked from the zygote or this parent, and wait for its Hello. Raises what `fork` raises."""
        try:
            directory = await self._prepare_directory()
        except OSError as exc:
            raise StartError("session process", f"its directory can't be made: {exc}") from exc
        process = SessionProcess(listener, self._make_group())
        hello = await process.start(parent or self._zygote, directory, self._start_seconds)
        # Before any data of the session is sent to it: so far it has not touched the directory.
        identity = process_id(process.pid)
        try:
            await self._update([identity] if identity is not None else [])
        except StartError:
            process.kill()
            raise
        return process, hello

    async def remove_after(self, process: SessionProcess | None, *, at_once: bool) -> None:
        """End the process, in order or (`at_once`) by killing it, and remove the directory."""
        if process is not None:
            if at_once:
                process.kill()
                await process.gone.wait()
            else:
                await process.stop()
        await self._remove_directory()

    async def _prepare_directory(self) -> Path:
        """Make an empty directory after all processes that used the old one have ended. Raises StartError."""
        with await self._lock() as file:
            before = file.read()
            left, directory = self._make(file) if before is None or not before.processes else ([], None)
        if directory is None:
            await self._take_over()
            with await self._lock() as file:
                self._check_owner(file.read())
                left, directory = self._make(file)
        await _empty_all(left)
        return directory

    def _make(self, file: OwnerFile) -> tuple[list[Path], Path]:
        """Make the directory, whose locked owner file is `file`; return the discarded old ones and the new one."""
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
                # An owner with a higher rank is newer, unless Redis went back: then that owner notices, and leaves.
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
        """End a process of an earlier owner, and its descendants. Raises StartError if they don't end in time."""
        # If its worker has released the session, the process is already ending, and may have work to finish.
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
        """Record which processes use the directory. Raises StartError if another owner has taken it over."""
        with await self._lock() as file:
            self._check_owner(file.read())
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
        await _empty_all(left)

    def _check_owner(self, owner: DirectoryOwner | None) -> None:
        if owner is None or owner.token != self._own.token:
            reason = f"a newer owner of the session has taken {self._directories.path(self._session_id)} over"
            raise StartError("session process", reason)

    async def _lock(self) -> OwnerFile:
        """Lock the file that records who uses the directory, and return it. Raises StartError."""
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


async def _empty_all(discarded: list[Path]) -> None:
    for path in discarded:
        await asyncio.to_thread(empty, path)


def _opened(process: ProcessId) -> list[int]:
    handle = open_process(process)
    return [] if handle is None else [handle]


async def _have_ended(handles: list[int], seconds: float) -> bool:
    """Wait up to `seconds` until these processes have ended; close their pidfds, return whether they have ended."""
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
