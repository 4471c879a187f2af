"""What a zygote answers when it can't fork."""

import os
import socket

import msgpack

from skep_workers.session.zygote import ZygoteServer


class FullMachine:
    """A sandbox on a machine with too many processes."""

    own_processes = frozenset()

    def fork(self):
        raise OSError(11, "Resource temporarily unavailable")

    def prepare_next(self):
        raise OSError(11, "Resource temporarily unavailable")


def test_a_fork_that_fails_is_refused_with_the_reason_and_the_zygote_continues():
    host, zygote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    read, write = os.pipe()
    with host, zygote:
        server = ZygoteServer(zygote, None, FullMachine())
        server._fork(7, "directory", "private", [], 0, [write])

        assert msgpack.unpackb(host.recv(1000)) == ["refused", 7, "[Errno 11] Resource temporarily unavailable"]
        assert os.read(read, 1) == b""  # the descriptors that came with the request are closed
    os.close(read)
