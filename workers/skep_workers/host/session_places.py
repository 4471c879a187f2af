"""The directory on this machine that contains the directories of the shard's sessions.

It has the same path on every worker of the shard (see shard.py), and only this user may write to it.
"""

import asyncio
import os
import stat
from pathlib import Path
from typing import Final

import structlog

from skep_shared.broker.script_replies import Shard
from skep_shared.errors import StartError
from skep_shared.process_trees import ProcessId, process_id
from skep_shared.session_directories import SessionDirectories

log = structlog.get_logger()

RETRIES: Final = 10


class SessionPlaces:
    """The directory that this worker uses, `current`, and those that it used before the shard changed."""

    def __init__(self) -> None:
        worker = process_id(os.getpid())
        if worker is None:
            raise StartError("worker", "/proc has to be mounted: it shows which processes belong to a session")
        self.worker: ProcessId = worker
        self.current = SessionDirectories(Path("/nonexistent"))  # until the shard is known
        self._held: dict[Path, tuple[SessionDirectories, int]] = {}

    async def open(self, shard: Shard) -> None:
        """Use the shard's directory from now on. Raise StartError, with a remedy, if it can't be used."""
        directories = SessionDirectories(Path(shard.directory) / shard.shard_id)
        if directories.place not in self._held:
            self._held[directories.place] = directories, await asyncio.to_thread(_join, directories)
        self.current = directories

    async def clean(self) -> None:
        """Remove the directories of workers that were killed."""
        await asyncio.to_thread(self.current.remove_abandoned)

    async def close(self) -> None:
        """Stop using any directory; the last worker on this machine removes it."""
        held, self._held = self._held, {}
        for directories, descriptor in held.values():
            await asyncio.to_thread(directories.leave, descriptor)


def _join(directories: SessionDirectories) -> int:
    root = directories.place.parent
    for is_last in (*[False] * RETRIES, True):
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if reason := _reason_against(root):
                raise StartError("worker", _advice(root, reason))
            return directories.join()
        except FileExistsError as exc:
            reason = "workers of this shard in another container or on another machine use it, or it is no directory"
            raise StartError("worker", _advice(root, reason)) from exc
        except OSError as exc:
            # The last worker of another shard may remove the root between two of these steps.
            if is_last or not isinstance(exc, FileNotFoundError):
                raise StartError("worker", _advice(root, exc.strerror or str(exc))) from exc
    raise AssertionError("the last try returns or raises")


def _reason_against(root: Path) -> str:
    status = root.lstat()
    if not stat.S_ISDIR(status.st_mode) or root.resolve() != root:
        return f"it leads through a symbolic link to {root.resolve()}; use that path as the directory, on every worker"
    if status.st_uid != os.geteuid():
        return f"it belongs to user {status.st_uid}, and this worker runs as user {os.geteuid()}"
    return "others may write to it; its mode has to be 0700" if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else ""


def _advice(root: Path, reason: str) -> str:
    return (
        f"{root}, which is to contain the directories of this shard's sessions, can't be used: {reason}. Every worker "
        "of a shard needs the same path, on a disk of its own machine: stop the shard's workers and start them with "
        "SKEP_DIRECTORY (--directory) set to one that each of them can make or owns"
    )
