"""The checkpoints of a session process: taken after cells, restored before the first one.

The session's main thread asks here; what a forked child made is sent by a helper thread on a socket of its own, so that
megabytes of state never stand in the way of a cell's output.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Context
from typing import Any, Final

from skep_shared.frames import Blob, Expect, Frame, Restore, Restored
from skep_shared.originals import os, socket
from skep_workers.session.checkpoint.hidden_names import told
from skep_workers.session.checkpoint.lost_names import LostName, LostNames, describe
from skep_workers.session.checkpoint.manifest import Manifest
from skep_workers.session.checkpoint.recipes import Recipes
from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.restoring.chunk_store import ChunkStore
from skep_workers.session.checkpoint.restoring.restoring import Restoring
from skep_workers.session.checkpoint.saving.snapshots import Snapshots
from skep_workers.session.checkpoint.state import (
    DEFAULT_MEMORY_BYTES,
    DEFAULT_SNAPSHOT_SECONDS,
    DEFAULT_STATE_BYTES,
    SnapshotLimits,
    State,
)
from skep_workers.session.checkpoint.surroundings.ambient import FUTURE_FLAGS, Ambient
from skep_workers.session.checkpoint.surroundings.imports import SUBMODULES, Imports
from skep_workers.session.checkpoint.surroundings.workspace import DEFAULT_QUOTA_BYTES, Workspace
from skep_workers.session.clock import monotonic
from skep_workers.session.compiling import CompiledCell
from skep_workers.session.internals import RESULT_NAMES
from skep_workers.session.namespace import NamespaceManager
from skep_workers.session.relief import relief
from skep_workers.session.uses import Uses, reads_plain_values

SEND_BYTES: Final = 4 * 1024 * 1024
JOIN_SECONDS: Final = 2.0
_KEPT_INTERNALS: Final = (*RESULT_NAMES, "__annotations__")
RELAXED_SECONDS: Final = 1.0  # between two snapshots where no outcome waits for them


class Keeper:
    """Saves and restores one session's namespace."""

    def __init__(self, namespace: NamespaceManager, sock: socket.socket, when_free: Callable[[], None]) -> None:
        """`when_free` is called, from a helper thread, when a child has finished."""
        self._namespace = namespace
        self._socket = sock
        self._when_free = when_free
        self._ambient = Ambient(namespace.names)
        self._store = ChunkStore()
        self._future_flags: Callable[[], int] = lambda: 0
        self._is_final: Callable[[], bool] = lambda: False
        self._inherited: State | None = None
        self._buried: list[Any] = []
        self._hidden: dict[str, Any] = {}  # of the latest state, what is saved beside variables
        self._is_wanted = False
        self._latest_seq = 0
        self._taken_at = 0.0
        self._interval_seconds = 0.0
        self._workspace = Workspace()
        self._recipes = Recipes()
        self._imports = Imports()
        self._snapshots = Snapshots(self._read_state, self._workspace.saved, self._send_file, self._on_free)
        self.lost = LostNames()
        self.is_on = True
        registry.names = namespace.names

    def begin(self, directory: str) -> None:
        """Start with a session whose files are in this directory."""
        registry.home = directory
        self._workspace.begin(directory)
        self._ambient.begin(directory)
        self._imports.begin(directory)

    def note_start(self) -> None:
        """Take the process as it is now, with all that is the engine's, as what needs no saving."""
        self._ambient.note_start()

    def follow(
        self, future_flags: Callable[[], int], context: Context, is_final: Callable[[], bool], loop: object
    ) -> None:
        """Take where to read the compiler's future flags, and the context and the loop that cells run in.

        `is_final` tells whether nothing of user code is left to run now.
        """
        self._future_flags = future_flags
        self._is_final = is_final
        registry.context = context
        registry.loop = loop

    def install(self) -> None:
        """Make `skep_restore` known to cells."""
        self._recipes.install()

    def prepare(self) -> None:
        """Take what is imported now as the environment's; once, in the process that session processes are forked of."""
        self._imports.prepare()
        self._ambient.prepare()

    def before_cell(self, compiled: CompiledCell) -> None:
        """Take a cell that runs next."""
        tree = compiled.analysis.tree
        if self.is_on and tree is not None:
            self._imports.before_cell(tree, (compiled.body, compiled.last), self._namespace.names)

    def configure(self, options: Mapping[str, Any]) -> None:
        """Take what a session's options and its worker's settings say of checkpoints."""
        self.is_on = options.get("durability") != "none"
        self._interval_seconds = RELAXED_SECONDS if options.get("durability") == "relaxed" else 0.0
        self._workspace.quota_bytes = int(options.get("workspace_quota_bytes", DEFAULT_QUOTA_BYTES))
        self._snapshots.limits = SnapshotLimits(
            float(options.get("snapshot_seconds", DEFAULT_SNAPSHOT_SECONDS)),
            int(options.get("snapshot_memory_bytes", DEFAULT_MEMORY_BYTES)),
            int(options.get("state_bytes", DEFAULT_STATE_BYTES)),
        )

    def after_cell(self, seq: int, uses: Uses | None = None) -> list[Frame]:
        """Save the state after a cell; returns the frames to send now. Those of a child come later, by themselves.

        uses: what the cell can have changed, None if that may be anything.
        """
        if not self.is_on:
            return []
        failed = self._snapshots.take_failure()
        try:
            return [*failed, *self._after_cell(seq, uses)]
        except Exception:  # noqa: BLE001 - it may be that a limit stands in the way
            self._snapshots.distrust()
        try:
            with relief:
                return [*failed, *self._after_cell(seq, None)]
        except Exception as exc:  # noqa: BLE001 - whatever it is, the cell has ended, and its outcome is waited for
            return [*failed, self._snapshots.fail(seq, describe(exc))]

    def _after_cell(self, seq: int, uses: Uses | None) -> list[Frame]:
        self._snapshots.note(uses if uses is not None and reads_plain_values(uses, self._namespace.names) else None)
        self._latest_seq = seq
        if self._snapshots.is_busy or self.seconds_to_wait:
            self._is_wanted = True
            return []
        self._is_wanted = False
        self._taken_at = monotonic() if self._interval_seconds else 0.0
        return self._snapshots.take(seq) or []

    @property
    def seconds_to_wait(self) -> float:
        """How long until the next snapshot may be taken."""
        if not self._interval_seconds:
            return 0.0
        return max(0.0, self._taken_at + self._interval_seconds - monotonic())

    @property
    def is_due_later(self) -> bool:
        """Tell whether a snapshot is wanted that only time stands in the way of."""
        return self._is_wanted and not self._snapshots.is_busy and self.seconds_to_wait > 0

    def when_idle(self) -> list[Frame]:
        """Take the snapshot that cells wait for, if it may be taken now; only while no cell runs."""
        failed = self._snapshots.take_failure()
        if not self._is_wanted or self._snapshots.is_busy or self.seconds_to_wait:
            return failed
        return [*failed, *self.after_cell(self._latest_seq, Uses())]

    def leave(self, seq: int) -> list[Frame]:
        """Save, at the end of the process, what is not saved yet as the state after the cell of `seq`.

        Waits for children, whose frames they send themselves.
        """
        if not self.is_on:
            return []
        return self._snapshots.take_last(seq, has_run=self._is_wanted)

    def leave_files(self, seq: int) -> list[Frame]:
        """Save the files once more, if they have changed since `leave`, beside the names that it has saved."""
        return self._snapshots.take_files(seq) if self.is_on else []

    def resend(self) -> None:
        """Send all of the state with the next snapshot; from any thread."""
        self._snapshots.resend()

    @property
    def child_pid(self) -> int:
        """Return the pid of the child that takes a snapshot now, 0 without one."""
        return self._snapshots.child_pid

    def saved_values(self) -> list[Any]:
        """Return the values that the latest checkpoint has."""
        names, saved = self._namespace.names, self._snapshots.saved_names
        return [value for name, value in list(names.items()) if name in saved]

    def let_go(self) -> None:
        """Hold no value of the namespace any more; nothing is saved after this but files."""
        self._buried.clear()
        self._snapshots.let_go()

    def expect(self, frame: Expect) -> None:
        """Make room for what is large in the checkpoint whose chunks come now."""
        # What there is no room for, or can't be read, is told when it is to be restored.
        with suppress(MemoryError, ValueError, KeyError, TypeError):
            manifest = Manifest.unpack(frame.manifest)
            self._store.expect(manifest.runs(), manifest.sizes)

    def place(self, name: bytes, size: int) -> memoryview | None:
        """Give where a chunk of the checkpoint to restore can be received."""
        return self._store.place(name, size)

    def put(self, blob: Blob) -> None:
        """Take a chunk of the checkpoint to restore."""
        self._store.put(blob.name, blob.data)

    def restore(self, frame: Restore) -> tuple[Restored, int]:
        """Fill the namespace; gives the answer, and the future flags of its cells."""
        if self._inherited is not None:
            return self._take_over(Manifest.unpack(frame.manifest), self._inherited)
        store, self._store = self._store, ChunkStore()
        try:
            manifest = Manifest.unpack(frame.manifest)
            result = Restoring(manifest, store).run(
                self._namespace.names,
                self._ambient,
                self._workspace,
                self._imports,
                is_careful=frame.is_careful,
            )
        except Exception as exc:  # noqa: BLE001 - whatever it is, the host has to hear of it, and not to wait
            return Restored(describe(exc), {}, []), 0
        finally:
            store.release()
        result.lost = {told(name): reason for name, reason in result.lost.items()}
        self._imports.restore(self._namespace.names, result.lost)
        result.notes += self._ambient.finish(self._namespace.names)
        self._recipes.follow(self._namespace.names, result.lost)
        checkpoint = f"{manifest.seq}-0"
        self.lost.remember([LostName(name, reason, checkpoint) for name, reason in result.lost.items()])
        self._snapshots.adopt(manifest, self._namespace.names)
        return Restored("", result.lost, result.notes), result.future_flags

    # --- a twin's, see twinning.py --------------------------------------------------------------------------------

    def reason_against(self, packed_manifest: bytes) -> str:
        """Say why this process may have another state than this checkpoint; '' if it has exactly that."""
        self._snapshots.join(JOIN_SECONDS)  # what it made is stored, but it may not have ended yet
        if self._is_wanted or self._snapshots.is_busy:
            return "its latest state is not saved yet"
        reason = self._snapshots.reason_against(Manifest.unpack(packed_manifest))
        if not reason:
            self._ambient.hold(self._future_flags())
        return reason

    @property
    def descriptors(self) -> set[int]:
        """Give the descriptors that it holds, but for its socket's."""
        return self._snapshots.descriptors

    def copy_files(self, directory: int) -> None:
        """Copy the files of the latest checkpoint to another directory. Raises OSError, ValueError."""
        self._workspace.copy_to(self._snapshots.files, directory)

    def note_start_as_twin(self) -> None:
        """Take what of the engine's is this process's own as what needs no saving."""
        self._ambient.note_start_as_twin()

    def begin_as_twin(self, sock: socket.socket, directory: str) -> None:
        """Go on as the keeper of another session's process, to which the files have been copied. Raises OSError."""
        self._socket = sock
        registry.home = directory
        self._inherited = self._snapshots.begin_as_twin()
        self._workspace.begin_as_twin(directory, self._inherited.files)
        self._ambient.begin_as_twin(directory, self._inherited.ambient)
        self._imports.begin_as_twin(directory)

    def _take_over(self, manifest: Manifest, state: State) -> tuple[Restored, int]:
        """Restore the checkpoint that this process has been at since it was forked: let go of what it doesn't have."""
        if not self._snapshots.is_at(manifest):
            return Restored("the fork is at another checkpoint", {}, []), 0
        self._inherited = None
        kept = manifest.names
        lost = {name: reason for name, reason in manifest.lost.items() if name not in kept}
        # Kept alive where nobody finds it: what ends with it, a database's journal say, is the parent's to end.
        self._buried += self._namespace.let_go(kept)
        notes = self._ambient.take_over(state.ambient, kept)
        self._recipes.follow_again(self._namespace.names, kept, lost)
        checkpoint = f"{manifest.seq}-0"
        self.lost.remember([LostName(name, reason, checkpoint) for name, reason in lost.items()])
        return Restored("", lost, notes), state.ambient.get(FUTURE_FLAGS, 0)

    def _on_free(self, has_saved: bool) -> None:
        # A child that made nothing: what it should have saved is still wanted, less what it failed at.
        self._is_wanted = self._is_wanted or not has_saved
        self._when_free()

    def _read_state(self, before: State | None) -> State:
        """Read what there is to save; what is around the variables as it was before, where that state is given."""
        names = self._namespace.names
        kept = [*self._namespace.user_names(), *_KEPT_INTERNALS]
        workspace = self._workspace
        saved = self._recipes.put_in({name: names[name] for name in kept if name in names})
        if before is None or self._ambient.has_objects(before.ambient):
            ambient = self._ambient.read(self._future_flags(), saved)
            self._hidden = self._imports.read(names)
            ambient[SUBMODULES] = self._imports.submodules()
        else:
            ambient = before.ambient
        return State(
            saved | self._hidden,
            ambient,
            workspace.read(),
            workspace.unstored,
            workspace.lost | self._ambient.lost if self._ambient.lost else workspace.lost,
            self._is_final() and self._ambient.is_still(ambient),
        )

    def _send_file(self, fd: int, size: int) -> None:
        sent = 0
        while sent < size:
            sent += os.sendfile(self._socket.fileno(), fd, sent, min(SEND_BYTES, size - sent))
