"""Connections to https receivers and identity providers are closed, however their handshake ends."""

import asyncio
import contextlib
import gc

import pytest

from skep.gateway.tokens.identity_settings import IdentitySettings
from skep.gateway.tokens.provider_keys import ProviderKeys
from skep.gateway.webhooks.delivery import Poster
from skep.gateway.webhooks.network import Addresses
from skep.gateway.webhooks.settings import WebhookSettings
from skep_shared.errors import IdentityUnavailable

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


class SilentServer:
    """Accepts connections, and never answers a handshake. `greeted`, `left`: whether a client has sent something, has closed."""

    def __init__(self):
        self.greeted, self.left = asyncio.Event(), asyncio.Event()

    async def serve(self, reader, writer):
        with contextlib.closing(writer):
            await reader.read(1)
            self.greeted.set()
            with contextlib.suppress(ConnectionError):
                while await reader.read(1024):
                    pass
            self.left.set()


@pytest.fixture
async def silent():
    gc.disable()  # it would close a forgotten connection, sooner or later
    server = SilentServer()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listener:
        server.port = listener.sockets[0].getsockname()[1]
        yield server
    gc.enable()


@contextlib.asynccontextmanager
async def poster_of(**given):
    settings = WebhookSettings.load(internal=["127.0.0.0/8"], **given)
    with Addresses(settings.internal_networks) as addresses:
        async with Poster(settings, addresses) as poster:
            yield poster


async def test_a_delivery_cancelled_in_a_handshake_closes_its_connection(silent):
    async with poster_of() as poster:
        delivery = asyncio.create_task(poster.post(f"https://127.0.0.1:{silent.port}/", {}, b"{}"))
        await silent.greeted.wait()
        delivery.cancel()

        await silent.left.wait()
    with pytest.raises(asyncio.CancelledError):
        await delivery


async def test_a_delivery_whose_time_ends_in_a_handshake_closes_its_connection(silent):
    async with poster_of(delivery_seconds=0.2) as poster:
        answer = await poster.post(f"https://127.0.0.1:{silent.port}/", {}, b"{}")

        await silent.left.wait()
    assert answer.failure == "it has not answered within 0.2 s"


async def test_a_fetch_of_keys_whose_time_ends_in_a_handshake_closes_its_connection(silent):
    settings = IdentitySettings.load(
        jwks_url=f"https://127.0.0.1:{silent.port}/", issuer="i", audience="a", fetch_seconds=0.2
    )
    async with ProviderKeys(settings) as keys:
        with pytest.raises(IdentityUnavailable):
            await keys.find("k")

        await silent.left.wait()
