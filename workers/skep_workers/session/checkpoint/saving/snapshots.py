"""Taking snapshots of a session without delaying it.

After each cell: what can be proved unchanged isn't pickled. A small state is pickled at once, in the main thread, in
less than a millisecond. A larger one, or one whose pickling runs user code, is pickled by a forked child. The child has
a frozen copy of the namespace, while the next cell runs. It has a deadline. If it hangs or dies, the variable that it
was pickling is left out and reported, and another child saves the rest. A variable that hangs only in a child, where a
library's threads are missing, is reduced in this process first, see `early_reductions`. All children forked for one
state share the time that a snapshot has.

One snapshot at a time. Cells that end meanwhile are covered by the next one, which is taken as soon as this one is done
and no cell runs: they commit together.
"""

from collections.abc import Callable
from typing import Any, Final

from skep_shared.checkpoints.manifest import Entry, Manifest
from skep_shared.protocol.frames import Frame, Saved
from skep_workers.session.checkpoint.saving.child_snapshots import ChildSnapshots
from skep_workers.session.checkpoint.saving.history import SnapshotHistory
from skep_workers.session.checkpoint.saving.in_place_snapshots import InPlaceSnapshots
from skep_workers.session.checkpoint.state import SnapshotLimits, State
from skep_workers.session.checkpoint.unchanged.proofs import prove
from skep_workers.session.compilation.plain_cells import Uses
from skep_workers.session.safeguards.native_threads import has_others

MOST_TRIES: Final = 3


class Snapshots:
    """The snapshots of one session process. Called from the main thread; `on_free` is called from a helper thread."""

    def __init__(
        self,
        read_state: Callable[[State | None], State],
        on_saved: Callable[[frozenset[bytes]], None],
        send_file: Callable[[int, int], None],
        on_free: Callable[[bool], None],
    ) -> None:
        """read_state: gets the state before, if only names bound by cells may have changed since; otherwise None.

        on_saved: is called with the chunks that are stored now. send_file: sends the first n bytes of a descriptor to
        the host. on_free: is called, by a helper thread, when a child has finished, and whether it made anything.
        """
        self._read_state = read_state
        self._history = history = SnapshotHistory(on_saved)
        self._last = history.last
        self._uses = history.uses
        self._in_place = InPlaceSnapshots(history, read_state)
        self._children = ChildSnapshots(history, send_file, on_free)
        self._is_to_resend = False  # what was sent before is not stored

    def set_limits(self, limits: SnapshotLimits) -> None:
        """Set what a snapshot may cost."""
        self._history.limits = limits

    @property
    def is_busy(self) -> bool:
        """Return whether a child is at work; the next snapshot waits for it."""
        return self._children.is_busy

    @property
    def child_pid(self) -> int:
        """Return the pid of the child at work, 0 without one."""
        return self._children.pid

    def join(self, seconds: float | None = None) -> None:
        """Wait until no child is at work, or for so long; without a limit the child's own deadline ends the wait."""
        self._children.join(seconds)

    @property
    def descriptors(self) -> set[int]:
        """Return the file descriptors that are open between snapshots."""
        return self._history.parts.buffers.descriptors

    @property
    def files(self) -> list[Entry]:
        """The files of the latest checkpoint that was taken."""
        manifest = self._last.manifest
        return manifest.files if manifest is not None else []

    @property
    def saved_names(self) -> set[str]:
        """Return the variables in the latest checkpoint."""
        base = self._last.base
        return base.names if base is not None else set()

    def adopt(self, manifest: Manifest, names: dict[str, Any]) -> None:
        """Start from a checkpoint that was restored to these names: its chunks are stored."""
        self._last.adopt(manifest)
        self._history.parts.record_groups(manifest, {name: id(value) for name, value in names.items()})

    # --- forks of the live process ------------------------------------------------------------------------------------

    def is_at(self, manifest: Manifest) -> bool:
        """Return whether this is the checkpoint that was taken last."""
        return self._last.is_at(manifest)

    def reason_against(self, manifest: Manifest) -> str:
        """Return why this process may have another state than the checkpoint; '' if it has exactly that state.

        A value that can change is the same object; the caller has to know that nothing has changed it. Only code that
        was left to run when the checkpoint was taken is considered here.
        """
        self._last.apply_placed_files()
        if not self._last.is_at(manifest):
            return "its process is not at that checkpoint"
        if self._history.faults.has_failed or self._is_to_resend:
            return "its latest state could not be saved"
        if manifest.is_remade:
            what = "code of cells, a cache, or a path below its directory"
            return f"a restore may make other values than the live ones: {what} is in it"
        return self._last.may_differ(self._read_state(None))

    def begin_as_twin(self) -> State:
        """Continue in a fork of the process, whose host has received no snapshot; return the state without names."""
        self._children.begin_as_twin()
        self._last.sent_apart = 0
        self._last.release_values()  # proofs would keep alive values that the twin's session releases
        self._history.parts.begin_as_twin()
        return self._last.state

    # --- notes for the next snapshot ----------------------------------------------------------------------------------

    def note_placed_file(self, files: list[Entry]) -> None:
        """Note a file that the host has placed in the directory and saved already, after its parent directories.

        From any thread; it counts from the next snapshot on.
        """
        self._last.note_placed_file(files)

    def note_uses(self, uses: Uses | None) -> None:
        """Note what a cell of plain values has bound; None: it may have changed anything."""
        self._uses.note(uses)

    def distrust(self) -> None:
        """Compare everything at the next snapshot, because the latest one failed half way."""
        self._uses.distrust()

    def resend(self) -> None:
        """Take the next snapshot as if it were the first: chunks of earlier ones are not stored. From any thread."""
        self._is_to_resend = True

    def pop_failure(self) -> list[Frame]:
        """Return the frame that reports that children could make no checkpoint, once; otherwise none."""
        failure = self._history.faults.pop_failure()
        return [] if failure is None else [self.fail(*failure)]

    def fail(self, seq: int, reason: str) -> Saved:
        """Stop trying to save the state after a cell; return the frame that reports it."""
        self.distrust()
        self._history.faults.record_failed()
        return Saved(seq, b"", {}, self._last.sent_apart, reason)

    # --- taking -------------------------------------------------------------------------------------------------------

    def take_snapshot(self, seq: int) -> list[Frame] | None:
        """Save the state after the cell of `seq`: return the frames, or None if a child sends them later."""
        frames = self._take_snapshot(seq)
        faults = self._history.faults
        faults.has_failed = faults.has_failed and frames is None
        return frames

    def _take_snapshot(self, seq: int) -> list[Frame] | None:
        if self._is_to_resend:
            self._is_to_resend = False
            self._history.begin_again()
        self._last.apply_placed_files()
        uses = self._uses.pop()
        if uses is not None:
            frames = self._in_place.save_bindings(seq, uses.bound)
            if frames is not None:
                return frames
        state = self._read_state(None)
        if self._last.is_unchanged(state):
            return [self._last.unchanged(seq)]
        proofs = prove(state.names)
        # A thread of the user's might change values while they are pickled here; a child has a frozen copy.
        has_threads = has_others()
        known = self._history.parts.buffers.find_unchanged(has_threads=has_threads)
        if not has_threads and not self._history.refusals.applies_to(state.names):
            frames = self._in_place.save(seq, state, known, proofs)
            if frames is not None:
                return frames
        self._children.start(seq, state, proofs, known)
        return None

    def take_last_snapshot(self, seq: int, *, has_run: bool) -> list[Frame]:
        """Save what has changed since the last snapshot; waits for children. has_run: a cell has ended since then.

        A state that turns out to be saved already is not saved again.
        """
        self.join()
        last, faults = self._last, self._history.faults
        last.apply_placed_files()
        last.omits_same = True
        state = self._read_state(None)
        if not has_run and not faults.has_failed and not self._is_to_resend and last.has_same_names(state):
            return self._in_place.save_files(seq, state) or [last.unchanged(seq)]
        for _ in range(MOST_TRIES):  # when a child has failed, the next one leaves out the variable that it was at
            before, frames = last.sent_apart, self.take_snapshot(seq)
            if frames is not None:
                return frames
            self.join()
            if last.sent_apart != before:
                return []
            if self._children.was_same:
                return [last.unchanged(seq)]
            if failed := self.pop_failure():
                return failed
        return []

    def save_files(self, seq: int) -> list[Frame]:
        """Save the files as they are now, with the names of the latest checkpoint, if they have changed."""
        self._last.apply_placed_files()
        return self._in_place.save_files(seq, self._read_state(None)) if self._last.base is not None else []

    def release_values(self) -> None:
        """Hold no value any more."""
        self._history.release_values()
