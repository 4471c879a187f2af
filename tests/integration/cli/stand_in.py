"""Stands in for the Python interpreter where tests run commands: passes the command on to command_server.py.

This file runs as an executable, alone and without site-packages, so that it starts in a fraction of the time that the
imports of the command line take. The server's socket is in the same directory. It sends its arguments, environment,
directory and descriptors, passes on signals, and ends as the command ends. If it is killed, the server kills the
command.
"""

import json
import os
import signal
import socket
import sys

STATUS_BYTES = 64
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Ask the server to run the command, and end as it ends."""
    numbers = sorted(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib's import takes longer
    numbers = [number for number in numbers if is_open(number)]  # without the one that listed them
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.connect(f"{os.path.dirname(sys.argv[0])}/socket")  # noqa: PTH120 - as above
    order = {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "directory": os.getcwd(),  # noqa: PTH109 - as above
        "numbers": numbers,
    }
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: server.send(str(int(number)).encode()))
    socket.send_fds(server, [json.dumps(order).encode()], numbers)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in numbers:  # a reader of the command's output must not wait for our end too
        os.dup2(nothing, number)
    status = int(server.recv(STATUS_BYTES))
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def is_open(number: int) -> bool:
    """Return whether this descriptor is open."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


main()
