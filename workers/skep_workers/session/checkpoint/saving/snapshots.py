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

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from skep_shared.frames import Blob, Frame, Saved
from skep_shared.originals import gc
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.manifest import Manifest
from skep_workers.session.checkpoint.reducers.origins import is_module, origins
from skep_workers.session.checkpoint.saving.assembling import Assembler, Earlier
from skep_workers.session.checkpoint.saving.child import SnapshotChild, Task
from skep_workers.session.checkpoint.saving.early_reductions import ask
from skep_workers.session.checkpoint.saving.grouping import IN_PLACE_BYTES, TooLarge
from skep_workers.session.checkpoint.saving.known_definitions import KnownDefinitions, Learned
from skep_workers.session.checkpoint.saving.patience import Patience
from skep_workers.session.checkpoint.saving.pickling import Untrusted, early_reductions
from skep_workers.session.checkpoint.saving.rebinding import rebind
from skep_workers.session.checkpoint.saving.trials import Trials
from skep_workers.session.checkpoint.state import SnapshotLimits, State
from skep_workers.session.checkpoint.surroundings.workspace import LOST_PREFIX, Entry
from skep_workers.session.checkpoint.unchanged.fingerprints import Fingerprint, fingerprint, is_immutable, same
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import Known, StillBuffers
from skep_workers.session.internals import RESULT_NAMES
from skep_workers.session.native_threads import NativeThread, has_others
from skep_workers.session.uses import SCALARS, Uses

MOST_TRIES: Final = 3
ASKING_SHARE: Final = 0.1  # of a snapshot's time, for asking objects in this process
MOST_ASKING_SECONDS: Final = 2.0
MOST_FAULTS: Final = 3  # children in a row that no variable has kept from saving the state: then none is made
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
        read_state: Callable[[State | None], State],
        on_saved: Callable[[frozenset[bytes]], None],
        send_file: Callable[[int, int], None],
        on_free: Callable[[bool], None],
    ) -> None:
        """`read_state` is given the state before where only what cells have bound may have changed since.

        `on_saved` is told which chunks are stored now; `send_file` sends a descriptor's first n bytes to the host.
        `on_free` is told, by a helper thread, when a child has finished, and whether it made anything.
        """
        self._read_state = read_state
        self._on_saved = on_saved
        self._send_file = send_file
        self._on_free = on_free
        self._proofs: dict[str, _Proof] = {}
        self._last: Manifest | None = None
        self._restored: Manifest | None = None  # what this process began with, if it was restored
        self._omits_same = False
        self._was_same = False  # what a child made, where that is omitted
        self._last_state = State({}, {}, [], {}, {}, is_final=False)
        self._last_ids: dict[str, int] = {}  # of the values, which it doesn't hold
        self._stored: frozenset[bytes] = frozenset()
        self._skipped: dict[str, tuple[Any, str]] = {}
        self._failed: dict[str, tuple[int, str]] = {}  # what the last child failed at: ids, and reasons, '' if it hung
        self._stuck: dict[str, Any] = {}  # variables that hang in a child, with their values
        self._patience = Patience()
        self._too_much: dict[str, int] = {}
        self._joint: list[dict[str, int]] = []  # names, with their values' ids, that the last snapshot had in one group
        self._trials = Trials()
        self._uses: Uses | None = None  # of the cells since the last snapshot; None: they may have changed anything
        self._collected = 0  # objects that the garbage collector had ended at the last snapshot
        self._faults = 0
        self._failure: tuple[int, str] | None = None  # the cell after which no checkpoint could be made, and why
        self.has_failed = False  # the state as it is could not be saved
        self._is_to_resend = False  # what was sent before is not stored
        self._child: NativeThread | None = None
        self.child_pid = 0
        self._known_definitions: KnownDefinitions | None = None
        self._buffers = StillBuffers()
        self._slow = ""  # the variable that took too long in the last snapshot, if one did
        self._waits_for_trial = False  # whether a class was too little known to pickle it in place
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
        self._restored = manifest
        self._know_stored(manifest)
        self._know_joint(manifest, {name: id(value) for name, value in names.items()})

    def reason_against(self, manifest: Manifest) -> str:
        """Say why this process may have another state than the checkpoint; '' if it has exactly that.

        A value that can change is the same object as then; that nothing has changed it since is for the caller to know,
        but for what was left to run when the checkpoint was taken.
        """
        if not self.is_at(manifest):
            return "its process is not at that checkpoint"
        if self.has_failed or self._is_to_resend:
            return "its latest state could not be saved"
        if manifest.is_remade:
            what = "code of cells, a cache, or a path below its directory"
            return f"a restore may give something else than what is there: {what} is in it"
        state = self._read_state(None)
        if not self._last_state.is_final or not state.is_final:
            return "threads, tasks, timers or signals of user code may have changed the state since"
        last, ids = self._last_state, state.ids
        is_same = ids == self._last_ids and state.ambient == last.ambient and state.lost == last.lost
        return "" if is_same and state.files == last.files else "the state has changed since"

    def begin_as_twin(self) -> State:
        """Go on in another process, whose host has heard of no snapshot yet; gives the state without its names."""
        self._child, self.child_pid = None, 0
        self._sent_apart = 0
        self._known_definitions = None
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

    def note(self, uses: Uses | None) -> None:
        """Note what a cell of plain values has bound; None: it may have changed anything."""
        self._uses = None if self._uses is None else self._uses.joined(uses)

    def take_failure(self) -> list[Frame]:
        """Return the frame that says that a child could make no checkpoint, once; else none."""
        failure, self._failure = self._failure, None
        return [] if failure is None else [self.fail(*failure)]

    def distrust(self) -> None:
        """Look at everything the next time: what was begun has failed half way."""
        self._uses = None

    def fail(self, seq: int, reason: str) -> Saved:
        """Give up saving the state after a cell; return the frame that says so. The next cell's is tried again."""
        self.distrust()
        self._faults, self.has_failed = 0, True
        self._patience.reset()
        return Saved(seq, b"", {}, self._sent_apart, reason)

    def resend(self) -> None:
        """Take the next snapshot as if it were the first: chunks of those before are not stored. From any thread."""
        self._is_to_resend = True

    def _begin_anew(self) -> None:
        self._is_to_resend, self.has_failed = False, True
        self._uses = None
        self._last = self._restored = None
        self._know(State({}, {}, [], {}, {}, is_final=False), {}, {})
        self._stored, self._known_definitions = frozenset(), None
        self._on_saved(self._stored)
        self._buffers.adopt({})

    def take(self, seq: int) -> list[Frame] | None:
        """Save the state after the cell of `seq`: the frames that do, or None if a child sends them later."""
        frames = self._take(seq)
        self.has_failed = self.has_failed and frames is None
        return frames

    def _take(self, seq: int) -> list[Frame] | None:
        if self._is_to_resend:
            self._begin_anew()
        uses, self._uses = self._uses, Uses()
        collected, self._collected = self._collected, _collected()
        if uses is not None and self._collected == collected:
            frames = self._take_bindings(seq, uses.bound)
            if frames is not None:
                return frames
        state = self._read_state(None)
        if self._is_unchanged(state):
            return [Saved(seq, b"", {}, self._sent_apart)]
        proofs = _prove(state.names)
        # A thread of the user's might change things while they are pickled here; a child has it all frozen.
        has_threads = has_others()
        known = self._buffers.look(has_threads=has_threads)
        if not has_threads and not self._is_too_much(state.names):
            frames = self._take_in_place(seq, state, known, proofs)
            if frames is not None:
                self._know_state(state, proofs)
                return frames
        self._start_child(seq, state, proofs, known)
        return None

    # --- at the end of the process --------------------------------------------------------------------------------

    def take_last(self, seq: int, *, has_run: bool) -> list[Frame]:
        """Save what has changed since the last snapshot; waits for children. has_run: a cell has ended since then.

        A state that turns out to be what is saved already is not saved again.
        """
        self.join()
        self._omits_same = True
        state = self._read_state(None)
        if not has_run and not self.has_failed and not self._is_to_resend and self._has_kept_names(state):
            return self._with_files(seq, state) or [Saved(seq, b"", {}, self._sent_apart)]
        for _ in range(MOST_TRIES):  # after a child that has failed, another one leaves out what it was at
            before, frames = self._sent_apart, self.take(seq)
            if frames is not None:
                return frames
            self.join()
            if self._sent_apart != before:
                return []
            if self._was_same:
                return [Saved(seq, b"", {}, self._sent_apart)]
            if failed := self.take_failure():
                return failed
        return []

    def take_files(self, seq: int) -> list[Frame]:
        """Save the files as they are now, beside the names of the last snapshot, if that has others."""
        return self._with_files(seq, self._read_state(None)) if self._base is not None else []

    @property
    def saved_names(self) -> set[str]:
        """Return the variables that the latest checkpoint has."""
        return self._base.names if self._base is not None else set()

    def let_go(self) -> None:
        """Hold no value any more."""
        self._proofs.clear()
        self._skipped.clear()

    @property
    def _base(self) -> Manifest | None:
        return self._last or self._restored

    def _has_kept_names(self, state: State) -> bool:
        """Return whether no code can have changed the names since they were saved, or restored."""
        if self._base is None or not state.is_final:
            return False
        if self._last is None:
            return True
        return self._last_state.is_final and state.ids == self._last_ids and state.ambient == self._last_state.ambient

    def _with_files(self, seq: int, state: State) -> list[Frame]:
        """Return the frames that save the base with these files; none if it has them."""
        base = self._base
        assert base is not None  # noqa: S101 - the callers have looked
        lost = {name: reason for name, reason in base.lost.items() if not name.startswith(LOST_PREFIX)} | state.lost
        if state.files == base.files and lost == base.lost:
            return []
        manifest = replace(base, seq=seq, files=state.files, lost=lost, sizes={})
        names = [name for entry in state.files for name in entry.chunks if name not in self._stored]
        blobs = [Blob(name, state.contents[name]) for name in dict.fromkeys(names)]
        return [*blobs, self._saved(manifest)]

    def _is_same(self, manifest: Manifest) -> bool:
        """Return whether a manifest says what the one before says, where that is not worth a checkpoint."""
        base = self._base
        return self._omits_same and base is not None and replace(manifest, seq=base.seq).pack() == base.pack()

    def _take_bindings(self, seq: int, bound: frozenset[str]) -> list[Frame] | None:
        """Save what cells of plain values have bound; None if more may have changed, and all is to be looked at.

        What ran beside them, or at the end of an object, may have changed anything; and a name's old value must have
        been a scalar, too: another one's end may run code.
        """
        if self._last is None or not self._last_state.is_final:
            return None
        state = self._read_state(self._last_state)
        names = state.names
        if not state.is_final or not self._is_same_around(state):
            return None
        if names.keys() < self._last_ids.keys():
            return None
        looked_at = [name for name in (*bound, *RESULT_NAMES) if name in names]
        changed = {name for name in looked_at if id(names[name]) != self._last_ids.get(name)}
        if not changed:
            return [Saved(seq, b"", {}, self._sent_apart)] if len(names) == len(self._last_ids) else None
        if not self._were_scalars(changed) or any(type(names[name]) not in SCALARS for name in changed):
            return None
        rebound = rebind(self._last, seq, names, changed)
        if rebound is None:
            return None
        manifest, blobs = rebound
        proofs = self._proofs | {name: _Proof(names[name], None) for name in changed}
        saved = self._saved(manifest, {name: data for name, data in blobs.items() if name not in self._stored})
        self._know_state(state, proofs)
        return [saved]

    def _were_scalars(self, names: set[str]) -> bool:
        """Return whether each of these names was bound to a scalar at the last snapshot, or to nothing."""
        proofs = (self._proofs.get(name) for name in names if name in self._last_ids)
        return all(proof is not None and type(proof.value) in SCALARS for proof in proofs)

    def _is_same_around(self, state: State) -> bool:
        last = self._last_state
        return state.ambient == last.ambient and state.files == last.files and state.lost == last.lost

    def _is_unchanged(self, state: State) -> bool:
        names = state.names
        if self._last is None or len(names) != len(self._proofs) or not self._is_same_around(state):
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

    def _take_in_place(self, seq: int, state: State, known: Known, proofs: dict[str, _Proof]) -> list[Frame] | None:
        blobs: dict[bytes, bytes] = {}

        def put(name: bytes, part: memoryview) -> None:
            if name not in self._stored:
                blobs[name] = bytes(part)

        names = state.names
        assembler = Assembler(
            put,
            in_place=True,
            budget_bytes=self.limits.state_bytes,
            earlier=Earlier(known, self._known_definitions, self._trials),
        )
        try:
            manifest = assembler.assemble(seq, state, self._reasons(names), self._still_joint(names))
        except (TooLarge, Untrusted, Exception) as exc:  # noqa: BLE001 - a child tells what it is, and ends alone
            self._waits_for_buffers = isinstance(exc, TooLarge) and exc.in_buffers
            culprit = assembler.latest
            self._too_much = {culprit: id(names[culprit])} if culprit in names else {}
            self._waits_for_trial = isinstance(exc, Untrusted)
            return None
        finally:
            assembler.close()
        if self._is_same(manifest):
            return [Saved(seq, b"", {}, self._sent_apart)]
        self._know_joint(manifest, state.ids)
        self._know_definitions(manifest, assembler.learned_definitions, proofs)
        self._buffers.adopt(assembler.learned)
        # The first time may be slow for other reasons: what runs for the first time is, and so is a busy machine.
        if assembler.slow in names and assembler.slow == self._slow:
            self._too_much = {assembler.slow: id(names[assembler.slow])}
        self._slow = assembler.slow
        if self._last is not None and manifest == replace(self._last, seq=seq):
            return [Saved(seq, b"", {}, self._sent_apart)]
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
        self._know(state.without_values, state.ids, proofs)

    def _know(self, around: State, ids: dict[str, int], proofs: dict[str, _Proof]) -> None:
        self._proofs, self._last_state, self._last_ids = proofs, around, ids

    def _know_joint(self, manifest: Manifest, ids: dict[str, int]) -> None:
        groups = (group.names for group in manifest.groups if 1 < len(group.names) <= MOST_JOINT)
        self._joint = [{name: ids[name] for name in group} for group in groups if ids.keys() >= set(group)]

    def _know_definitions(self, manifest: Manifest, learned: Learned | None, proofs: dict[str, _Proof]) -> None:
        self._known_definitions = None
        if learned is not None and manifest.definitions is not None and manifest.sources is not None:
            found = {id(proof.value): proof.fingerprint for proof in proofs.values() if proof.fingerprint is not None}
            self._known_definitions = learned.known(found, manifest.definitions, manifest.sources)

    def _still_joint(self, names: dict[str, Any]) -> list[list[str]]:
        """Give the groups of the last snapshot whose names probably have the values that they had."""
        return [list(group) for group in self._joint if all(id(names.get(n)) == number for n, number in group.items())]

    def _reasons(self, names: dict[str, Any]) -> dict[str, str]:
        failed, self._failed = self._failed, {}
        for name, (number, reason) in failed.items():
            if id(names.get(name)) == number and not reason:
                self._stuck[name] = names[name]
            elif id(names.get(name)) == number:
                self._stuck.pop(name, None)
                self._skipped[name] = names[name], reason
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
        earlier = Earlier(known, self._known_definitions, self._trials)
        task = Task(seq, state, skipped, joint, self._stored, earlier)
        child = SnapshotChild(task, replace(self.limits, seconds=seconds))
        try:
            self.child_pid = child.fork()
        except BaseException:
            child.close()
            raise
        early_reductions.clear()
        attend = partial(self._attend, child, proofs)
        self._child = thread = NativeThread(attend, "skep-snapshot")
        try:
            thread.start()
        except (RuntimeError, MemoryError):  # no other thread is allowed: then the main one waits
            attend()

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
            try:
                manifest = child.finish()
            except Exception as exc:  # noqa: BLE001 - whatever it is, an outcome waits for it to be told
                child.fault = describe(exc)
            self._was_same = manifest is not None and self._is_same(manifest)
            if manifest is not None and not self._was_same:
                self._send_file(child.file, child.size)
                self._sent_apart += 1
        finally:
            child.close()
            if manifest is not None:
                _import_again(child.imported_again)
                self._last = manifest
                self._know_stored(manifest)
                self._know(child.around, child.ids, proofs)
                self._know_joint(manifest, child.ids)
                self._know_definitions(manifest, child.learned_definitions, proofs)
                if (self._buffers.adopt(child.learned) and self._waits_for_buffers) or self._waits_for_trial:
                    self._too_much = {}
                self._waits_for_trial = False
            else:
                self._uses = None  # what it should have saved is not
                if child.failed_at_several:
                    self._joint = []
                self._note_fault(child)
            for name, reason in child.failed.items():
                is_stuck = name == child.stuck_at and name not in self._stuck
                self._failed[name] = child.ids[name], "" if is_stuck else reason
            if manifest is not None:
                self._patience.reset()
                self._faults, self.has_failed = 0, False
            self._child, self.child_pid = None, 0
            self._on_free(manifest is not None or self._failure is not None)

    def _note_fault(self, child: SnapshotChild) -> None:
        """Count a child that has failed over no variable, and give up after some, or when all that could is left out.

        Where the state before could not be saved either, one is enough.
        """
        self._faults = self._faults + 1 if child.fault else 0
        if self._faults >= (1 if self.has_failed else MOST_FAULTS) or self._patience.is_over:
            self._failure = child.seq, child.fault or "saving the state took too long, whatever was left out"


def _collected() -> int:
    """Return how many objects the garbage collector has ended: their `__del__` may have changed others."""
    return sum(generation["collected"] for generation in gc.get_stats())


def _import_again(modules: dict[str, frozenset[str]]) -> None:
    """Take over which modules a child could save by their names only."""
    for name, made_by_import in modules.items():
        module = sys.modules.get(name)
        if is_module(module):
            origins.import_again(module, made_by_import)


def _prove(names: dict[str, Any]) -> dict[str, _Proof]:
    return {name: _proof(value) for name, value in names.items()}


def _proof(value: Any) -> _Proof:
    if is_immutable(value):
        return _Proof(value, None)
    found = fingerprint(value)
    return _NO_PROOF if found is None else _Proof(value, found)
