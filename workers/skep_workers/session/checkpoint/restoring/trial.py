"""A trial of restoring, in a process of its own: what can't be restored is told when it is saved.

The trial process reads the streams as a restore would. Code in them that raises is contained there; code that hangs or
ends the process is found in the page of calls, left out, and all is tried again. The process is a fork, and it must
not be noticed: copies of live objects end in it, and an object that ends may remove what the live one still uses. So
nothing that is read is let go, and neither `__del__` nor finalizers nor exit handlers run.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import msgpack

from skep_shared.originals import gc, os, select, signal
from skep_workers.session.checkpoint.reducers.definitions import class_attribute
from skep_workers.session.checkpoint.reducers.torch_tensors import compute_in_one_thread
from skep_workers.session.checkpoint.restoring.guard import CALL_SECONDS, Avoided, CallPage, Guard, hung
from skep_workers.session.checkpoint.restoring.loading import Stream, load_definitions, load_group
from skep_workers.session.clock import monotonic

TRIAL_SECONDS: Final = 30.0  # of all tries together; what is left then is not called any more
CALLS_IN_IT: Final = 2  # that may take as long as a call may
MOST_OF_A_CALLEE: Final = 3  # calls of one callee that hung or ended the process; then none of them is made
DONE_EXIT: Final = 85
_ENDED: Final = "restoring it ends the process"
NO_TIME: Final = "there was no time left to try whether it can be restored"


@dataclass(slots=True)
class Failures:
    """What can't be restored, with the reason: variables by name, definitions by key. avoided: calls not to make."""

    names: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    avoided: Avoided = field(default_factory=Avoided)

    def __bool__(self) -> bool:
        return bool(self.names or self.definitions)


class Trial:
    """Tries to restore a checkpoint's definitions and groups, in their order."""

    def __init__(
        self,
        definitions: Stream | None,
        groups: Sequence[Stream],
        prepare: Callable[[], None] = lambda: None,
        finalized: Iterable[type] = (),
        seconds: float = TRIAL_SECONDS,
    ) -> None:
        """`prepare` is called in the trial process, before anything is read.

        finalized: classes that have a `__del__`. seconds: what all tries together may take.
        """
        self._seconds = min(seconds, TRIAL_SECONDS)
        self._call_seconds = min(CALL_SECONDS, self._seconds / CALLS_IN_IT)
        self._definitions = definitions
        self._groups = groups
        self._prepare = prepare
        self._finalized = finalized
        self._page = CallPage()
        self._avoided = Avoided()
        self._counts: dict[str, int] = {}
        self._is_spent = False
        self._token = os.urandom(16)  # the last thing that the trial process writes

    def run(self) -> Failures | None:
        """Return what can't be restored; None if no trial was possible: the process ends whatever is left out."""
        ends_at = monotonic() + 0.75 * self._seconds
        try:
            while True:
                result = self._try()
                if result is not None:
                    names, definitions = result
                    return Failures(names, definitions, self._avoided)
                if self._is_spent:
                    return None
                if monotonic() >= ends_at:
                    self._avoided.rest = NO_TIME
        finally:
            self._page.close()

    def _try(self) -> tuple[dict[str, str], dict[str, str]] | None:
        """Read everything in a fork; returns None if a call had to be left out of the next try."""
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
        self._is_spent = bool(self._avoided.rest)  # it failed even without any call
        if found is None or self._is_spent:
            self._avoided.rest = self._avoided.rest or reason
            return
        call, callee = found
        self._avoided.calls[call] = reason
        if callee:
            self._avoided.suspects.add(callee)
            self._counts[callee] = self._counts.get(callee, 0) + 1
            if self._counts[callee] >= MOST_OF_A_CALLEE:
                self._avoided.callees[callee] = reason

    # --- in the trial process -----------------------------------------------------------------------------------------

    def _work(self, write: int) -> NoReturn:
        status = 1
        try:
            os.setpgid(0, 0)  # so that what it starts ends with it
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
    """Keep the ends of objects from doing anything in this process."""
    for kind in kinds:
        if class_attribute(kind, "__del__") is not None:
            type.__setattr__(kind, "__del__", _do_nothing)
    weakref.finalize.__call__ = _do_nothing  # type: ignore[method-assign, assignment]


def _do_nothing(*_: object) -> None:
    pass


def _read_until_end(fd: int, pid: int, seconds: float) -> bytes:
    """Return what the trial process has written at its end; one that is over its time is killed.

    Its end is watched, not the pipe's: what it has started may hold that open.
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
