"""Forks of live processes: a fork of a session that is here and idle shares its memory, instead of being restored.

It comes to the same: the source's process forks itself only if it is exactly at the checkpoint that the new session
begins with, and the fork lets go of what that checkpoint does not have. Where it can't be, the log says why, and the
session is restored as anywhere else.
"""

import os
from collections.abc import Callable
from typing import Protocol

import structlog

from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.errors import StartError
from skep_shared.frames import Frame, Hello
from skep_shared.manifests import plain_manifest
from skep_shared.script_replies import Claim
from skep_workers.host.housing import Housing
from skep_workers.host.process import SessionProcess
from skep_workers.host.zygote import Zygote

log = structlog.get_logger()


class Source(Protocol):
    """A session that is resident here, and that another one may be a fork of."""

    @property
    def claim(self) -> Claim:
        """Its ownership."""

    def live_process(self, checkpoint: CheckpointId) -> SessionProcess:
        """Give its process, if that is at this checkpoint and has nothing to do. Raises NotLive."""


class NotLive(Exception):
    """A session can't be forked from a live process, and why; it is restored then."""


class LiveProcess:
    """A process of a session as the parent of another session's."""

    def __init__(self, process: SessionProcess, zygote: Zygote, manifest: bytes, patience_seconds: float) -> None:
        """`manifest`: of the checkpoint that the process has to be at."""
        self._process = process
        self._zygote = zygote
        self._manifest = manifest
        self._patience_seconds = patience_seconds

    async def fork(self, descriptors: list[int], directory: str, on_exit: Callable[[int | None], None]) -> int:
        """Fork the process; gives the fork's pid. Raises NotLive, StartError."""
        home = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        adopted, until_adopted = os.pipe2(os.O_CLOEXEC)
        try:
            given = [*descriptors, home, adopted]
            twinned = await self._process.twin(self._manifest, given, self._patience_seconds)
            if not twinned.pid:
                raise NotLive(twinned.reason)
            await self._zygote.adopt(twinned.pid, self._process.pid, on_exit)
            return twinned.pid
        finally:
            for fd in (home, adopted, until_adopted):
                os.close(fd)


class LiveForking:
    """Starts the process of one session from that of its origin, once, if it has one here."""

    def __init__(
        self,
        claim: Claim,
        zygote: Zygote,
        housing: Housing,
        patience_seconds: float,
        find: Callable[[str], Source | None],
    ) -> None:
        """`find` gives the session of an id that is resident here."""
        self._claim = claim
        self._zygote = zygote
        self._housing = housing
        self._patience_seconds = patience_seconds
        self._find = find
        self._is_tried = False
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)

    def source(self, head: CheckpointId) -> Source | None:
        """Give the session whose live process this one's state may be in, `head` being its checkpoint."""
        if self._is_tried or not self._claim.origins:
            return None
        origin = self._claim.origins[0]
        found = self._find(origin.session_id) if head == origin.checkpoint else None
        return found if found is not None and found.claim.created_at == origin.created_at else None

    async def start(
        self,
        source: Source,
        checkpoint: CheckpointId,
        manifest: bytes,
        on_frame: Callable[[Frame], None],
        on_exit: Callable[[str, list[tuple[str, str]]], None],
    ) -> tuple[SessionProcess, Hello] | None:
        """Give a process that has said hello, forked from the source's; None if that can't be. Logs why not."""
        self._is_tried = True  # whatever goes wrong with it later, the next process is restored
        try:
            process = source.live_process(checkpoint)
            live = LiveProcess(process, self._zygote, plain_manifest(manifest), self._patience_seconds)
            started = await self._housing.start_process(on_frame, on_exit, live)
        except (NotLive, StartError, ValueError) as exc:
            self._log.info("fork.not_live", origin=source.claim.session_id, reason=str(exc))
            return None
        self._log.info("fork.live", origin=source.claim.session_id, pid=started[0].pid)
        return started
