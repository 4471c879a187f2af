"""A trial of restoring in a process of its own: objects that can't be restored are reported when they are saved.

The trial process reads the streams as a restore would. Code in them that raises affects only the trial. Code that hangs
or ends the process is found in the page of calls and left out, and everything is tried again. The process is a fork
and must have no side effects: it has copies of live objects, and the end of a copy may remove what the live object
still uses. So no object is released, and neither `__del__` nor finalizers nor exit handlers run.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import msgpack

from skep_shared.originals import gc, os, select, signal
from skep_workers.session.checkpoint.reducers.definitions import class_attribute
from skep_workers.session.checkpoint.reducers.libraries.torch_tensors import compute_in_one_thread
from skep_workers.session.checkpoint.restoring.guard import CALL_SECONDS, Avoided, CallPage, Guard, hung
from skep_workers.session.checkpoint.restoring.loading import StoredStream, load_definitions, load_group
from skep_workers.session.safeguards.clock import monotonic

TRIAL_SECONDS: Final = 30.0  # of all attempts together; after that no more calls are made
CALLS_IN_TRIAL: Final = 2  # a short trial has time for this many calls that hang
MOST_OF_A_CALLEE: Final = 3  # calls of one callee that hung or ended the process; then it is never called again
DONE_EXIT: Final = 85
_ENDED: Final = "restoring it ends the process"
NO_TIME: Final = "there was no time left to try whether it can be restored"


@dataclass(slots=True)
class RestoreFailures:
    """What can't be restored, with reasons: variables by name, definitions by key. avoided: calls not to make."""

    names: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    avoided: Avoided = field(default_factory=Avoided)

    def __bool__(self) -> bool:
        return bool(self.names or self.definitions)


class RestoreTrial:
    """Tries to restore a checkpoint's definitions and groups, in their order."""

    def __init__(
        self,
        definitions: StoredStream | None,
        groups: Sequence[StoredStream],
        prepare: Callable[[], None] = lambda: None,
        finalized: Iterable[type] = (),
        seconds: float = TRIAL_SECONDS,
    ) -> None:
        """Set up a trial of these streams.

        prepare: is called in the trial process, before anything is read. finalized: classes that have a `__del__`.
        seconds: the limit for all attempts together.
        """
        self._seconds = min(seconds, TRIAL_SECONDS)
        self._call_seconds = min(CALL_SECONDS, self._seconds / CALLS_IN_TRIAL)
        self._definitions = definitions
        self._groups = groups
        self._prepare = prepare
        self._finalized = finalized
        self._page = CallPage()
        self._avoided = Avoided()
        self._counts: dict[str, int] = {}
        self._reasons: dict[str, str] = {}  # of the suspects, by callee
        self._is_last = False  # the time was over before this attempt
        self._is_spent = False  # the latest attempt failed even without any call
        self._token = os.urandom(16)  # the trial process writes it last

    def run(self) -> RestoreFailures | None:
        """Return what can't be restored; None if the process ends even when all calls are left out."""
        began = monotonic()
        patient_until, ends_at = began + 0.5 * self._seconds, began + 0.75 * self._seconds
        try:
            while True:
                result = self._attempt()
                if result is not None:
                    names, definitions = result
                    return RestoreFailures(names, definitions, self._avoided)
                if self._is_spent:
                    return None
                if monotonic() >= patient_until:
                    self._avoid_suspects(is_over=monotonic() >= ends_at)
        finally:
            self._page.close()

    def _attempt(self) -> tuple[dict[str, str], dict[str, str]] | None:
        """Read everything in a fork; return None if a call has to be left out of the next attempt."""
        self._page.leave()
        read, write = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(read)
            self._work(write)
        os.close(write)
        try:
            packed = _read_until_end(read, pid, self._seconds)
        finally:
            os.close(read)
            _kill(pid)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == DONE_EXIT and packed.endswith(self._token):  # code of users may end it with any exit status
            plain = packed.removesuffix(self._token)
            names, definitions = msgpack.unpackb(plain, unicode_errors="surrogatepass")
            return names, definitions
        is_hung = code in {-signal.SIGALRM, -signal.SIGVTALRM, -signal.SIGKILL}
        self._leave_out(hung(self._call_seconds) if is_hung else _ENDED)
        return None

    def _leave_out(self, reason: str) -> None:
        found = self._page.read()
        self._is_spent = bool(self._avoided.rest)
        if found is None or self._is_spent:
            self._avoided.rest = self._avoided.rest or reason
            return
        call, callee = found
        self._avoided.calls[call] = reason
        if callee:
            self._avoided.suspects.add(callee)
            self._reasons[callee] = reason
            self._counts[callee] = self._counts.get(callee, 0) + 1
            if self._counts[callee] >= MOST_OF_A_CALLEE:
                self._avoided.callees[callee] = reason

    def _avoid_suspects(self, *, is_over: bool) -> None:
        """Leave out all callees that failed once; or, if the time was over before the last attempt, all calls."""
        for callee in self._avoided.suspects:
            self._avoided.callees.setdefault(callee, self._reasons[callee])
        if is_over and self._is_last:
            self._avoided.rest = NO_TIME
        self._is_last = is_over

    # --- in the trial process -----------------------------------------------------------------------------------------

    def _work(self, write: int) -> NoReturn:
        status = 1
        try:
            os.setpgid(0, 0)  # so that the processes it starts end with it
            gc.disable()
            compute_in_one_thread()
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            _disarm(self._finalized)
            self._prepare()
            kept: list[Any] = []
            with Guard(self._avoided, self._page, call_seconds=self._call_seconds, is_fatal=True) as guard:
                names, definitions = self._read_all(guard, kept)
            os.set_blocking(write, True)
            data = msgpack.packb((names, definitions), unicode_errors="surrogatepass") + self._token
            while data:
                data = data[os.write(write, data) :]
            status = DONE_EXIT
        finally:
            os._exit(status)

    def _read_all(self, guard: Guard, kept: list[Any]) -> tuple[dict[str, str], dict[str, str]]:
        names: dict[str, str] = {}
        definitions: dict[str, str] = {}
        if self._definitions is not None:
            by_key, shared = load_definitions(self._definitions, guard)
            kept += (by_key, shared)
            definitions, names = by_key.lost, shared.lost | by_key.partial
            _disarm(kind for kind in by_key.values.values() if isinstance(kind, type))
        for guard.stream, group in enumerate(self._groups, start=1):
            loaded = load_group(group, guard)
            kept.append(loaded)
            names |= loaded.lost
        return names, definitions


def _disarm(kinds: Iterable[type]) -> None:
    """Disable `__del__` and finalizers in this process."""
    for kind in kinds:
        if class_attribute(kind, "__del__") is not None:
            type.__setattr__(kind, "__del__", _do_nothing)
    weakref.finalize.__call__ = _do_nothing  # type: ignore[method-assign, assignment]


def _do_nothing(*_: object) -> None:
    pass


def _read_until_end(fd: int, pid: int, seconds: float) -> bytes:
    """Return what the trial process has written when it ends; nothing if it doesn't end in time.

    The end of the process counts, not that of the pipe: other processes that it started may keep the pipe open.
    """
    handle = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.register(handle, select.POLLIN)
        parts: list[bytes] = []
        ends_at = monotonic() + seconds
        while ready := dict(poller.poll(max(0.0, ends_at - monotonic()) * 1000)):
            if fd in ready:
                data = os.read(fd, 65536)
                parts.append(data)
                if data:
                    continue
                poller.unregister(fd)
            if handle in ready:
                return b"".join(parts)
        return b""
    finally:
        os.close(handle)


def _kill(pid: int) -> None:
    for kill, target in ((os.killpg, pid), (os.kill, pid)):
        try:
            kill(target, signal.SIGKILL)
        except ProcessLookupError:
            continue
