"""The network of sessions: an empty network namespace, which all sessions of a worker share.

Nothing leads out of the namespace. That sessions could reach each other in it is prevented by the filter of system
calls, which permits them no sockets of their own except unix sockets. Sessions with the network of the host don't join.
"""

import fcntl
import os
import socket
from struct import Struct
from typing import Final

from skep_workers.sandbox.kernel.namespaces import NEW_NETWORK, join_namespace, unshare

_INTERFACE: Final = Struct("=16sh14x")  # struct ifreq, with flags
_SET_FLAGS: Final = 0x8914  # SIOCSIFFLAGS
_IS_UP: Final = 1  # IFF_UP


def make_network() -> None:
    """Move this process to a new network namespace, whose loopback interface works. Raises OSError."""
    unshare(NEW_NETWORK)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SET_FLAGS, _INTERFACE.pack(b"lo", _IS_UP))


def open_network(pid: int) -> int:
    """Return the descriptor of a process's network namespace. Raises OSError."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def join_network(network: int) -> None:
    """Move this process to the network of sessions. Raises OSError."""
    join_namespace(network, NEW_NETWORK)
