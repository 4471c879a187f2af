"""Runs the making of the root directory and the network in a child, and opens the namespaces that it has made."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from skep_shared.errors import StartError
from skep_workers.sandbox.file_access import python_places
from skep_workers.sandbox.kernel.privileges import become
from skep_workers.sandbox.namespaced.network import make_network, open_network
from skep_workers.sandbox.namespaced.root_directory import build_root
from skep_workers.sandbox.policy import SandboxPolicy

_ANSWER_BYTES: Final = 4096
_READY: Final = b"ready"


class BuiltRoot(NamedTuple):
    """Descriptors: of the namespaces that sessions join, and of the root directory in the first of them."""

    mounts: int
    network: int
    directory: int


def build_in_child(policy: SandboxPolicy, place: str, environment: str) -> BuiltRoot:
    """Return the root directory and the network of sessions. Raises StartError, OSError.

    environment: the directory of which sessions have a copy, see `build_root`.
    """

    def build() -> None:
        os.umask(0o022)  # sessions of other users must be able to enter the directories
        build_root(policy, place, environment)
        make_network()

    pid, answer = _start(build)
    try:
        if answer != _READY:
            raise StartError("sandbox", f"the root directory of sessions can't be made: {answer.decode()}")
        mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        directory = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return BuiltRoot(mounts, open_network(pid), directory)
    finally:
        _end(pid)


def check_access(policy: SandboxPolicy, user: int) -> None:
    """Raise StartError if another user could not read Python's directories, or use what the settings name.

    Directories above them may be closed to other users: sessions have their own.
    """

    def check() -> None:
        paths = [path for path in map(Path, (*python_places(), *policy.readable, *policy.writable)) if path.exists()]
        wanted = {path: os.R_OK | (os.X_OK if path.is_dir() else 0) for path in paths}
        wanted |= {path: wanted[path] | os.W_OK for path in map(Path, policy.writable)}
        opened = {path: os.open(path, os.O_PATH) for path in paths}
        become(user, user)
        for path, descriptor in opened.items():
            if not os.access(f"/proc/self/fd/{descriptor}", wanted[path]):
                what = "read and change" if wanted[path] & os.W_OK else "read"
                reason = "in this tier each session is a user of its own"
                raise PermissionError(f"other users can't {what} {path}: {reason}")

    pid, answer = _start(check)
    _end(pid)
    if answer != _READY:
        raise StartError("sandbox", answer.decode())


def _start(work: Callable[[], None]) -> tuple[int, bytes]:
    """Do something in a child; return its pid, and how that went. The child waits to be ended."""
    read, write = os.pipe2(os.O_CLOEXEC)
    until, held = os.pipe2(os.O_CLOEXEC)  # of which the reading end sees the end of this process
    pid = os.fork()
    if pid == 0:
        try:
            os.close(held)
            work()
            answer = _READY
        except BaseException as exc:  # noqa: BLE001 - the process ends here
            answer = f"{type(exc).__name__}: {exc}".encode()[:_ANSWER_BYTES]
        os.write(write, answer)
        os.close(write)
        os.read(until, 1)
        os._exit(0)
    os.close(write)
    os.close(until)
    with os.fdopen(read, "rb") as pipe:
        return pid, pipe.read()


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
