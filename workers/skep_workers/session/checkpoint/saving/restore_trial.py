"""A trial of restoring: user code that a restore will run (`__setstate__` and the like) is run once at saving, too.

What raises, ends its process or hangs there would do so in every process that restores it; so it is left out, and told,
while it costs nothing but itself. The trial runs in a process of its own, for what such code changes must not be saved.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pickle import PickleBuffer, loads
from select import POLLIN, poll
from typing import Final, NoReturn

from skep_workers.session.checkpoint.reducers.definitions import DefinitionKeys, registry

SECONDS: Final = 5.0
LARGE_BYTES: Final = 256 * 1024 * 1024  # beyond it a second copy costs more than it tells
_HUNG: Final = f"restoring it takes longer than {SECONDS:g} s"
_ENDED: Final = "restoring it ends the process"

Parts = tuple[bytes, Sequence[PickleBuffer]]


def failures(parts: Sequence[Parts], keys: DefinitionKeys, at: Callable[[int], None]) -> dict[int, str]:
    """Load each of these; gives the index of those that can't be restored, with the reason.

    `at` is called with the index of each before its turn, for whoever sees this hang.
    """
    failed: dict[int, str] = {}
    start = 0
    while start < len(parts):
        told, cause = _run(parts, start, keys, at)
        failed |= {index: reason for index, reason in told.items() if reason}
        start = max(told, default=start - 1) + 1
        if start < len(parts):
            failed[start] = cause
            start += 1
    return failed


def _run(
    parts: Sequence[Parts], start: int, keys: DefinitionKeys, at: Callable[[int], None]
) -> tuple[dict[int, str], str]:
    """Load them from `start` on, in a child: what it told of each, and why it told no more."""
    at(start)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _work(parts, start, keys, write)
    os.close(write)
    told: dict[int, str] = {}
    cause = _ENDED
    try:
        for line in _lines(read):
            index, _, reason = line.partition(" ")
            told[int(index)] = reason
            if int(index) + 1 < len(parts):
                at(int(index) + 1)
    except TimeoutError:
        cause = _HUNG
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return told, cause


def _work(parts: Sequence[Parts], start: int, keys: DefinitionKeys, write: int) -> NoReturn:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, SECONDS * (len(parts) - start + 1))  # should our parent be killed
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (1, 2):
            os.dup2(null, fd)
        registry.definitions = keys.by_key
        for index in range(start, len(parts)):
            os.write(write, f"{index} {_reason(parts[index])}\n".encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _reason(part: Parts) -> str:
    data, buffers = part
    try:
        loads(data, buffers=[bytearray(buffer.raw()) for buffer in buffers])
    except BaseException as exc:  # noqa: BLE001 - user code
        text = " ".join(str(exc).split())
        return f"restoring it raises {type(exc).__name__}: {text}"[:300]
    return ""


def _lines(fd: int) -> Iterator[str]:
    """Yield lines as they come, until the end. Raises TimeoutError if one takes too long."""
    poller = poll()
    poller.register(fd, POLLIN)
    pending = b""
    ends_at = time.monotonic() + SECONDS
    while True:
        if not poller.poll(max(0.0, ends_at - time.monotonic()) * 1000):
            raise TimeoutError
        data = os.read(fd, 65536)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        if lines:
            ends_at = time.monotonic() + SECONDS
        yield from (line.decode() for line in lines)


def is_worth_it(parts: Parts) -> bool:
    """Tell whether a trial is affordable."""
    return len(parts[0]) + sum(buffer.raw().nbytes for buffer in parts[1]) <= LARGE_BYTES
