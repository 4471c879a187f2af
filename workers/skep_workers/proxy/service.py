"""The proxy's process: carries out what the worker says, until the control socket ends."""

import asyncio
import os
import resource
import socket
from typing import Final

from skep_shared.isolation.internet_addresses import check_internal_network
from skep_workers.proxy.control import ControlChannel, Message
from skep_workers.proxy.outside import Outside
from skep_workers.proxy.permissions import Permissions
from skep_workers.proxy.server import MAX_CLIENTS, ProxyServer
from skep_workers.proxy.socket_supply import supply_sockets

DESCRIPTORS_EACH: Final = 3  # of a client: its connection, its server's, and one for the resolution of a name
OTHER_DESCRIPTORS: Final = 64
MAX_REFUSALS: Final = 1000  # reports that the worker has not taken; further ones are dropped


class ProxyService:
    """The parts of the proxy, by what the worker says."""

    def __init__(self, control: socket.socket, outside: Outside) -> None:
        self._outside = outside
        self._permissions = Permissions()
        self._server = ProxyServer(self._permissions, outside, self._report, _raise_descriptor_limit())
        self._ended = asyncio.Event()
        self._listening: set[asyncio.Task[None]] = set()
        self._channel = ControlChannel(control, self._receive, self._ended.set)

    async def run(self) -> None:
        """Serve until the worker has ended."""
        self._channel.send("ready")
        await self._ended.wait()
        await self._server.close()
        self._outside.close()

    def _receive(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case ["hosts", hosts, internal]:
                self._permissions.set_common(hosts)
                self._outside.internal = tuple(map(check_internal_network, internal))
            case ["listen"]:
                listening = socket.socket(fileno=descriptors.pop())
                task = asyncio.get_running_loop().create_task(self._server.listen(listening), name="listen")
                self._listening.add(task)
                task.add_done_callback(self._listening.discard)
            case ["permit", key, digest, hosts]:
                self._permissions.permit(key, digest, hosts)
            case ["revoke", key]:
                self._permissions.revoke(key)
            case ["supply", key]:
                supply_sockets(key, descriptors.pop())
            case ["ping"]:
                self._channel.send("pong")
        for each in descriptors:
            os.close(each)

    def _report(self, key: int, host: str, port: int, reason: str) -> None:
        if self._channel.queued < MAX_REFUSALS:
            self._channel.send("refused", key, host, port, reason)


def _raise_descriptor_limit() -> int:
    """Permit this process as many descriptors as it may have; return how many clients that is enough for."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most == resource.RLIM_INFINITY:
        return MAX_CLIENTS
    return max(1, min(MAX_CLIENTS, (most - OTHER_DESCRIPTORS) // DESCRIPTORS_EACH))


def run(control: int, outside: Outside | None = None) -> None:
    """Run the proxy on this descriptor of its control socket until that ends."""

    async def serve() -> None:
        await ProxyService(socket.socket(fileno=control), outside or Outside()).run()

    asyncio.run(serve())
    os._exit(0)  # threads that resolve names can't be stopped, and have nothing to finish
