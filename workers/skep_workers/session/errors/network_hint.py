"""A note on errors of code that has tried to use a network which its session doesn't have.

The kernel only says "Permission denied", and a name that can't be resolved looks like a fault of the name server.
"""

import errno
from typing import Final

from skep_shared.isolation.network import Network
from skep_shared.originals import socket
from skep_workers.session.errors.notes import add_note

MOST_CAUSES: Final = 10
HINTS: Final = {
    Network.NONE: (
        "this session has no network. Ask for one: SessionOptions(network='allow-list', allowed_hosts=[…]), or "
        "network='host' for servers of its own, if the worker permits it (SKEP_NETWORK)"
    ),
    Network.ALLOW_LIST: (
        "this session reaches allowed hosts only (SessionOptions.allowed_hosts), by the proxy that http_proxy and "
        "https_proxy name; servers of its own need SessionOptions(network='host')"
    ),
}


def add_network_hint(exc: BaseException, network: Network) -> None:
    """Add the hint to an error that the missing network has caused."""
    hint = HINTS.get(network)
    if hint is None:
        return
    cause: BaseException | None = exc
    for _ in range(MOST_CAUSES):
        if cause is None:
            return
        if _is_refusal(cause):
            add_note(exc, hint)
            return
        cause = cause.__cause__ or cause.__context__


def _is_refusal(exc: BaseException) -> bool:
    """Return whether the network may have been refused; an error about a file has the file's name."""
    if isinstance(exc, socket.gaierror):
        return True
    return isinstance(exc, PermissionError) and exc.errno == errno.EACCES and exc.filename is None
