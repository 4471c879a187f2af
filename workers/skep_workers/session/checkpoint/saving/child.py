"""A snapshot made by a forked child, which has the namespace frozen as it was while the next cell runs.

The child writes frames to a file in memory, which the parent hands on when all of it is there. It has a deadline, and
may grow by so many bytes only; where it hangs or dies, the page that it tells its progress on says at which variable.
A child that waits for a thread which it doesn't have is found out long before the deadline, see `deadlocks`.
"""

import contextlib
import warnings
from dataclasses import dataclass, replace
from select import POLLIN, poll  # bound early: user code may patch select
from typing import Final

from msgpack import packb, unpackb

from skep_shared.content_chunks import Digest, joined_names
from skep_shared.frame_codec import encode_frame
from skep_shared.frames import Blob, Saved
from skep_shared.originals import gc, open_file, os, resource, signal
from skep_workers.session import original_builtins
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.manifest import Manifest
from skep_workers.session.checkpoint.reducers.torch_tensors import compute_in_one_thread
from skep_workers.session.checkpoint.saving.assembling import Assembler, Earlier
from skep_workers.session.checkpoint.saving.deadlocks import DeadlockWatch
from skep_workers.session.checkpoint.saving.grouping import SEVERAL, TRIAL, Progress
from skep_workers.session.checkpoint.saving.known_definitions import Learned
from skep_workers.session.checkpoint.saving.trials import Findings
from skep_workers.session.checkpoint.state import SnapshotLimits, State
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import Place
from skep_workers.session.clock import monotonic
from skep_workers.session.descriptors import above_standard
from skep_workers.session.relief import deepen, raise_limits, relief
from skep_workers.session.signal_hold import unblock_all

DONE_EXIT: Final = 83  # not 0: that is what user code ends its process with
ENDED: Final = "ended the process that did it"
STUCK: Final = "waits for a thread that a forked process doesn't have"
_BUFFER_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Task:
    """What a child is to save. For `skipped`, `joint` and `earlier` see Assembler.

    stored: chunks that are not written.
    """

    seq: int
    state: State
    skipped: dict[str, str]
    joint: list[list[str]]
    stored: frozenset[bytes]
    earlier: Earlier


class SnapshotChild:
    """One child: forked, waited for, read."""

    def __init__(self, task: Task, limits: SnapshotLimits) -> None:
        """`limits.seconds` are this child's."""
        self._task = task
        self.seq = task.seq
        self.around = task.state.without_values
        self.ids = task.state.ids
        self.failed: dict[str, str] = {}
        self.fault = ""  # why it made nothing, where that is no variable's doing
        self.failed_at_several = False
        self.stuck_at = ""  # the variable at which it waited for a thread that it doesn't have
        self._limits = limits
        self.learned: dict[Place, list[Digest]] = {}  # what it found in large buffers
        self.learned_definitions: Learned | None = None
        self.imported_again: dict[str, frozenset[str]] = {}  # modules that it could save by their names only
        self._progress = Progress()
        self._token = os.urandom(16)  # the last thing that the child writes
        self._pid = 0
        self.size = 0
        self.file = above_standard(os.memfd_create("skep-snapshot", os.MFD_CLOEXEC))

    def fork(self) -> int:
        """Freeze the state: from here on the child has it; return its pid."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of forking beside threads; the deadline is for that
            self._pid = os.fork()
        if self._pid == 0:
            self._work()
        self._task = replace(self._task, state=self._task.state.without_values)  # meanwhile a value may come to its end
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

                def put(name: bytes, part: memoryview) -> None:
                    if name not in written:
                        written.add(name)
                        out.write(encode_frame(Blob(name, bytes(part))))

                assembler = Assembler(
                    put,
                    in_place=False,
                    budget_bytes=self._limits.state_bytes,
                    earlier=task.earlier,
                    progress=self._progress,
                    trial_seconds=self._limits.seconds / 2,
                )
                manifest = assembler.assemble(task.seq, task.state, task.skipped, task.joint)
                packed = manifest.pack()
                out.write(encode_frame(Saved(task.seq, packed, {})))
                learned = [(*place, b"".join(names)) for place, names in assembler.learned.items()]
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
            if isinstance(exc, OSError) or self._progress.read() not in self.ids:  # else it is that variable's fault
                self._progress.fail(describe(exc))
        finally:
            os._exit(status)

    def finish(self) -> Manifest | None:
        """Wait for the child; gives the manifest it made, or None if it made none."""
        cause = self._reap(self._limits.seconds)
        if cause is None and not self._is_complete():
            cause = ENDED
        if cause is None:
            size = os.fstat(self.file).st_size - len(self._token)
            length = int.from_bytes(os.pread(self.file, 8, size - 8), "big")
            self.size = size - 8 - length
            tail = unpackb(os.pread(self.file, length, self.size), unicode_errors="surrogatepass", strict_map_key=False)
            packed, learned, again, definitions, found = tail
            if definitions is not None:
                numbers, shared, others = definitions
                self.learned_definitions = Learned(dict(numbers), frozenset(shared), frozenset(others))
            self.imported_again = {name: frozenset(names) for name, names in again}
            self._task.earlier.trials.is_hasty = False
            self._task.earlier.trials.adopt(Findings.unpack(found))
            self.learned = {(address, size): list(joined_names(names)) for address, size, names in learned}
            return Manifest.unpack(packed)
        culprit, reason = self._progress.read(), self._progress.failure
        if reason or culprit not in self.ids:
            self.fault = reason or f"the process that saves it {cause.removesuffix(' that did it')}"
        self.failed_at_several = culprit == SEVERAL
        self._task.earlier.trials.is_hasty = culprit == TRIAL
        if reason or culprit in {SEVERAL, TRIAL}:  # next each by itself is tried, or none is
            return None
        names = [culprit] if culprit in self.ids else [*self.ids]  # unknown: never try the same again
        self.failed.update(dict.fromkeys(names, f"pickling it {cause}"))
        if cause == STUCK and culprit in self.ids:
            self.stuck_at = culprit
        return None

    def _is_complete(self) -> bool:
        """Return whether the child came to its end: code of users may end it with any exit status."""
        size = os.fstat(self.file).st_size
        return os.pread(self.file, len(self._token), max(0, size - len(self._token))) == self._token

    def _reap(self, seconds: float) -> str | None:
        """Wait for the child's end, and kill it at its deadline; gives what went wrong."""
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
        # Somebody else (user code that waits for any child) has reaped it; what it wrote tells.
        size = os.fstat(self.file).st_size
        return None if size else ENDED

    def _wait(self, handle: int, ends_at: float) -> str | None:
        """Wait for the child's end; returns what is wrong with it if that doesn't come."""
        watch = DeadlockWatch(self._pid)
        while not _wait_readable(handle, min(ends_at, monotonic() + watch.next_look_seconds)):
            if watch.look():
                return STUCK
            if monotonic() >= ends_at:
                return f"took longer than {self._limits.seconds:.3g} s"
        return None

    def close(self) -> None:
        """Give the file back."""
        os.close(self.file)


def _wait_readable(fd: int, ends_at: float) -> bool:
    poller = poll()
    poller.register(fd, POLLIN)
    return bool(poller.poll(max(0.0, ends_at - monotonic()) * 1000))


def _bound_memory(growth_bytes: int) -> None:
    """Let this process grow by so much; beyond it gets a MemoryError, which costs the variable it is at."""
    with open_file("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + growth_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
