"""Resources for the engine where user code has used up, or limited, those of its process.

Cells set limits (`resource.setrlimit`, `sys.setrecursionlimit`) and reach existing ones: every descriptor is open, no
thread or child process may be started, no memory is left. The engine's work after the cell must not fail because of
that. It is tried under the present limits first, which costs nothing, and then once more with relief: the soft limits
are raised to the hard ones, and a few descriptors that were held in reserve are closed.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from threading import RLock  # bound early: user code may patch threading
from typing import Final, Self, TypeVar

from skep_shared.originals import os, resource
from skep_workers.session.safeguards.descriptors import moved_up

T = TypeVar("T")

RESERVED: Final = 8
LEAST_DEPTH: Final = 1000  # Python's own default for the recursion limit
_LIMITS: Final = tuple(getattr(resource, f"RLIMIT_{name}") for name in ("AS", "DATA", "FSIZE", "NOFILE", "NPROC"))


class Relief:
    """A context manager for work that must not fail because of limits. It is reentrant and thread-safe."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._depth = 0
        self._limits: list[tuple[int, tuple[int, int]]] = []
        self._recursion_limit = 0
        self._reserve: list[int] = []
        self._identity: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Open the descriptors of the reserve, in the zygote, so that its forks have them too."""
        first = moved_up(os.memfd_create("skep-reserve", os.MFD_CLOEXEC))
        self._identity = _identity(first)
        self._reserve = [first]
        self._refill()

    @property
    def descriptors(self) -> set[int]:
        """Return the descriptors of the reserve."""
        return set(self._reserve)

    def begin_in_fork(self) -> None:
        """Reset the lock in a fork: a thread of the parent may have held it."""
        self._lock, self._depth = RLock(), 0

    def call(self, work: Callable[[], T]) -> T:
        """Return the result of `work`; call it again with relief if it fails. Starting it twice must be harmless."""
        try:
            return work()
        except (OSError, MemoryError, RecursionError, RuntimeError):
            with self:
                return work()

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._limits = [(number, resource.getrlimit(number)) for number in _LIMITS]
            raise_limits()
            self._recursion_limit = sys.getrecursionlimit()
            deepen()
            while len(self._reserve) > 1 and self._is_ours(self._reserve[-1]):
                os.close(self._reserve.pop())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._refill()
            for number, limits in self._limits:
                _set(number, limits)
            if sys.getrecursionlimit() != self._recursion_limit:
                with suppress(RecursionError):  # the limit is below the depth of this call
                    sys.setrecursionlimit(self._recursion_limit)
        self._lock.release()

    def _refill(self) -> None:
        while self._reserve and len(self._reserve) < RESERVED and self._is_ours(self._reserve[0]):
            try:
                self._reserve.append(moved_up(os.dup(self._reserve[0])))
            except OSError:
                return  # user code has used the number first; the next exit tries again

    def _is_ours(self, descriptor: int) -> bool:
        """Return whether a descriptor is still the reserve's: user code may have closed it and reused its number."""
        try:
            return _identity(descriptor) == self._identity
        except OSError:
            return False


def raise_limits() -> None:
    """Raise the soft limits of this process to the hard ones."""
    for number in _LIMITS:
        soft, hard = resource.getrlimit(number)
        if soft != hard:
            _set(number, (hard, hard))


def deepen() -> None:
    """Raise the recursion limit to what is certainly enough for the engine."""
    if sys.getrecursionlimit() < LEAST_DEPTH:
        sys.setrecursionlimit(LEAST_DEPTH)


def _set(number: int, limits: tuple[int, int]) -> None:
    with suppress(OSError, ValueError):  # the limit remains, and a failure because of it is reported
        resource.setrlimit(number, limits)


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


relief: Final = Relief()
os.register_at_fork(after_in_child=relief.begin_in_fork)
