"""Runs one probe in a forked child, with a deadline.

The child first moves to a private mount namespace, so that no probe can leave a mount on the machine. A process that
may not do that may not mount anything either.
"""

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, NoReturn

from skep_workers.sandbox.kernel.namespaces import unshare_mounts
from skep_workers.sandbox.kernel.privileges import die_with_parent

PROBE_SECONDS: Final = 5.0
_ANSWER_BYTES: Final = 4096


class Answer(NamedTuple):
    """What a probe found out. text: how well it works, or why not. error: the number of the error, if there is one."""

    works: bool
    text: str
    error: int | None = None


def run_probe(probe: Callable[[], str], seconds: float = PROBE_SECONDS) -> Answer:
    """Return what the probe returns in a child, or the OSError that it raises. The child is killed after `seconds`."""
    read, write = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _answer(probe, write, parent)
    os.close(write)
    try:
        poll = select.poll()
        poll.register(read, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return Answer(works=False, text=f"no answer after {seconds:g} s")
        packed = os.read(read, _ANSWER_BYTES).decode()
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
    works, _, rest = packed.partition("\n")
    error, _, text = rest.partition("\n")
    if not works:
        return Answer(works=False, text="the process that tried it was killed")
    return Answer(works == "yes", text, int(error) if error else None)


def in_grandchild(work: Callable[[], None]) -> None:
    """Do this in a child of its own, which is the first process of a pid namespace that was made before.

    Raises the OSError that it raises.
    """

    def probe() -> str:
        with suppress(ProcessLookupError):
            die_with_parent(0)  # in its pid namespace the parent has no number
        work()
        return ""

    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _answer(probe, write, 0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        works, error, text = pipe.read().decode().split("\n", 2)
    os.waitpid(pid, 0)
    if works != "yes":
        raise OSError(int(error or 0), text)


def _answer(probe: Callable[[], str], write: int, parent: int) -> NoReturn:
    """Run a probe, write its answer and end this process."""
    try:
        if parent:
            die_with_parent(parent)
            # The second one without /proc/self/ns, as in gVisor: no mount is made then, see `mount_empty`.
            with suppress(PermissionError, FileNotFoundError):
                unshare_mounts()
        answer = f"yes\n\n{probe()}"
    except OSError as exc:
        answer = f"no\n{exc.errno or ''}\n{exc.strerror or exc}"
    except BaseException as exc:  # noqa: BLE001 - the process ends here
        answer = f"no\n\n{type(exc).__name__}: {exc}"
    finally:
        with suppress(UnboundLocalError):
            os.write(write, answer.encode()[:_ANSWER_BYTES])
        os._exit(0)
