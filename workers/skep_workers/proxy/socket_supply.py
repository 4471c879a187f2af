"""Makes the sockets of sessions that have no network namespace: TCP sockets that reach nothing but this machine.

Landlock restricts the ports that a session may connect to, not the addresses: the proxy's port is open to it on every
machine. So the session can't make network sockets itself. Its seccomp filter passes `socket(AF_INET, SOCK_STREAM)` to
the proxy, which makes one that is bound to the loopback device, and hands it over. Only a privileged process can undo
that. Together, both leave one way: the proxy's port on this machine.

Each session's sockets have an address of their own in 127.64.0.0/10, by which the proxy knows whose connection it has
before it has read anything from it.

Things that don't work:
- Landlock alone: with a port of its choice, a server on the internet is all that a session needs to leak everything.
- Checking the address in `connect`: a filter sees a pointer, and another thread can change what it points to.
"""

import asyncio
import contextlib
import errno
import os
import socket
from typing import Final

from skep_workers.sandbox.kernel.notifications import (
    HeldCall,
    answer_with_descriptor,
    answer_with_error,
    receive_call,
)

_LOOPBACK: Final = b"lo"
_FIRST_ADDRESS: Final = 0x7F40_0001  # 127.64.0.1
_ADDRESSES: Final = 0x003F_FFFE
_TYPE: Final = 1  # the argument of `socket` with the type and the flags
_BIND_ADDRESS_NO_PORT: Final = 24  # IP_BIND_ADDRESS_NO_PORT: the port is chosen when the socket connects


def source_address(key: int) -> str:
    """Return the address of the sockets of the session with this key."""
    return socket.inet_ntoa((_FIRST_ADDRESS + key % _ADDRESSES).to_bytes(4))


def make_loopback_socket(address: str, flags: int = 0) -> socket.socket:
    """Return a TCP socket that can reach only this machine. flags: SOCK_NONBLOCK or 0. Raises OSError."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | flags)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _LOOPBACK)
        made.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        made.bind((address, 0))
    except BaseException:
        made.close()
        raise
    return made


def supply_sockets(key: int, listener: int) -> None:
    """Answer the calls of a session until all of its processes have ended; closes the listener then."""
    asyncio.get_running_loop().add_reader(listener, _answer_next, listener, source_address(key))


def _answer_next(listener: int, address: str) -> None:
    try:
        held = receive_call(listener)
    except OSError:  # the last process of the session has ended
        asyncio.get_running_loop().remove_reader(listener)
        os.close(listener)
        return
    if held is not None:
        with contextlib.suppress(FileNotFoundError):  # the process has ended, or a signal has interrupted the call
            _answer(listener, held, address)


def _answer(listener: int, held: HeldCall, address: str) -> None:
    flags = held.arguments[_TYPE]
    try:
        with make_loopback_socket(address, flags & socket.SOCK_NONBLOCK) as made:
            answer_with_descriptor(listener, held, made.fileno(), closes_on_exec=bool(flags & socket.SOCK_CLOEXEC))
    except FileNotFoundError:
        raise
    except OSError as exc:  # such as EMFILE: the session has too many descriptors
        answer_with_error(listener, held, exc.errno or errno.EACCES)
