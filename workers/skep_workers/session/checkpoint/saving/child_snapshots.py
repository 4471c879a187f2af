"""Snapshots that a forked child takes, while a helper thread waits for it and sends the result."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from skep_shared.checkpoints.manifest import Manifest
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.origins import is_module, origins
from skep_workers.session.checkpoint.saving.child import ChildTask, SnapshotChild
from skep_workers.session.checkpoint.saving.history import SnapshotHistory
from skep_workers.session.checkpoint.saving.pickling.recorded_reductions import recorded_reductions
from skep_workers.session.checkpoint.state import State
from skep_workers.session.checkpoint.unchanged.fingerprints import is_immutable
from skep_workers.session.checkpoint.unchanged.proofs import Proof
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import KnownBuffers
from skep_workers.session.safeguards.native_threads import NativeThread


class ChildSnapshots:
    """Forks one child at a time. `pid` is 0 without one. was_same: its state was the latest checkpoint's."""

    def __init__(
        self,
        history: SnapshotHistory,
        send_file: Callable[[int, int], None],
        on_free: Callable[[bool], None],
    ) -> None:
        """send_file: sends the first n bytes of a descriptor to the host.

        on_free: is called, by a helper thread, when a child has finished, and whether it made anything.
        """
        self._history = history
        self._send_file = send_file
        self._on_free = on_free
        self._thread: NativeThread | None = None
        self.pid = 0
        self.was_same = False

    @property
    def is_busy(self) -> bool:
        """Return whether a child is at work; the next snapshot waits for it."""
        return self._thread is not None

    def join(self, seconds: float | None = None) -> None:
        """Wait until no child is at work, or for so long; without a limit the child's own deadline ends the wait."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def begin_as_twin(self) -> None:
        """Continue in a fork of the process: the child is the parent's."""
        self._thread, self.pid = None, 0

    def start(self, seq: int, state: State, proofs: dict[str, Proof], known: KnownBuffers) -> None:
        """Fork a child that saves this state."""
        history, names = self._history, state.names
        skipped, joint = history.failed_variables.reasons(names), history.parts.unchanged_groups(names)
        skipped |= history.failed_variables.reduce_stuck(history.limits.seconds)
        seconds = history.faults.budget.next_seconds(history.limits.seconds)
        if history.faults.budget.is_over:
            reason = f"saving the state took longer than {history.limits.seconds:g} s"
            skipped |= {name: reason for name, value in names.items() if not is_immutable(value)} | skipped
        task = ChildTask(seq, state, skipped, joint, history.last.stored, history.parts.for_next(known))
        child = SnapshotChild(task, replace(history.limits, seconds=seconds))
        try:
            self.pid = child.fork()
        except BaseException:
            child.close_file()
            raise
        recorded_reductions.clear()
        attend = partial(self._attend, child, proofs)
        self._thread = thread = NativeThread(attend, "skep-snapshot")
        try:
            thread.start()
        except (RuntimeError, MemoryError):  # no other thread is allowed: then the main thread waits
            attend()

    def _attend(self, child: SnapshotChild, proofs: dict[str, Proof]) -> None:
        """Wait for the child and send what it made."""
        history, manifest = self._history, None
        try:
            try:
                manifest = child.finish()
            except Exception as exc:  # noqa: BLE001 - it has to be reported, since an outcome waits for it
                child.fault = describe(exc)
            self.was_same = manifest is not None and history.last.is_same(manifest)
            if manifest is not None and not self.was_same:
                self._send_file(child.file, child.size)
                history.last.sent_apart += 1
        finally:
            child.close_file()
            if manifest is not None:
                self._record_success(child, manifest, proofs)
            else:
                self._record_failure(child)
            history.failed_variables.record(child)
            if manifest is not None:
                history.faults.record_saved()
            self._thread, self.pid = None, 0
            self._on_free(manifest is not None or history.faults.is_given_up)

    def _record_success(self, child: SnapshotChild, manifest: Manifest, proofs: dict[str, Proof]) -> None:
        history = self._history
        _import_again(child.imported_again)
        history.last.record(manifest)
        history.last.record_state(child.state, child.ids, proofs)
        history.parts.record_groups(manifest, child.ids)
        history.parts.record_definitions(manifest, child.learned_definitions, proofs)
        history.refusals.record_child(knows_more_buffers=history.parts.buffers.record(child.learned_buffers))

    def _record_failure(self, child: SnapshotChild) -> None:
        history = self._history
        history.uses.distrust()  # what the child should have saved is not saved
        if child.failed_at_several:
            history.parts.forget_groups()
        history.faults.record_child(child)


def _import_again(modules: dict[str, frozenset[str]]) -> None:
    """Record here which modules a child could save only by their names."""
    for name, made_by_import in modules.items():
        module = sys.modules.get(name)
        if is_module(module):
            origins.import_again(module, made_by_import)
