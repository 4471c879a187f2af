"""Taking snapshots of a session out of its way.

After each cell: what can be proved unchanged isn't looked at. A small state is pickled at once, in the main thread, for
less than a millisecond. A larger one, and one whose pickling runs user code, is pickled by a forked child: it has the
namespace frozen as it was, while the next cell runs. The child has a deadline; when it hangs or dies, the variable it
was at is left out and told, and another child takes the rest.

One snapshot at a time. Cells that end meanwhile are covered by the next one, which is taken as soon as this one is done
and no cell runs: they commit together.
"""

import contextlib
import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from skep_shared.frames import Blob, Frame, Saved, encode_frame
from skep_workers.session.checkpoint.assembling import Assembler
from skep_workers.session.checkpoint.grouping import IN_PLACE_BYTES, Progress, TooLarge
from skep_workers.session.checkpoint.manifest import Manifest
from skep_workers.session.checkpoint.pickling import Untrusted
from skep_workers.session.checkpoint.proofs import Fingerprint, fingerprint, is_immutable, same

DEFAULT_DEADLINE_SECONDS: Final = 60.0
MAX_RETRIES: Final = 8
DONE_EXIT: Final = 0
_SEND_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class _Proof:
    """The value a name had, and for a definition what tells whether it changed."""

    value: Any
    fingerprint: Fingerprint | None


class Snapshots:
    """The snapshots of one session process. Called from the main thread; `on_free` is called from a helper thread."""

    def __init__(
        self,
        names: Callable[[], dict[str, Any]],
        ambient: Callable[[], dict[str, Any]],
        send_file: Callable[[int, int], None],
        on_free: Callable[[bool], None],
    ) -> None:
        """`send_file` sends a descriptor's first n bytes, frames, to the host; it may wait.

        `on_free` is told when a child has finished, and whether it made anything.
        """
        self._names = names
        self._ambient = ambient
        self._send_file = send_file
        self._on_free = on_free
        self._proofs: dict[str, _Proof] = {}
        self._last: Manifest | None = None
        self._last_ambient: dict[str, Any] = {}
        self._stored: set[bytes] = set()
        self._skipped: dict[str, tuple[Any, str]] = {}
        self._too_much: dict[str, Any] = {}
        self._child: threading.Thread | None = None
        self.deadline_seconds = DEFAULT_DEADLINE_SECONDS

    @property
    def is_busy(self) -> bool:
        """Tell whether a child is at work; the next snapshot waits for it."""
        return self._child is not None

    def adopt(self, manifest: Manifest) -> None:
        """Start from a checkpoint that was restored: its chunks are stored."""
        self._stored = set(manifest.digests())

    def take(self, seq: int, *, may_wait: bool = True) -> list[Frame] | None:
        """Save the state after the cell of `seq`: the frames that do, or None if a child sends them later."""
        names = self._names()
        ambient = self._ambient()
        if self._is_unchanged(names, ambient):
            return [Saved(seq, b"", {})]
        proofs = _prove(names)
        if not may_wait or not self._is_too_much(names, proofs):
            frames = self._take_in_place(seq, names, ambient)
            if frames is not None:
                self._proofs, self._last_ambient = proofs, ambient
                return frames
        self._start_child(seq, names, ambient, proofs)
        return None

    def _is_unchanged(self, names: dict[str, Any], ambient: dict[str, Any]) -> bool:
        if self._last is None or len(names) != len(self._proofs) or ambient != self._last_ambient:
            return False
        for name, value in names.items():
            proof = self._proofs.get(name)
            if proof is None or proof.value is not value:
                return False
            if not is_immutable(value) and not same(proof.fingerprint, fingerprint(value)):
                return False
        return True

    def _is_too_much(self, names: dict[str, Any], proofs: dict[str, _Proof]) -> bool:
        """Tell whether pickling in place is known to fail: a value that failed is still there."""
        if any(names.get(name) is value for name, value in self._too_much.items()):
            return True
        # A thread of the user's might change things while they are pickled here; a child has it all frozen.
        return any(not thread.name.startswith("skep-") for thread in threading.enumerate()[1:])

    def _take_in_place(self, seq: int, names: dict[str, Any], ambient: dict[str, Any]) -> list[Frame] | None:
        blobs: dict[bytes, bytes] = {}

        def put(name: bytes, part: memoryview) -> None:
            if name not in self._stored:
                blobs[name] = bytes(part)

        assembler = Assembler(put, in_place=True)
        try:
            manifest = assembler.assemble(seq, names, ambient, self._reasons(names))
        except (TooLarge, Untrusted):
            culprit = assembler.latest
            self._too_much = {culprit: names.get(culprit)} if culprit in names else {}
            return None
        if sum(map(len, blobs.values())) > IN_PLACE_BYTES * 2:
            return [*(Blob(name, data) for name, data in blobs.items()), self._saved(manifest)]
        return [self._saved(manifest, blobs)]

    def _saved(self, manifest: Manifest, blobs: dict[bytes, bytes] | None = None) -> Saved:
        self._last = manifest
        self._stored = set(manifest.digests())
        return Saved(manifest.seq, manifest.pack(), blobs or {})

    def _reasons(self, names: dict[str, Any]) -> dict[str, str]:
        self._skipped = {name: skip for name, skip in self._skipped.items() if names.get(name) is skip[0]}
        return {name: reason for name, (_, reason) in self._skipped.items()}

    # --- with a child ---------------------------------------------------------------------------------------------

    def _start_child(self, seq: int, names: dict[str, Any], ambient: dict[str, Any], proofs: dict[str, _Proof]) -> None:
        attempt = _Attempt(seq, names, ambient, self._reasons(names), frozenset(self._stored))
        attempt.fork()
        self._child = threading.Thread(target=self._attend, args=(attempt, proofs), name="skep-snapshot", daemon=True)
        self._child.start()

    def _attend(self, attempt: "_Attempt", proofs: dict[str, _Proof]) -> None:
        """Wait for the child, help it past what it fails at, and send what it made."""
        manifest = None
        try:
            manifest = attempt.finish(self.deadline_seconds)
            if manifest is not None:
                self._send_file(attempt.file, attempt.size)
        finally:
            attempt.close()
            if manifest is not None:
                self._last, self._stored = manifest, set(manifest.digests())
                self._proofs, self._last_ambient = proofs, attempt.ambient
            for name, reason in attempt.failed.items():
                self._skipped[name] = (attempt.names[name], reason)
            self._child = None
            self._on_free(manifest is not None)


class _Attempt:
    """A snapshot made by a forked child, which writes frames to a file in memory."""

    def __init__(
        self,
        seq: int,
        names: dict[str, Any],
        ambient: dict[str, Any],
        skipped: dict[str, str],
        stored: frozenset[bytes],
    ) -> None:
        self.seq = seq
        self.names = names
        self.ambient = ambient
        self.failed: dict[str, str] = {}
        self._skipped = skipped
        self._stored = stored
        self._progress = Progress()
        self._pid = 0
        self.size = 0
        self.file = os.memfd_create("skep-snapshot", os.MFD_CLOEXEC)

    def fork(self) -> None:
        """Freeze the state: from here on the child has it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of forking beside threads; the deadline is for that
            self._pid = os.fork()
        if self._pid == 0:
            self._work()

    def _work(self) -> None:
        status = 1
        try:
            gc.disable()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            with open(self.file, "wb", buffering=_SEND_BYTES, closefd=False) as out:
                written: set[bytes] = set(self._stored)

                def put(name: bytes, part: memoryview) -> None:
                    if name not in written:
                        written.add(name)
                        out.write(encode_frame(Blob(name, bytes(part))))

                assembler = Assembler(put, in_place=False, progress=self._progress)
                manifest = assembler.assemble(self.seq, self.names, self.ambient, self._skipped)
                packed = manifest.pack()
                out.write(encode_frame(Saved(self.seq, packed, {})))
                out.write(packed + len(packed).to_bytes(8, "big"))
            status = DONE_EXIT
        finally:
            os._exit(status)

    def finish(self, seconds: float) -> Manifest | None:
        """Wait for the child; gives the manifest it made, or None if it made none."""
        cause = self._reap(seconds)
        if cause is None:
            size = os.fstat(self.file).st_size
            length = int.from_bytes(os.pread(self.file, 8, size - 8), "big")
            self.size = size - 8 - length
            return Manifest.unpack(os.pread(self.file, length, self.size))
        culprit = self._progress.read()
        if culprit in self.names:
            self.failed[culprit] = f"pickling it {cause}"
        return None

    def _reap(self, seconds: float) -> str | None:
        """Wait for the child's end, and kill it at its deadline; gives what went wrong."""
        ends_at = time.monotonic() + seconds
        with contextlib.suppress(ChildProcessError):
            handle = os.pidfd_open(self._pid)
            try:
                ready = _wait_readable(handle, ends_at)
            finally:
                os.close(handle)
            if not ready:
                os.kill(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
            if not ready:
                return f"took longer than {seconds:g} s"
            if status != 0:
                return "ended the process that did it"
            return None
        # Somebody else (user code that waits for any child) has reaped it; what it wrote tells.
        size = os.fstat(self.file).st_size
        return None if size else "ended the process that did it"

    def close(self) -> None:
        """Give the file back."""
        os.close(self.file)


def _wait_readable(fd: int, ends_at: float) -> bool:
    import select  # noqa: PLC0415 - bound here, beside its only use

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, ends_at - time.monotonic()) * 1000))


def _prove(names: dict[str, Any]) -> dict[str, _Proof]:
    return {name: _Proof(value, None if is_immutable(value) else fingerprint(value)) for name, value in names.items()}
