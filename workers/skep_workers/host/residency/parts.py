"""The parts of one residency, and what they report to each other.

A part reports to this module what concerns other parts; it never holds their callbacks or writes their attributes.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from skep_shared import packed_events
from skep_shared.broker.script_replies import Claim
from skep_shared.broker.signatures import check_options
from skep_shared.broker.tenant_scripts import TenantScripts
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.chunks.stored_manifest import StoredManifest
from skep_shared.errors import SignatureRefused
from skep_shared.models import SessionOptions
from skep_shared.protocol.frames import Blob, Done, Reply, Restored, Saved
from skep_shared.states import ResidentStep
from skep_workers.host.checkpoint.writer import SavedState
from skep_workers.host.limits.tenant_cpu import TenantCpu
from skep_workers.host.limits.watch import LimitWatch, needs_watch
from skep_workers.host.network.session_network import SessionNetwork
from skep_workers.host.process.exit_status import for_the_log
from skep_workers.host.process.listener import CellOutput, ProcessEnd
from skep_workers.host.process.live_fork import Source
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.residency.cells.attempts import SHUT_DOWN
from skep_workers.host.residency.cells.cell_context import CellContext
from skep_workers.host.residency.cells.intake import CellIntake
from skep_workers.host.residency.cells.reporter import Reporter
from skep_workers.host.residency.cells.runs import CellRuns
from skep_workers.host.residency.checkpointing import HostCheckpoints
from skep_workers.host.residency.configuration import applied_limits
from skep_workers.host.residency.context import Host
from skep_workers.host.residency.journal import Journal
from skep_workers.host.residency.last_checkpoint import LastCheckpoint
from skep_workers.host.residency.lifecycle import Lifecycle
from skep_workers.host.residency.operations import HostOperations
from skep_workers.host.residency.processes import SessionProcesses
from skep_workers.host.residency.uploads import Uploads

log = structlog.get_logger()

NETWORK_REFUSED: Final = "network.refused"  # the category of the warning


class ResidencyParts:
    """Builds the parts of one residency. It is the listener of the session's processes and of its journal."""

    def __init__(self, host: Host, claim: Claim, find: Callable[[str], Source | None]) -> None:
        """`find` returns the session with this id if it is resident on this worker."""
        self._accounting = host.accounting
        self._session_id = claim.session_id
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)
        self.lifecycle: Final = Lifecycle(claim)
        self.journal: Final = Journal(host.scripts, claim, host.settings, self)
        retry_reason = f"{SHUT_DOWN} before it had ended" if claim.handed_over else "the worker that had it died"
        self.reporter: Final = Reporter(self.journal, host.clock, claim.epoch, retry_reason=retry_reason)
        self.intake: Final = CellIntake(
            host.reads,
            host.scripts.keys,
            claim.session_id,
            after=claim.cursor,
            on_cells=self.cells_arrived,
            signer=host.scripts.signer,
        )
        self.operations: Final = HostOperations(host.answers)
        options = SessionOptions.unpack(claim.options)
        self.idle_seconds: Final = options.idle_seconds
        self.refused_options: SignatureRefused | None = None  # why no process may begin with them
        try:
            check_options(host.scripts.signer, claim.session_id, claim.options)
        except SignatureRefused as exc:
            self.refused_options = exc
        limits = applied_limits(options, host.settings)
        self.watch: LimitWatch | None = None
        if needs_watch(limits):
            self.watch = LimitWatch(limits, host.places.current.path(claim.session_id), self._watched)
        self.runs: Final = CellRuns(
            CellContext(
                claim,
                options,
                host.settings,
                host.clock,
                self.lifecycle,
                self.intake,
                self.journal,
                self.reporter,
                self.watch,
                limits.wall_seconds,
            )
        )
        self.checkpoints: Final = HostCheckpoints(host, claim, self.journal, self.reporter, self.state_saved)
        self.last_checkpoint: Final = LastCheckpoint(self.checkpoints)
        self.tenant_cpu: Final = TenantCpu(TenantScripts(host.redis, host.scripts.keys), claim, self._watched)
        self.network: Final = SessionNetwork(host.zygote, host.networks, host.proxy, options, self.connection_refused)
        self.processes: Final = SessionProcesses(host, claim, self.journal, self.checkpoints, self, self.network, find)
        self.uploads: Final = Uploads(host, self.runs, self.journal, self.checkpoints, self.operations, self.lifecycle)

    def _watched(self) -> tuple[SessionProcess | None, bool]:
        """Return the session's process, and whether a cell runs in it."""
        return self.processes.current, bool(self.runs.window)

    def connection_refused(self, name: str, port: int, reason: str) -> None:
        """Report a host that the proxy has not let the session connect to."""
        message = f"a connection to {name}:{port} was refused: {reason}"
        self.reporter.session_event(packed_events.warning, category=NETWORK_REFUSED, message=message)

    def attach(self, process: SessionProcess) -> None:
        """Use a process that is configured and has the session's state."""
        self.runs.attach(process)
        self.cells_arrived()
        self.uploads.attach(process)
        self.send_operations()

    def cells_arrived(self) -> None:
        """Send waiting cells to the process, or wake the residency's task to start one."""
        if self.lifecycle.is_ready:
            self.runs.send_cells()
        else:
            self.lifecycle.notify()

    def send_operations(self) -> None:
        """Send waiting operations to the process, or wake the residency's task to start one."""
        process = self.processes.current
        if self.lifecycle.is_leaving:
            return
        if process is None or process.is_ending or not self.lifecycle.is_ready:
            self.lifecycle.notify()
            return
        for frame in self.operations.begin():
            process.control(frame)

    def state_saved(self, state: SavedState) -> None:
        """React to a snapshot whose chunks are stored."""
        self.runs.unsaved.state_saved(self.last_checkpoint.numbered(self.uploads.amend(state)))
        self.lifecycle.notify()

    def journal_progressed(self) -> None:
        """React to a write of the journal: cells may wait for the commit of another one."""
        self.runs.journal_progressed()
        self.tenant_cpu.journal_progressed()
        if self.lifecycle.is_ready:
            self.runs.send_cells()

    def checkpoint_committed(self, checkpoint: CheckpointId, manifest: StoredManifest, stored_bytes: int) -> None:
        """React to a checkpoint that is in Redis now; stored_bytes: the size of its manifest there."""
        self.checkpoints.committed(checkpoint, manifest, stored_bytes)
        if self.runs.unsaved.commits_before_checkpoint:
            self.reporter.session_event(packed_events.checkpoint_saved, checkpoint=str(checkpoint))

    def receive_output(self, frame: CellOutput) -> None:
        """Receive output of a cell."""
        self.runs.receive_output(frame)

    def receive_done(self, frame: Done) -> None:
        """Receive the end of the running cell."""
        if self.watch is not None and not self.watch.admits_done(frame):
            return
        run = self.runs.receive_done(frame)
        self._accounting.add(self._session_id, run.cell, frame)
        waiting = self.intake.waiting
        if waiting and waiting[0].spec.only_after is not None:  # it may have waited for this cell's end
            self.cells_arrived()

    def receive_snapshot_part(self, frame: Blob | Saved) -> None:
        """Receive a part of a snapshot."""
        self.runs.unsaved.progress()
        self.checkpoints.receive_frame(frame, self.processes.current)

    def receive_restored(self, frame: Restored) -> None:
        """Receive the result of a restore."""
        self.checkpoints.restored(frame)

    def receive_reply(self, frame: Reply) -> None:
        """Receive the answer to an operation; there is room for another one."""
        self.operations.end(frame)
        self.send_operations()

    def start_ending(self, ending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start the task that completes the end of a process."""
        return self.processes.start_task(ending, "exit of a process")

    def process_ended(self, end: ProcessEnd) -> None:
        """React to the end of the session's process."""
        processes, lifecycle, head = self.processes, self.lifecycle, self.runs.window.head
        if not processes.remove_ended():
            return
        is_wanted = processes.is_replacing
        self.checkpoints.ended(end.cause)
        if self.runs.unsaved.commits_with_checkpoint and not is_wanted:
            self.checkpoints.discard_unstored()  # its last snapshots belong to cells that will run again
        self.uploads.detach()
        if is_wanted or lifecycle.is_leaving:
            self.operations.requeue_open()
        self.operations.abandon(f"the session process ended: {end.cause}")
        if lifecycle.has_ended:
            return
        if is_wanted:
            self.runs.detach(end)
            lifecycle.step(ResidentStep.EXIT)
            return
        if lifecycle.is_handing_over:
            self._log.info("session.handed_over", seq=head.cell.seq if head else None)
        else:
            self._log.warning("session.crashed", cause=for_the_log(end.cause), seq=head.cell.seq if head else None)
        self.runs.process_ended(end, may_head_run_again=lifecycle.is_handing_over)
        lifecycle.step(ResidentStep.EXIT)
