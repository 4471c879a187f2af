"""What a probe is, and the beginning of every probe's cell."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.sandbox.kernel.landlock import ABI


class Outcome(Enum):
    """What became of a probe. ABSENT: the kernel doesn't have the call."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that a hostile cell tries.

    tries: in words, for the table. code: a cell whose last line is true if it succeeded; an OSError or a false value
    means that it was refused. It may use `PRELUDE`, and the facts about its targets by their names.
    possible: the tiers under which it succeeds, with the reason.
    landlock: the version of Landlock that refuses it in tier `basic`; older kernels don't.
    as_root: without a sandbox it only succeeds for root.
    """

    name: str
    tries: str
    code: str
    possible: dict[Tier, str] = field(default_factory=dict)
    as_root: bool = False
    landlock: ABI = ABI.FILES


def in_basic(reason: str) -> dict[Tier, str]:
    """Return that a probe succeeds under tier `basic`, for this reason."""
    return {Tier.BASIC: reason}


def in_every_tier(reason: str) -> dict[Tier, str]:
    """Return that a probe succeeds whatever the sandbox is."""
    return dict.fromkeys((Tier.BASIC, Tier.USERNS, Tier.STRICT), reason)


def with_namespaces(reason: str) -> dict[Tier, str]:
    """Return that a probe succeeds under tiers with namespaces, for this reason."""
    return {Tier.USERNS: reason, Tier.STRICT: reason}


PRELUDE: Final = '''
import contextlib, ctypes, errno, fcntl, os, signal, socket, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
REFUSALS = {errno.EPERM, errno.EACCES}

def call(name, *arguments):
    """Make a system call; raise OSError."""
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = libc.syscall(ctypes.c_long(numbers[name]), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result

def reaches(name, *arguments):
    """Return whether the kernel looks at the arguments, which are wrong: then the call itself is permitted."""
    try:
        call(name, *arguments)
    except OSError as exc:
        if exc.errno == errno.ENOSYS:
            raise
        return exc.errno not in REFUSALS
    return True

def in_child(attempt):
    """Return whether an attempt succeeds in a child of one thread."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if attempt() else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def reads(path):
    with open(path, "rb") as file:
        return bool(file.read(1))

def opens(path, flags=os.O_WRONLY):
    os.close(os.open(path, flags))
    return True
'''
