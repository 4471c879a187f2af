"""The network of one residency: the same for all of its processes, and ended with it."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

import structlog

from skep_shared.errors import StartError
from skep_shared.isolation.network import GrantedNetwork, Network
from skep_shared.models import SessionOptions
from skep_workers.host.control_groups.session_group import SessionGroup
from skep_workers.host.network.choice import NetworkChoice
from skep_workers.host.network.proxy_process import HOST, OnRefusal, Permission, ProxyProcess
from skep_workers.host.process.process import Parent
from skep_workers.host.process.zygote import Zygote

log = structlog.get_logger()

USER: Final = "skep"
_PROXY_NAMES: Final = ("http_proxy", "https_proxy", "all_proxy")


def proxy_variables(token: str, port: int) -> dict[str, str]:
    """Return the variables by which programs find the proxy, in both spellings that are in use."""
    url = f"http://{USER}:{token}@{HOST}:{port}"
    # Without exceptions: what is not reached through the proxy is not reached at all, and the proxy says why.
    lower = dict.fromkeys(_PROXY_NAMES, url) | {"no_proxy": ""}
    return lower | {name.upper(): value for name, value in lower.items()}


class SessionNetwork:
    """Decides what a session may connect to, and opens it when its first process starts."""

    def __init__(
        self,
        zygote: Zygote,
        choice: NetworkChoice,
        proxy: ProxyProcess,
        options: SessionOptions,
        on_refusal: OnRefusal,
    ) -> None:
        """`on_refusal` is called, not too often, when the proxy has refused a connection."""
        self._zygote = zygote
        self._proxy = proxy
        self._options = options
        self._on_refusal = on_refusal
        self._permission: Permission | None = None
        self._supply: NetworkSupply | None = None
        self.network: Final = choice.network_of(options)
        self.possible: Final = [str(network) for network in choice.possible]
        self.refusal: Final = choice.obstacle(options)

    async def parent(self) -> Parent:
        """Return what forks a process with this network. Raises StartError."""
        if self.refusal:
            raise StartError("network", self.refusal)
        if not self._zygote.has_sandbox or self.network is Network.NONE:
            return self._zygote
        if self.network is Network.HOST:
            return NetworkedParent(self._zygote, GrantedNetwork(Network.HOST))
        await self._proxy.ensure_started()
        if self._permission is None:
            self._permission = self._proxy.permit(self._options.allowed_hosts, self._on_refusal)
        permission, port = self._permission, self._proxy.port
        granted = GrantedNetwork(Network.ALLOW_LIST, (port,), proxy_variables(permission.token, port))
        self._end_supply()
        self._supply = NetworkSupply(lambda listener: self._proxy.supply(permission, listener))
        return NetworkedParent(self._zygote, granted, self._supply)

    def end(self) -> None:
        """End the session's connections."""
        self._end_supply()
        if self._permission is not None:
            self._proxy.revoke(self._permission)
            self._permission = None

    def _end_supply(self) -> None:
        supply, self._supply = self._supply, None
        if supply is not None:
            supply.close()


class NetworkSupply:
    """A socket on which one session process sends the listener of its filter, before it runs anything."""

    def __init__(self, on_listener: Callable[[int], None]) -> None:
        self._on_listener = on_listener
        try:
            self._ours, self.theirs = socket.socketpair()
        except OSError as exc:
            raise StartError("session process", f"its sockets can't be opened ({exc})") from exc
        self._ours.setblocking(False)
        asyncio.get_running_loop().add_reader(self._ours.fileno(), self._receive)

    def close(self) -> None:
        """Stop waiting."""
        self.theirs.close()
        if self._ours.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._ours.fileno())
            self._ours.close()

    def _receive(self) -> None:
        try:
            _, listeners, _, _ = socket.recv_fds(self._ours, 64, 1)
        except BlockingIOError:
            return
        except OSError:
            listeners = []
        self.close()
        for listener in listeners:
            os.set_inheritable(listener, False)
            self._on_listener(listener)


class NetworkedParent:
    """The zygote, for processes of a session that has a network."""

    def __init__(self, zygote: Zygote, granted: GrantedNetwork, supply: NetworkSupply | None = None) -> None:
        self._zygote = zygote
        self._granted = granted
        self._supply = supply

    async def fork(
        self,
        descriptors: list[int],
        directory: str,
        on_exit: Callable[[int | None], None],
        group: SessionGroup | None,
    ) -> int:
        """Fork a session process with these descriptors in this control group; return its pid. Raises StartError."""
        if self._supply is None:
            return await self._zygote.fork(descriptors, directory, on_exit, group, self._granted)
        with self._supply.theirs as theirs:
            return await self._zygote.fork([*descriptors, theirs.fileno()], directory, on_exit, group, self._granted)
