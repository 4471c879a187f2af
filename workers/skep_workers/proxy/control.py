"""The socket between the worker and its proxy: packets of msgpack, some with descriptors.

    worker to proxy  ["hosts", hosts of all sessions, private networks]
                     ["listen"] with a listening socket
                     ["permit", key, digest of the token, hosts]   ["revoke", key]
                     ["supply", key] with the descriptor of a session's seccomp filter, see socket_supply.py
                     ["ping"]
    proxy to worker  ["ready"]   ["pong"]
                     ["refused", key, host, port, reason]

The proxy ends when the socket does.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgpack

PACKET_BYTES: Final = 64 * 1024
MAX_QUEUED: Final = 10_000  # messages that the other end has not taken
_MAX_DESCRIPTORS: Final = 4

Message = list[Any]


class ControlChannel:
    """One end of the socket. Sending never blocks: messages wait in order while the other end doesn't read."""

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Message, list[int]], None],
        on_end: Callable[[], None],
    ) -> None:
        """`on_message` receives a message and its descriptors, which it has to close. `on_end` is called once."""
        sock.setblocking(False)
        self._socket = sock
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._queued: deque[tuple[bytes, list[int]]] = deque()
        self._is_open = True
        self._loop.add_reader(sock.fileno(), self._receive)

    def send(self, *message: Any, descriptors: tuple[int, ...] = ()) -> None:
        """Send a message with copies of these descriptors. The channel ends if the other end takes too little."""
        if not self._is_open:
            return
        if len(self._queued) >= MAX_QUEUED:
            self._end()
            return
        self._queued.append((msgpack.packb(message), [os.dup(each) for each in descriptors]))
        self._flush()

    @property
    def queued(self) -> int:
        """Return how many messages the other end has not taken."""
        return len(self._queued)

    def close(self) -> None:
        """End the channel without a call of `on_end`."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        while self._queued:
            _close_all(self._queued.popleft()[1])

    def _flush(self) -> None:
        while self._is_open and self._queued:
            packet, descriptors = self._queued[0]
            try:
                if descriptors:
                    socket.send_fds(self._socket, [packet], descriptors)
                else:
                    self._socket.send(packet)
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._flush)
                return
            except OSError:
                self._end()
                return
            self._queued.popleft()
            _close_all(descriptors)
        if self._is_open:
            self._loop.remove_writer(self._socket.fileno())

    def _receive(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, PACKET_BYTES, _MAX_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if data:
            self._on_message(msgpack.unpackb(data), descriptors)
        else:
            self._end()

    def _end(self) -> None:
        if self._is_open:
            self.close()
            self._on_end()


def _close_all(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)
