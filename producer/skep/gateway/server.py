"""Serves the gateway: its socket, its signals, its start and its end.

On SIGTERM or SIGINT streams and waits end first, with the pause after which to resume, then no connection is accepted
any more, and requests may continue for `grace_seconds`. A server that only waits for its connections would wait for
open streams until it is killed.
"""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn

from skep.gateway.app import create_app
from skep.gateway.clusters import TenantClusters
from skep.gateway.context import Gateway
from skep.gateway.launch_token import LaunchToken
from skep.gateway.metrics import Metrics
from skep.gateway.quota import Quota
from skep.gateway.settings import GatewaySettings
from skep.gateway.streams.feeds import Feeds
from skep.gateway.tokens.access import AnyOf, Kind, TokenChecker
from skep.gateway.tokens.identity_provider import open_identity_provider
from skep.gateway.tokens.identity_settings import IdentitySettings
from skep.gateway.tokens.logins import Logins
from skep.gateway.tokens.signed_links import LinkSigner
from skep.gateway.tokens.store import TokenStore
from skep.gateway.tokens.token_checker import RedisTokens
from skep.gateway.webhooks.network import Addresses
from skep.gateway.webhooks.senders import WebhookSenders
from skep.gateway.webhooks.settings import WebhookSettings
from skep.gateway.webhooks.store import WebhookStore
from skep_shared.errors import InvalidArgument, StartError
from skep_shared.settings import Settings

BACKLOG: Final = 2048
IDLE_CONNECTION_SECONDS: Final = 75
UNREAD_MARGIN_SECONDS: Final = 5  # streams notice it first, and count it
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gateway listens. If there are no tokens: the link that logs a browser in once, and a token of its own."""

    url: str
    link: str | None
    token: str | None


class _Server(uvicorn.Server):
    """A server that leaves signals to us: its own handlers would wait for open streams, and raise the signal again."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


def open_socket(settings: GatewaySettings) -> socket.socket:
    """Return the listening socket. Raises InvalidArgument for an unknown address, StartError for a port in use."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        raise InvalidArgument("gateway_host", settings.host, f"no such address: {exc}") from exc
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by connections. Ends those that are closed, and whose client reads nothing: the kernel would wait.
        unread_ms = int((settings.unread_seconds + UNREAD_MARGIN_SECONDS) * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms)
        listener.bind(address)
    except OSError as exc:
        listener.close()
        reason = f"{settings.host}:{settings.port}: {exc.strerror or exc}"
        if exc.errno == errno.EADDRINUSE:
            reason = (
                f"port {settings.port} of {settings.host} is in use: choose another one (--port, 0 is any free one)"
            )
        raise StartError("gateway", reason) from exc
    return listener


async def serve(
    listener: socket.socket, settings: GatewaySettings, client: Settings, on_ready: Callable[[Address], None]
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the grace period.

    on_ready: called when requests are accepted. client: the settings of the connection to Redis; its
    tenant limits the token and the logins of a gateway without other tokens. Raises InvalidArgument
    for an address that others can reach if there are no tokens, and what `skep.connect` raises.
    """
    webhooks, identity = WebhookSettings.load(), IdentitySettings.load()
    clusters = TenantClusters(client, settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(clusters.aclose)
        shard = await stack.enter_async_context(clusters.of(None))
        checkers: dict[Kind, TokenChecker] = {
            Kind.TOKEN: await stack.enter_async_context(RedisTokens(shard.link)),
        }
        if identity.jwks_url:
            checkers[Kind.IDENTITY] = await stack.enter_async_context(open_identity_provider(identity))
        launch: LaunchToken | None = None
        logins: Logins | None = None
        if not identity.jwks_url and not await TokenStore(shard.link).has_any():
            if not settings.is_loopback:
                limit = "there are no tokens, so only a loopback address is served: skep tokens create makes one"
                raise InvalidArgument("gateway_host", settings.host, limit)
            checkers[Kind.LAUNCH] = launch = LaunchToken(client.tenant)
            checkers[Kind.LOGIN] = logins = Logins(tenant=client.tenant)
        metrics = Metrics()
        feeds = Feeds(settings, metrics)
        stack.push_async_callback(feeds.aclose)
        addresses = stack.enter_context(Addresses(webhooks.internal_networks))
        await stack.enter_async_context(WebhookSenders(shard.link, webhooks, addresses))
        gateway = Gateway(
            settings, clusters, AnyOf(checkers), feeds, Quota(settings), LinkSigner(shard.link),
            WebhookStore(shard.link, addresses), metrics=metrics,
        )  # fmt: skip

        def ready(url: str) -> None:
            if launch is None or logins is None:
                on_ready(Address(url, None, None))
            else:
                on_ready(Address(url, f"{url}/?token={logins.new_link_token()}", launch.text))

        await _run(gateway, logins, listener, ready)


async def _run(
    gateway: Gateway, logins: Logins | None, listener: socket.socket, on_ready: Callable[[str], None]
) -> None:
    settings = gateway.settings
    loop = asyncio.get_running_loop()

    def started() -> None:
        host, port = listener.getsockname()[:2]
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    server = _Server(
        uvicorn.Config(
            create_app(gateway, logins), lifespan="off", ws="none", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, timeout_keep_alive=IDLE_CONNECTION_SECONDS, backlog=BACKLOG,
            timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
        ),
        started,
    )  # fmt: skip

    def stop() -> None:
        if gateway.shutdown.has_begun:
            server.force_exit = True
        gateway.shutdown.begin()
        server.should_exit = True

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="HTTP server")
    try:
        await asyncio.shield(serving)
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        stop()
        await asyncio.wait([serving], timeout=settings.grace_seconds + 5)
