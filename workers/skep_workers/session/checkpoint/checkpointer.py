"""The checkpoints of a session process: taken after cells, restored before the first one.

The session's main thread calls this. The snapshot of a forked child is sent by a helper thread on a socket of its own,
so that megabytes of state never delay a cell's output.
"""

from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final

from skep_shared.checkpoints.manifest import Manifest, unpack_entries
from skep_shared.originals import os, socket
from skep_shared.protocol.frames import Frame
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.saving.snapshots import Snapshots
from skep_workers.session.checkpoint.session_restorer import SessionRestorer
from skep_workers.session.checkpoint.snapshot_schedule import SnapshotSchedule
from skep_workers.session.checkpoint.state import SnapshotLimits
from skep_workers.session.checkpoint.state_reader import StateReader
from skep_workers.session.checkpoint.surroundings.workspace import DEFAULT_QUOTA_BYTES, MAX_ENTRIES
from skep_workers.session.compilation.compiling import CompiledCell
from skep_workers.session.compilation.plain_cells import Uses, reads_plain_values
from skep_workers.session.packages.directory import PackageDirectory
from skep_workers.session.packages.session_packages import SessionPackages
from skep_workers.session.runtime.namespace import NamespaceManager
from skep_workers.session.safeguards.resource_reserve import relief

SEND_BYTES: Final = 4 * 1024 * 1024
MOST_FILES_SHOWN: Final = 5
JOIN_SECONDS: Final = 2.0


class Checkpointer:
    """Saves and restores one session's namespace; `restorer` does the latter."""

    def __init__(
        self,
        namespace: NamespaceManager,
        sock: socket.socket,
        when_free: Callable[[], None],
        packages: SessionPackages,
    ) -> None:
        """when_free: is called, from a helper thread, when a child has finished."""
        self._namespace = namespace
        self._socket = sock
        self._when_free = when_free
        self._parts = StateReader(namespace, packages)
        self._schedule = SnapshotSchedule()
        self._snapshots = Snapshots(self._parts.read, self._parts.forget_saved, self._send_file, self._finish_child)
        self.restorer: Final = SessionRestorer(self._parts, self._snapshots.adopt)
        self.is_on = True
        registry.names = namespace.names

    # --- setting up ---------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Record what is imported now as the environment's; once, in the process that session processes fork from."""
        self._parts.imports.prepare()
        self._parts.ambient.prepare()

    def install(self) -> None:
        """Make `skep_restore` available to cells."""
        self._parts.recipes.install()

    def begin(self, directory: str) -> None:
        """Start with a session whose files are in this directory."""
        registry.home = directory
        self._parts.begin(directory)

    def note_start(self) -> None:
        """Record the process as it is now, including everything of the engine's, as not to be saved."""
        self._parts.ambient.note_start()

    def connect(
        self, future_flags: Callable[[], int], context: Context, is_final: Callable[[], bool], loop: object
    ) -> None:
        """Set where to read the compiler's future flags, and the context and the loop that cells run in.

        is_final: returns whether no user code is left to run now.
        """
        self._parts.connect(future_flags, is_final)
        registry.context = context
        registry.loop = loop

    def configure(self, options: Mapping[str, Any]) -> None:
        """Apply the options of a session, and its worker's settings, that concern checkpoints. Raises OSError."""
        self.is_on = options.get("durability") != "none"
        self._schedule.set_relaxed(is_relaxed=options.get("durability") == "relaxed")
        most_files = (options.get("limits") or {}).get("workspace_files") or MAX_ENTRIES
        self._parts.workspace.quota_bytes = int(options.get("workspace_quota_bytes", DEFAULT_QUOTA_BYTES))
        self._parts.workspace.most_entries = min(MAX_ENTRIES, most_files)
        self._parts.ambient.set_up(options.get("env") or {}, options.get("cwd") or "")
        self._snapshots.set_limits(SnapshotLimits.from_options(options))
        if (change := self._parts.packages.configure(options)) is not None:
            self.use_packages(*change)

    def use_packages(self, before: PackageDirectory | None, after: PackageDirectory) -> None:
        """Use the packages in a directory, instead of the one from before, as if the process had begun so."""
        self._parts.use_packages(before, after)

    @property
    def quota_bytes(self) -> int:
        """Return how many bytes the files below the session's directory may have."""
        return self._parts.workspace.quota_bytes

    # --- around cells -------------------------------------------------------------------------------------------------

    def before_cell(self, compiled: CompiledCell) -> None:
        """Note a cell that runs next."""
        tree = compiled.analysis.tree
        if self.is_on and tree is not None:
            self._parts.imports.before_cell(tree, (compiled.body, compiled.last), self._namespace.names)

    def after_cell(self, seq: int, uses: Uses | None = None) -> list[Frame]:
        """Save the state after a cell; return the frames to send now. A child's frames are sent later, by themselves.

        uses: what the cell can have changed, None if it may have changed anything.
        """
        if not self.is_on:
            return []
        failed = self._snapshots.pop_failure()
        try:
            return [*failed, *self._after_cell(seq, uses)]
        except Exception:  # noqa: BLE001 - a limit of resources may be the cause
            self._snapshots.distrust()
        try:
            with relief:
                return [*failed, *self._after_cell(seq, None)]
        except Exception as exc:  # noqa: BLE001 - the cell has ended, and its outcome is waited for
            return [*failed, self._snapshots.fail(seq, describe(exc))]

    def _after_cell(self, seq: int, uses: Uses | None) -> list[Frame]:
        is_plain = uses is not None and reads_plain_values(uses, self._namespace.names)
        self._snapshots.note_uses(uses if is_plain else None)
        if self._snapshots.is_busy or self._schedule.seconds_to_wait:
            self._schedule.postpone(seq)
            return []
        self._schedule.begin_snapshot(seq)
        return self._snapshots.take_snapshot(seq) or []

    def files_not_saved(self) -> str:
        """Return, after `after_cell`, which files are not saved with the session; '' if all are, or it was reported."""
        if not self.is_on:
            return ""
        is_unread = self._schedule.is_wanted and not self._schedule.is_relaxed
        lost = self._parts.workspace.new_losses(is_unread=is_unread)
        if not lost:
            return ""
        shown, more = "; ".join(lost[:MOST_FILES_SHOWN]), len(lost) - MOST_FILES_SHOWN
        return f"not saved with the session: {shown}" + (f"; and {more} more files" if more > 0 else "")

    def packages_not_saved(self) -> str:
        """Return, after `after_cell`, why the session's packages are not saved as they are; '' if it was reported."""
        return self._parts.packages.kept.new_problem() if self.is_on else ""

    def note_placed_file(self, packed: list[list[Any]]) -> int:
        """Note a file that the host has placed in the directory and saved, after its directories; from any thread.

        Returns the last cell whose state may have been read before, without the file.
        """
        self._snapshots.note_placed_file(unpack_entries(packed))
        return self._schedule.read_seq

    # --- between cells ------------------------------------------------------------------------------------------------

    @property
    def seconds_to_wait(self) -> float:
        """How long until the next snapshot may be taken."""
        return self._schedule.seconds_to_wait

    @property
    def is_due_later(self) -> bool:
        """Return whether a snapshot is wanted and only has to wait for its time."""
        return self._schedule.is_wanted and not self._snapshots.is_busy and self._schedule.seconds_to_wait > 0

    def when_idle(self) -> list[Frame]:
        """Take the snapshot that cells wait for, if it may be taken now; only while no cell runs."""
        failed = self._snapshots.pop_failure()
        schedule = self._schedule
        if not schedule.is_wanted or self._snapshots.is_busy or schedule.seconds_to_wait:
            return failed
        return [*failed, *self.after_cell(schedule.latest_seq, Uses())]

    def resend(self) -> None:
        """Send all of the state with the next snapshot; from any thread."""
        self._snapshots.resend()

    @property
    def child_pid(self) -> int:
        """Return the pid of the child that takes a snapshot now, 0 without one."""
        return self._snapshots.child_pid

    def _finish_child(self, has_saved: bool) -> None:
        # After a child that made nothing, its state is still wanted, except the variables that it failed at.
        self._schedule.is_wanted = self._schedule.is_wanted or not has_saved
        self._when_free()

    def _send_file(self, fd: int, size: int) -> None:
        sent = 0
        while sent < size:
            sent += os.sendfile(self._socket.fileno(), fd, sent, min(SEND_BYTES, size - sent))

    # --- at the end of the process ------------------------------------------------------------------------------------

    def save_last_state(self, seq: int) -> list[Frame]:
        """Save, at the end of the process, what is not saved yet as the state after the cell of `seq`.

        Waits for children, whose frames they send themselves.
        """
        if not self.is_on:
            return []
        self._schedule.read_seq = seq
        return self._snapshots.take_last_snapshot(seq, has_run=self._schedule.is_wanted)

    def save_last_files(self, seq: int) -> list[Frame]:
        """Save the files again, if they have changed since `save_last_state`, with the names that it has saved."""
        return self._snapshots.save_files(seq) if self.is_on else []

    def saved_values(self) -> list[Any]:
        """Return the values in the latest checkpoint."""
        names, saved = self._namespace.names, self._snapshots.saved_names
        return [value for name, value in list(names.items()) if name in saved]

    def release_values(self) -> None:
        """Hold no value of the namespace any more; only files are saved after this."""
        self.restorer.release_values()
        self._snapshots.release_values()

    # --- in a fork of the live process, see twin.py -------------------------------------------------------------------

    def reason_against(self, packed_manifest: bytes) -> str:
        """Return why this process may have another state than this checkpoint; '' if it has exactly that state."""
        self._snapshots.join(JOIN_SECONDS)  # a child whose snapshot is stored may not have ended yet
        if self._schedule.is_wanted or self._snapshots.is_busy:
            return "its latest state is not saved yet"
        reason = self._snapshots.reason_against(Manifest.unpack(packed_manifest))
        if not reason:
            self._parts.hold_objects()
        return reason

    @property
    def descriptors(self) -> set[int]:
        """Return the open file descriptors, except the socket's."""
        return self._snapshots.descriptors

    def copy_files(self, directory: int) -> None:
        """Copy the files of the latest checkpoint to another directory. Raises OSError, ValueError."""
        self._parts.workspace.copy_to(self._snapshots.files, directory)

    def begin_as_twin(self, sock: socket.socket, directory: str) -> None:
        """Continue as another session's process, in a directory to which the files have been copied. Raises OSError."""
        self._socket = sock
        registry.home = directory
        state = self._snapshots.begin_as_twin()
        self.restorer.begin_as_twin(state, self._snapshots.is_at)
        self._parts.begin_as_twin(directory, state)

    def note_start_as_twin(self) -> None:
        """Record what of the engine's is this process's own as not to be saved."""
        self._parts.ambient.note_start_as_twin()
