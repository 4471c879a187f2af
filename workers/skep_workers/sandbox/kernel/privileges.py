"""What a process may gain or keep: privileges of programs that it executes, capabilities, its life after its parent."""

import ctypes
import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from skep_workers.sandbox.kernel.system_calls import call, control_process

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_GET_NO_NEW_PRIVS: Final = 39
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_SIGKILL: Final = int(signal.SIGKILL)
_CAPABILITY_VERSION: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_MOST_CAPABILITIES: Final = 64
CAP_SYS_ADMIN: Final = 21
# Made before the fork: a new array type takes longer than the call.
_THIS_PROCESS: Final = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
_NO_CAPABILITIES: Final = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice 32 bits each


def give_up_new_privileges() -> None:
    """Make set-user-ID programs and file capabilities have no effect, for this process and its descendants."""
    control_process(_PR_SET_NO_NEW_PRIVS, 1)


def has_given_up_new_privileges() -> bool:
    """Return whether this process can't gain privileges."""
    return control_process(_PR_GET_NO_NEW_PRIVS) == 1


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends. Raise ProcessLookupError if it has ended already.

    Children don't inherit this, and a change of the user id clears it.
    """
    control_process(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        raise ProcessLookupError(f"process {parent}, the parent, has ended")


def die_with(handle: int) -> None:
    """Be killed when the parent ends, whose pidfd this is. Raise ProcessLookupError if it has ended already.

    For a process in another pid namespace than its parent's, where the parent has no number.
    """
    control_process(_PR_SET_PDEATHSIG, _SIGKILL)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if poll.poll(0):
        raise ProcessLookupError("the parent has ended")


def become(uid: int, gid: int) -> None:
    """Become this user, with this group only. It can read its own files in /proc as before. Raises OSError."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    control_process(_PR_SET_DUMPABLE, 1)  # the kernel has reset it


def effective_capabilities() -> int:
    """Return this process's capabilities, as bits."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def limit_capabilities() -> None:
    """Make sure that executing a program, even as root, brings no capability back once they are dropped."""
    with suppress(OSError):  # before Linux 4.3
        control_process(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    with suppress(OSError):  # EPERM: without CAP_SETPCAP; EINVAL: there are no more capabilities
        for number in range(_MOST_CAPABILITIES):
            control_process(_PR_CAPBSET_DROP, number)


def drop_capabilities() -> None:
    """Drop all capabilities of this process. Raises OSError."""
    call("capset", ctypes.addressof(_THIS_PROCESS), ctypes.addressof(_NO_CAPABILITIES))
