"""System calls that a seccomp filter passes to another process, which makes them or refuses them.

The filter's process waits meanwhile. The process that has the filter's listener receives a description of the call,
with its arguments as they were: they are numbers in registers, which nothing can change any more.

See seccomp_unotify(2). Needs Linux 5.14.
"""

import errno
import os
import select
from fcntl import ioctl
from struct import Struct
from typing import Final, NamedTuple

_REQUEST: Final = Struct("=QIIiIQ6Q")  # struct seccomp_notif
_ANSWER: Final = Struct("=QqiI")  # struct seccomp_notif_resp
_DESCRIPTOR: Final = Struct("=QIIII")  # struct seccomp_notif_addfd
_RECEIVE: Final = 0xC050_2100  # SECCOMP_IOCTL_NOTIF_RECV
_SEND: Final = 0xC018_2101  # SECCOMP_IOCTL_NOTIF_SEND
_ADD: Final = 0x4018_2103  # SECCOMP_IOCTL_NOTIF_ADDFD
_AND_ANSWER: Final = 1 << 1  # SECCOMP_ADDFD_FLAG_SEND: the descriptor's number is the result of the call


class HeldCall(NamedTuple):
    """A system call whose process waits for its result."""

    id: int
    arguments: tuple[int, ...]


def receive_call(listener: int) -> HeldCall | None:
    """Return a call that waits, None if there is none. Raises BrokenPipeError if all processes have ended, OSError."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    events = dict(poll.poll(0)).get(listener, 0)
    if not events & select.POLLIN:  # receiving would wait
        if events:
            raise BrokenPipeError(errno.EPIPE, "all processes with this filter have ended")
        return None
    buffer = bytearray(_REQUEST.size)
    try:
        ioctl(listener, _RECEIVE, buffer)
    except OSError as exc:
        if exc.errno in {errno.ENOENT, errno.EINTR}:  # its process has ended or given up meanwhile
            return None
        raise
    fields = _REQUEST.unpack(buffer)
    return HeldCall(fields[0], fields[6:])


def answer_with_descriptor(listener: int, call: HeldCall, descriptor: int, *, closes_on_exec: bool) -> None:
    """End a call with a copy of this descriptor, whose number is its result. Raises OSError."""
    flags = os.O_CLOEXEC if closes_on_exec else 0
    ioctl(listener, _ADD, _DESCRIPTOR.pack(call.id, _AND_ANSWER, descriptor, 0, flags))


def answer_with_error(listener: int, call: HeldCall, error: int) -> None:
    """End a call with this error number. Raises OSError."""
    ioctl(listener, _SEND, _ANSWER.pack(call.id, 0, -error, 0))
