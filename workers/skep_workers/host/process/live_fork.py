"""Forks of live processes: a fork of a session that is resident here and idle shares its memory instead of a restore.

The result is the same. The source's process forks itself only if its state is exactly the checkpoint that the new
session begins with, and the fork drops everything that is not in that checkpoint. If that is not possible, the reason
is logged, and the session is restored as usual.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Protocol

import structlog

from skep_shared.broker.script_replies import Claim
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.chunks.stored_manifest import StoredManifest
from skep_shared.errors import StartError
from skep_shared.protocol.frames import Hello
from skep_workers.host.control_groups.session_group import SessionGroup
from skep_workers.host.process.listener import ProcessListener
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.process.work_directory import WorkDirectory
from skep_workers.host.process.zygote import Zygote

log = structlog.get_logger()


class Source(Protocol):
    """A session that is resident here and may be the origin of another one."""

    @property
    def claim(self) -> Claim:
        """The ownership of the session."""

    def live_process(self, checkpoint: CheckpointId) -> SessionProcess:
        """Return its process if that is at this checkpoint and idle. Raises NotLive."""


class NotLive(Exception):
    """A session can't be forked from a live process; the message says why. It is restored instead."""


class LiveProcess:
    """A session's process as the parent of another session's process."""

    def __init__(self, process: SessionProcess, zygote: Zygote, manifest: bytes, patience_seconds: float) -> None:
        """`manifest`: of the checkpoint that the process must be at, as a session process reads it."""
        self._process = process
        self._zygote = zygote
        self._manifest = manifest
        self._patience_seconds = patience_seconds

    async def fork(
        self,
        descriptors: list[int],
        directory: str,
        on_exit: Callable[[int | None], None],
        group: SessionGroup | None = None,
    ) -> int:
        """Fork the process; return the fork's pid. Raises NotLive, StartError."""
        home = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        adopted, until_adopted = os.pipe2(os.O_CLOEXEC)
        try:
            given = [*descriptors, home, adopted]
            twinned = await self._process.twin(self._manifest, given, self._patience_seconds)
            if not twinned.pid:
                raise NotLive(twinned.reason)
            await self._zygote.adopt(twinned.pid, self._process.pid, on_exit)
            if group is not None:
                _move(twinned.pid, group)  # it has run no code of cells yet, and gets none before its Hello is read
            return twinned.pid
        finally:
            for fd in (home, adopted, until_adopted):
                os.close(fd)


def _move(pid: int, group: SessionGroup) -> None:
    """Move a fork from its source's control group to its own. Raises StartError; then it is killed."""
    try:
        group.take_in(pid)
    except OSError as exc:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise StartError("session process", f"it can't be moved to its control group: {exc}") from exc


class LiveForking:
    """Starts the process of one session as a fork of its origin's, if that is resident here; tried only once."""

    def __init__(
        self,
        claim: Claim,
        zygote: Zygote,
        directory: WorkDirectory,
        patience_seconds: float,
        find: Callable[[str], Source | None],
    ) -> None:
        """`find` returns the session with an id if it is resident here."""
        self._claim = claim
        self._zygote = zygote
        self._directory = directory
        self._patience_seconds = patience_seconds
        self._find = find
        self._is_tried = False
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)

    def source(self, head: CheckpointId) -> Source | None:
        """Return the session whose live process may have this one's state, which is the checkpoint `head`."""
        if self._is_tried or not self._claim.origins:
            return None
        origin = self._claim.origins[0]
        found = self._find(origin.session_id) if head == origin.checkpoint else None
        return found if found is not None and found.claim.created_at == origin.created_at else None

    async def start(
        self, source: Source, checkpoint: CheckpointId, manifest: StoredManifest, listener: ProcessListener
    ) -> tuple[SessionProcess, Hello] | None:
        """Start a process as a fork of the source's; return None if that is not possible, and log the reason."""
        self._is_tried = True  # if the fork fails later, the next process is restored
        try:
            if self._zygote.has_sandbox:
                # Not even asked for: a hostile process could answer with any child of its own.
                raise NotLive("a process in a sandbox can't become another session's")
            process = source.live_process(checkpoint)
            live = LiveProcess(process, self._zygote, manifest.packed, self._patience_seconds)
            started = await self._directory.start_process(listener, live)
        except (NotLive, StartError, ValueError) as exc:
            self._log.info("fork.not_live", origin=source.claim.session_id, reason=str(exc))
            return None
        self._log.info("fork.live", origin=source.claim.session_id, pid=started[0].pid)
        return started
