"""The processes of one session, one at a time: how each is started and restored, replaced, and ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from skep_shared.broker.script_replies import Claim
from skep_shared.errors import StartError
from skep_shared.models import SessionOptions
from skep_shared.packed_events import EndedWork
from skep_shared.protocol.frames import Configure, Hello, Shutdown
from skep_workers.host.control_groups.session_group import SessionGroup
from skep_workers.host.network.session_network import SessionNetwork
from skep_workers.host.process.leave_requests import Patience
from skep_workers.host.process.listener import ProcessListener
from skep_workers.host.process.live_fork import LiveForking, Source
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.process.work_directory import WorkDirectory
from skep_workers.host.residency.checkpointing import HostCheckpoints
from skep_workers.host.residency.configuration import applied_limits
from skep_workers.host.residency.context import Host
from skep_workers.host.residency.journal import Journal

T = TypeVar("T")


class SessionProcesses:
    """Starts processes that have the session's state. `current` is the one that the session has, if any."""

    def __init__(
        self,
        host: Host,
        claim: Claim,
        journal: Journal,
        checkpoints: HostCheckpoints,
        listener: ProcessListener,
        network: SessionNetwork,
        find: Callable[[str], Source | None],
    ) -> None:
        """`find` returns the session with this id if it is resident on this worker."""
        seconds = host.settings.start_seconds
        self._session_id = claim.session_id
        self._host = host
        self._options = claim.options
        self._directory = WorkDirectory(
            host.zygote, host.places.current, host.places.worker, claim, seconds, self._make_group
        )
        self._live_forking = LiveForking(claim, host.zygote, self._directory, seconds, find)
        self._journal = journal
        self._checkpoints = checkpoints
        self._network = network
        self._listener = listener
        self._group: asyncio.TaskGroup | None = None
        self.is_replacing = False  # the current process is asked to leave
        self.current: SessionProcess | None = None

    def _make_group(self) -> SessionGroup | None:
        """Make the control group of a process, if this worker has control groups. Raises StartError."""
        limits = applied_limits(SessionOptions.unpack(self._options), self._host.settings)
        return self._host.groups.make(limits)

    @contextlib.asynccontextmanager
    async def owning_tasks(self) -> AsyncIterator[None]:
        """Own the tasks that end processes: if one of them fails, so does the body."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                yield
            finally:
                self._group = None

    def start_task(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a task that ends a process."""
        name = f"{name} of {self._session_id}"
        if self._group is None:  # of a process that failed to start: its end no longer concerns the residency
            return asyncio.get_running_loop().create_task(coroutine, name=name)
        return self._group.create_task(coroutine, name=name)

    async def start(self, configuration: Configure, *, is_lagging: bool) -> SessionProcess:
        """Return a process that is configured and has the session's state. Raises StartError, Fenced.

        is_lagging: cells may have committed ahead of their checkpoint.
        """
        async with AsyncExitStack() as stack:
            parent = await self._network.parent()
            live = await self._start_live()
            if live is None:
                await stack.enter_async_context(self._checkpoints.reading_ahead())
            process, hello = live or await self._directory.start_process(self._listener, parent)
            self.current = process
            process.execute([configuration])
            await self._checkpoints.restore_into(process, hello, is_lagging=is_lagging, is_live=live is not None)
        # `gone` is set before the end is reported, but another task may run in between: both are checked.
        if process.gone.is_set() or self.current is not process:
            raise StartError("session process", "it ended before its first cell")
        return process

    async def _start_live(self) -> tuple[SessionProcess, Hello] | None:
        """Start the process as a fork of the origin's, if that is here; otherwise return None."""
        source = self._live_forking.source(self._journal.head)
        manifest = await self._checkpoints.head_manifest() if source is not None else None
        if source is None or manifest is None:
            return None
        return await self._live_forking.start(source, self._journal.head, manifest, self._listener)

    def remove_ended(self) -> bool:
        """Remove the current process if it has ended; return False if another process has ended instead.

        That one never became the current process: it failed to start, and `start` has reported that.
        """
        if self.current is None or not self.current.gone.is_set():
            return False
        self.current = None
        return True

    async def end(self, order: Shutdown, patience: Patience) -> EndedWork:
        """Ask the process to leave in order; the session's next cell gets another one."""
        if self.current is None:
            return EndedWork()
        self.is_replacing = True
        try:
            return await self.current.leave(order, patience)
        finally:
            self.is_replacing = False

    async def kill(self) -> None:
        """Kill the process; that counts as a crash."""
        if self.current is not None:
            process = self.current
            process.kill()
            await process.gone.wait()

    async def leave(self, *, at_once: bool) -> None:
        """End the process, in order or (`at_once`) by a kill, and remove its directory."""
        try:
            await self._directory.remove_after(self.current, at_once=at_once)
        finally:
            self._network.end()
