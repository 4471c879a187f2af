"""A snapshot made by a forked child, which has a frozen copy of the namespace while the next cell runs.

The child writes frames to a file in memory, which the parent forwards once it is complete. The child has a deadline and
a limit on its growth in memory. Where it hangs or dies, its progress page shows at which variable. A child that waits
for a thread which it doesn't have is noticed long before the deadline, see `deadlocks`.
"""

import contextlib
import warnings
from dataclasses import dataclass, replace
from select import POLLIN, poll  # bound early: user code may patch select
from typing import Final

from msgpack import packb, unpackb

from skep_shared.checkpoints.content_chunks import joined_names
from skep_shared.checkpoints.manifest import Manifest
from skep_shared.originals import gc, open_file, os, resource, signal
from skep_shared.protocol.frame_codec import encode_frame
from skep_shared.protocol.frames import Blob, Saved
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.libraries.torch_tensors import compute_in_one_thread
from skep_workers.session.checkpoint.saving.assembling import Assembler, EarlierSnapshots
from skep_workers.session.checkpoint.saving.deadlocks import DeadlockWatch
from skep_workers.session.checkpoint.saving.known_definitions import LearnedDefinitions
from skep_workers.session.checkpoint.saving.restore_trials import TrialFindings
from skep_workers.session.checkpoint.saving.streams.progress import SEVERAL, TRIAL, Progress
from skep_workers.session.checkpoint.state import SnapshotLimits, State
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import LearnedBuffers
from skep_workers.session.interrupt.signal_hold import unblock_all
from skep_workers.session.safeguards import original_builtins
from skep_workers.session.safeguards.clock import monotonic
from skep_workers.session.safeguards.descriptors import above_standard
from skep_workers.session.safeguards.resource_reserve import deepen, raise_limits, relief

DONE_EXIT: Final = 83  # not 0, with which user code may end the process
ENDED: Final = "ended the process that did it"
STUCK: Final = "waits for a thread that a forked process doesn't have"
_BUFFER_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChildTask:
    """What a child has to save. For `skipped`, `joint` and `earlier` see Assembler.

    stored: chunks that are stored already, and not written.
    """

    seq: int
    state: State
    skipped: dict[str, str]
    joint: list[list[str]]
    stored: frozenset[bytes]
    earlier: EarlierSnapshots


class SnapshotChild:
    """One child: forked, waited for, read."""

    def __init__(self, task: ChildTask, limits: SnapshotLimits) -> None:
        """limits: of this child; `limits.seconds` may be less than the session's."""
        self._task = task
        self.seq = task.seq
        self.state = task.state.without_values
        self.ids = task.state.ids
        self.failed: dict[str, str] = {}
        self.fault = ""  # why it made no snapshot, where that is no variable's fault
        self.failed_at_several = False
        self.stuck_at = ""  # the variable at which it waited for a thread that it doesn't have
        self._limits = limits
        self.learned_buffers: LearnedBuffers = {}
        self.learned_definitions: LearnedDefinitions | None = None
        self.imported_again: dict[str, frozenset[str]] = {}  # modules that can only be saved by their names
        self._progress = Progress()
        self._token = os.urandom(16)  # the child writes it last
        self._pid = 0
        self.size = 0  # bytes of frames at the beginning of the file
        self.file = above_standard(os.memfd_create("skep-snapshot", os.MFD_CLOEXEC))

    def fork(self) -> int:
        """Fork the child, which then has the state as it is now; return its pid."""
        with warnings.catch_warnings():
            # Python 3.12 warns that a fork of a process with threads may hang. The deadline covers that.
            warnings.simplefilter("ignore")
            self._pid = os.fork()
        if self._pid == 0:
            self._work()
        # Hold no value here: a cell may delete one meanwhile, and then its `__del__` must run and its memory be freed.
        self._task = replace(self._task, state=self._task.state.without_values)
        return self._pid

    def _work(self) -> None:
        status, task = 1, self._task
        try:
            original_builtins.restore()
            unblock_all()
            raise_limits()
            deepen()
            gc.disable()
            compute_in_one_thread()
            _bound_memory(self._limits.memory_bytes)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            with open_file(self.file, "wb", buffering=_BUFFER_BYTES, closefd=False) as out:
                written: set[bytes] = set(task.stored)

                def write_chunk(name: bytes, part: memoryview) -> None:
                    if name not in written:
                        written.add(name)
                        out.write(encode_frame(Blob(name, bytes(part))))

                assembler = Assembler(
                    write_chunk,
                    in_place=False,
                    budget_bytes=self._limits.state_bytes,
                    earlier=task.earlier,
                    progress=self._progress,
                    trial_seconds=self._limits.seconds / 2,
                )
                manifest = assembler.assemble(task.seq, task.state, task.skipped, task.joint)
                packed = manifest.pack()
                out.write(encode_frame(Saved(task.seq, packed, {})))
                learned = [(*place, b"".join(names)) for place, names in assembler.learned_buffers.items()]
                again = [(found.module.__name__, list(found.names)) for found in assembler.imported_again]
                found = assembler.learned_definitions
                definitions = None
                if found is not None:
                    definitions = (list(found.numbers.items()), list(found.shared), list(found.others))
                everything = (packed, learned, again, definitions, task.earlier.trials.latest.pack())
                tail = packb(everything, unicode_errors="surrogatepass")
                out.write(tail + len(tail).to_bytes(8, "big") + self._token)
            status = DONE_EXIT
        except Exception as exc:  # noqa: BLE001 - the process ends here, and has to say why
            # Otherwise it is the fault of the variable that was reported last.
            if isinstance(exc, OSError) or self._progress.latest not in self.ids:
                self._progress.report_failure(describe(exc))
        finally:
            os._exit(status)

    def finish(self) -> Manifest | None:
        """Wait for the child; return the manifest that it made, or None if it made none."""
        cause = self._reap(self._limits.seconds)
        if cause is None and not self._is_complete():
            cause = ENDED
        if cause is None:
            return self._read_result()
        self._record_failure(cause)
        return None

    def _read_result(self) -> Manifest:
        """Read what the child has written after its frames; return the manifest."""
        size = os.fstat(self.file).st_size - len(self._token)
        length = int.from_bytes(os.pread(self.file, 8, size - 8), "big")
        self.size = size - 8 - length
        tail = unpackb(os.pread(self.file, length, self.size), unicode_errors="surrogatepass", strict_map_key=False)
        packed, learned, again, definitions, found = tail
        if definitions is not None:
            numbers, shared, others = definitions
            self.learned_definitions = LearnedDefinitions(dict(numbers), frozenset(shared), frozenset(others))
        self.imported_again = {name: frozenset(names) for name, names in again}
        self._task.earlier.trials.is_hasty = False
        self._task.earlier.trials.record(TrialFindings.unpack(found))
        self.learned_buffers = {(address, count): list(joined_names(names)) for address, count, names in learned}
        return Manifest.unpack(packed)

    def _record_failure(self, cause: str) -> None:
        """Record which variables are to blame for the failure, if any are: the next child leaves them out."""
        culprit, reason = self._progress.latest, self._progress.failure
        if reason or culprit not in self.ids:
            self.fault = reason or f"the process that saves it {cause.removesuffix(' that did it')}"
        self.failed_at_several = culprit == SEVERAL
        self._task.earlier.trials.is_hasty = culprit == TRIAL
        if reason or culprit in {SEVERAL, TRIAL}:  # the next child tries each variable by itself, or makes no trial
            return
        names = [culprit] if culprit in self.ids else [*self.ids]  # unknown: none of them is tried again
        self.failed.update(dict.fromkeys(names, f"pickling it {cause}"))
        if cause == STUCK and culprit in self.ids:
            self.stuck_at = culprit

    def _is_complete(self) -> bool:
        """Return whether the child wrote everything: code of users may end it early with any exit status."""
        size = os.fstat(self.file).st_size
        return os.pread(self.file, len(self._token), max(0, size - len(self._token))) == self._token

    def _reap(self, seconds: float) -> str | None:
        """Wait for the child's end, and kill it at its deadline; return what went wrong, or None."""
        ends_at = monotonic() + seconds
        with contextlib.suppress(ChildProcessError):
            handle = relief.call(lambda: os.pidfd_open(self._pid))
            try:
                cause = self._wait(handle, ends_at)
            finally:
                os.close(handle)
            if cause is not None:
                os.kill(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
            if cause is not None:
                return cause
            if os.waitstatus_to_exitcode(status) != DONE_EXIT:
                return ENDED
            return None
        # User code that waits for any child has reaped it; whether it failed shows in what it wrote.
        size = os.fstat(self.file).st_size
        return None if size else ENDED

    def _wait(self, handle: int, ends_at: float) -> str | None:
        """Wait for the child's end; return why it has to be killed if it doesn't end."""
        watch = DeadlockWatch(self._pid)
        while not _wait_readable(handle, min(ends_at, monotonic() + watch.next_check_seconds)):
            if watch.is_deadlocked():
                return STUCK
            if monotonic() >= ends_at:
                return f"took longer than {self._limits.seconds:.3g} s"
        return None

    def close_file(self) -> None:
        """Close the file."""
        os.close(self.file)


def _wait_readable(fd: int, ends_at: float) -> bool:
    poller = poll()
    poller.register(fd, POLLIN)
    return bool(poller.poll(max(0.0, ends_at - monotonic()) * 1000))


def _bound_memory(growth_bytes: int) -> None:
    """Limit the growth of this process; beyond it a MemoryError fails the variable that is being pickled."""
    with open_file("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + growth_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
