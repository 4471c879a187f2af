"""Taking snapshots of a session out of its way.

After each cell: what can be proved unchanged isn't looked at. A small state is pickled at once, in the main thread, for
less than a millisecond. A larger one, and one whose pickling runs user code, is pickled by a forked child: it has the
namespace frozen as it was, while the next cell runs. The child has a deadline; when it hangs or dies, the variable it
was at is left out and told, and another child takes the rest. A variable that hangs only in a child, where a library's
threads are missing, is asked for its parts in this process first, see `early_reductions`. All the children that it
takes for one state share the time that a snapshot has.

One snapshot at a time. Cells that end meanwhile are covered by the next one, which is taken as soon as this one is done
and no cell runs: they commit together.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from skep_shared.frames import Blob, Frame, Saved
from skep_workers.session.checkpoint.manifest import Manifest
from skep_workers.session.checkpoint.saving.assembling import Assembler
from skep_workers.session.checkpoint.saving.child import SnapshotChild
from skep_workers.session.checkpoint.saving.early_reductions import ask
from skep_workers.session.checkpoint.saving.grouping import IN_PLACE_BYTES, TooLarge
from skep_workers.session.checkpoint.saving.patience import Patience
from skep_workers.session.checkpoint.saving.pickling import Untrusted, early_reductions
from skep_workers.session.checkpoint.state import SnapshotLimits, State
from skep_workers.session.checkpoint.surroundings.workspace import Entry
from skep_workers.session.checkpoint.unchanged.fingerprints import Fingerprint, fingerprint, is_immutable, same
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import Known, StillBuffers

ASKING_SHARE: Final = 0.1  # of a snapshot's time, for asking objects in this process
MOST_ASKING_SECONDS: Final = 2.0
MOST_JOINT: Final = 100  # names in a group; one of more is mostly that of all the small values


@dataclass(slots=True)
class _Proof:
    """The value a name had, and for a definition what tells whether it changed.

    A value of which nothing is proved is not held: users may wait for its end, or need its memory.
    """

    value: Any
    fingerprint: Fingerprint | None


_NO_PROOF: Final = _Proof(object(), None)


class Snapshots:
    """The snapshots of one session process. Called from the main thread; `on_free` is called from a helper thread."""

    def __init__(
        self,
        read_state: Callable[[], State],
        on_saved: Callable[[frozenset[bytes]], None],
        send_file: Callable[[int, int], None],
        on_free: Callable[[bool], None],
    ) -> None:
        """`on_saved` is told which chunks are stored now; `send_file` sends a descriptor's first n bytes to the host.

        `on_free` is told, by a helper thread, when a child has finished, and whether it made anything.
        """
        self._read_state = read_state
        self._on_saved = on_saved
        self._send_file = send_file
        self._on_free = on_free
        self._proofs: dict[str, _Proof] = {}
        self._last: Manifest | None = None
        self._last_state = State({}, {})
        self._last_ids: dict[str, int] = {}  # of the values, which it doesn't hold
        self._stored: frozenset[bytes] = frozenset()
        self._skipped: dict[str, tuple[Any, str]] = {}
        self._stuck: dict[str, Any] = {}  # variables that hang in a child, with their values
        self._patience = Patience()
        self._too_much: dict[str, int] = {}
        self._joint: list[dict[str, int]] = []  # names, with their values' ids, that the last snapshot had in one group
        self._child: threading.Thread | None = None
        self._buffers = StillBuffers()
        self._waits_for_buffers = False  # whether buffers alone were too much to look at in place
        self._sent_apart = 0  # snapshots on the other socket, of which one may still be on its way
        self.limits = SnapshotLimits()

    @property
    def is_busy(self) -> bool:
        """Tell whether a child is at work; the next snapshot waits for it."""
        return self._child is not None

    def join(self, seconds: float | None = None) -> None:
        """Wait until no child is at work, or for so long; else its deadline is this wait's."""
        child = self._child
        if child is not None:
            child.join(seconds)

    def adopt(self, manifest: Manifest, names: dict[str, Any]) -> None:
        """Start from a checkpoint that was restored to these names: its chunks are stored."""
        self._know_stored(manifest)
        self._know_joint(manifest, names)

    def reason_against(self, manifest: Manifest) -> str:
        """Say why this process may have another state than the checkpoint; '' if it has exactly that.

        A value that can change is the same object as then; that nothing has changed it since is for the caller to know,
        but for what was left to run when the checkpoint was taken.
        """
        if not self.is_at(manifest):
            return "its process is not at that checkpoint"
        if manifest.is_remade:
            return "a restore may give something else than what is there: code of cells, or a cache, is in it"
        state = self._read_state()
        if not self._last_state.is_final or not state.is_final:
            return "threads, tasks or timers of user code may have changed the state since"
        last, ids = self._last_state, {name: id(value) for name, value in state.names.items()}
        is_same = ids == self._last_ids and state.ambient == last.ambient and state.lost == last.lost
        return "" if is_same and state.files == last.files else "the state has changed since"

    def begin_as_twin(self) -> State:
        """Go on in another process, whose host has heard of no snapshot yet; gives the state without its names."""
        self._child = None
        self._sent_apart = 0
        self._proofs.clear()  # they would keep alive what the twin's session lets go of
        self._buffers.begin_as_twin()
        return self._last_state

    @property
    def descriptors(self) -> set[int]:
        """Give the descriptors that it holds between snapshots."""
        return self._buffers.descriptors

    @property
    def files(self) -> list[Entry]:
        """The files of the latest checkpoint."""
        return self._last.files if self._last is not None else []

    def is_at(self, manifest: Manifest) -> bool:
        """Tell whether this is the checkpoint that was taken last."""
        return self._last is not None and self._last.pack() == manifest.pack()

    def take(self, seq: int) -> list[Frame] | None:
        """Save the state after the cell of `seq`: the frames that do, or None if a child sends them later."""
        state = self._read_state()
        if self._is_unchanged(state):
            return [Saved(seq, b"", {}, self._sent_apart)]
        proofs = _prove(state.names)
        # A thread of the user's might change things while they are pickled here; a child has it all frozen.
        has_threads = any(not thread.name.startswith("skep-") for thread in threading.enumerate()[1:])
        known = self._buffers.look(has_threads=has_threads)
        if not has_threads and not self._is_too_much(state.names):
            frames = self._take_in_place(seq, state, known)
            if frames is not None:
                self._know_state(state, proofs)
                return frames
        self._start_child(seq, state, proofs, known)
        return None

    def _is_unchanged(self, state: State) -> bool:
        last, names = self._last_state, state.names
        if self._last is None or len(names) != len(self._proofs):
            return False
        if state.ambient != last.ambient or state.files != last.files or state.lost != last.lost:
            return False
        for name, value in names.items():
            proof = self._proofs.get(name)
            if proof is None or proof.value is not value:
                return False
            if not is_immutable(value) and not same(proof.fingerprint, fingerprint(value)):
                return False
        return True

    def _is_too_much(self, names: dict[str, Any]) -> bool:
        """Tell whether pickling in place is known to fail: a value that failed is still there."""
        return any(id(names.get(name)) == number for name, number in self._too_much.items())

    def _take_in_place(self, seq: int, state: State, known: Known) -> list[Frame] | None:
        blobs: dict[bytes, bytes] = {}

        def put(name: bytes, part: memoryview) -> None:
            if name not in self._stored:
                blobs[name] = bytes(part)

        names = state.names
        assembler = Assembler(put, in_place=True, budget_bytes=self.limits.state_bytes, known=known)
        try:
            manifest = assembler.assemble(seq, state, self._reasons(names), self._still_joint(names))
        except (TooLarge, Untrusted, Exception) as exc:  # noqa: BLE001 - a child tells what it is, and ends alone
            self._waits_for_buffers = isinstance(exc, TooLarge) and exc.in_buffers
            culprit = assembler.latest
            self._too_much = {culprit: id(names[culprit])} if culprit in names else {}
            return None
        self._know_joint(manifest, names)
        self._buffers.adopt(assembler.learned)
        if sum(map(len, blobs.values())) > IN_PLACE_BYTES * 2:
            return [*(Blob(name, data) for name, data in blobs.items()), self._saved(manifest)]
        return [self._saved(manifest, blobs)]

    def _saved(self, manifest: Manifest, blobs: dict[bytes, bytes] | None = None) -> Saved:
        self._last = manifest
        self._know_stored(manifest)
        return Saved(manifest.seq, manifest.pack(), blobs or {}, self._sent_apart)

    def _know_stored(self, manifest: Manifest) -> None:
        self._stored = frozenset(manifest.digests())
        self._on_saved(self._stored)

    def _know_state(self, state: State, proofs: dict[str, _Proof]) -> None:
        self._proofs, self._last_state = proofs, _without_values(state)
        self._last_ids = {name: id(value) for name, value in state.names.items()}

    def _know_joint(self, manifest: Manifest, names: dict[str, Any]) -> None:
        groups = (group.names for group in manifest.groups if 1 < len(group.names) <= MOST_JOINT)
        self._joint = [{name: id(names[name]) for name in group} for group in groups if names.keys() >= set(group)]

    def _still_joint(self, names: dict[str, Any]) -> list[list[str]]:
        """Give the groups of the last snapshot whose names probably have the values that they had."""
        return [list(group) for group in self._joint if all(id(names.get(n)) == number for n, number in group.items())]

    def _reasons(self, names: dict[str, Any]) -> dict[str, str]:
        self._stuck = {name: value for name, value in self._stuck.items() if names.get(name) is value}
        self._skipped = {name: skip for name, skip in self._skipped.items() if names.get(name) is skip[0]}
        return {name: reason for name, (_, reason) in self._skipped.items()}

    # --- with a child ---------------------------------------------------------------------------------------------

    def _start_child(self, seq: int, state: State, proofs: dict[str, _Proof], known: Known) -> None:
        skipped, joint = self._reasons(state.names), self._still_joint(state.names)
        skipped |= self._ask_stuck()
        seconds = self._patience.seconds(self.limits.seconds)
        if self._patience.is_over:
            reason = f"saving the state took longer than {self.limits.seconds:g} s"
            skipped |= {name: reason for name, value in state.names.items() if not is_immutable(value)} | skipped
        child = SnapshotChild(seq, state, skipped, joint, self._stored, known, replace(self.limits, seconds=seconds))
        child.fork()
        early_reductions.clear()
        self._child = threading.Thread(target=self._attend, args=(child, proofs), name="skep-snapshot", daemon=True)
        self._child.start()

    def _ask_stuck(self) -> dict[str, str]:
        """Ask variables that hang in a child for their parts here, for the next child; returns those that failed."""
        if not self._stuck:
            return {}
        said, failed = ask(self._stuck, min(self.limits.seconds * ASKING_SHARE, MOST_ASKING_SECONDS))
        early_reductions.update(said)
        for name, reason in failed.items():
            self._skipped[name] = (self._stuck.pop(name), reason)
        return failed

    def _attend(self, child: SnapshotChild, proofs: dict[str, _Proof]) -> None:
        """Wait for the child and send what it made."""
        manifest = None
        try:
            manifest = child.finish()
            if manifest is not None:
                self._send_file(child.file, child.size)
                self._sent_apart += 1
        finally:
            child.close()
            if manifest is not None:
                self._last = manifest
                self._know_stored(manifest)
                self._know_state(child.state, proofs)
                self._know_joint(manifest, child.state.names)
                if self._buffers.adopt(child.learned) and self._waits_for_buffers:
                    self._too_much = {}
            elif child.failed_at_several:
                self._joint = []
            for name, reason in child.failed.items():
                value = child.state.names[name]
                if name == child.stuck_at and name not in self._stuck:
                    self._stuck[name] = value
                else:
                    self._stuck.pop(name, None)
                    self._skipped[name] = (value, reason)
            if manifest is not None:
                self._patience.reset()
            self._child = None
            self._on_free(manifest is not None)


def _without_values(state: State) -> State:
    """Give what later states are compared with; the values are held by their proofs, and let go with them."""
    return State({}, state.ambient, state.files, lost=state.lost, is_final=state.is_final)


def _prove(names: dict[str, Any]) -> dict[str, _Proof]:
    return {name: _proof(value) for name, value in names.items()}


def _proof(value: Any) -> _Proof:
    if is_immutable(value):
        return _Proof(value, None)
    found = fingerprint(value)
    return _NO_PROOF if found is None else _Proof(value, found)
