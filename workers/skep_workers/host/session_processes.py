"""The processes of one session, one at a time: how each is started and filled, replaced, and ended."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from skep_shared.errors import StartError
from skep_shared.frames import Configure, Frame, Hello, Shutdown
from skep_shared.script_replies import Claim
from skep_workers.host.facilities import Host
from skep_workers.host.housing import Housing
from skep_workers.host.journal import Journal
from skep_workers.host.live_fork import LiveForking, Source
from skep_workers.host.parting import Ended, Patience
from skep_workers.host.process import SessionProcess
from skep_workers.host.state_keeping import StateKeeping


class SessionProcesses:
    """Gives a session a process that has its state; `current` is the one it has, if any."""

    def __init__(
        self,
        host: Host,
        claim: Claim,
        journal: Journal,
        keeping: StateKeeping,
        find: Callable[[str], Source | None],
        on_frame: Callable[[Frame], None],
        on_exit: Callable[[str, list[tuple[str, str]], bool], None],
    ) -> None:
        """`find` gives the session of an id that is resident on this worker.

        `on_exit` gets how the current process ended, what was left in its pipes, and whether that was wanted here.
        """
        seconds = host.settings.start_seconds
        self._housing = Housing(host.zygote, host.places.current, host.places.worker, claim, seconds)
        self._live_forking = LiveForking(claim, host.zygote, self._housing, seconds, find)
        self._journal = journal
        self._keeping = keeping
        self._on_frame = on_frame
        self._tell_exit = on_exit
        self._is_replacing = False
        self.current: SessionProcess | None = None

    async def start(self, configuration: Configure, *, is_lagging: bool) -> SessionProcess:
        """Give the session a process that is configured and has its state. Raises StartError, Fenced.

        is_lagging: cells may have committed ahead of their checkpoint.
        """
        async with AsyncExitStack() as stack:
            live = await self._start_live()
            if live is None:
                await stack.enter_async_context(self._keeping.reading_ahead())
            process, hello = live or await self._housing.start_process(self._on_frame, self._on_exit)
            self.current = process
            process.execute([configuration])
            await self._keeping.fill(process, hello, is_lagging=is_lagging, is_live=live is not None)
        if process.gone.is_set() or self.current is not process:  # the second comes first: its end is being told
            raise StartError("session process", "it ended before its first cell")
        return process

    async def _start_live(self) -> tuple[SessionProcess, Hello] | None:
        """Start the process as a fork of the origin's, if that is here; else None."""
        source = self._live_forking.source(self._journal.head)
        manifest = await self._keeping.head_manifest() if source is not None else None
        if source is None or manifest is None:
            return None
        return await self._live_forking.start(source, self._journal.head, manifest, self._on_frame, self._on_exit)

    async def end(self, order: Shutdown, patience: Patience) -> Ended:
        """Have the process leave in order; the session's next cell gets another one."""
        if self.current is None:
            return Ended()
        self._is_replacing = True
        try:
            return await self.current.leave(order, patience)
        finally:
            self._is_replacing = False

    async def kill(self) -> None:
        """End the process as a crash."""
        if self.current is not None:
            process = self.current
            process.kill()
            await process.gone.wait()

    async def leave(self, *, at_once: bool) -> None:
        """End the process, asked or (`at_once`) not, and remove what it left."""
        await self._housing.vacate(self.current, at_once=at_once)

    def _on_exit(self, cause: str, left: list[tuple[str, str]]) -> None:
        if self.current is not None:  # else it never said hello: its start has failed, and is told there
            self.current = None
            self._tell_exit(cause, left, self._is_replacing)
