"""Posts one message to one URL, within a deadline, and says in a sentence what went wrong."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import httpcore

from skep.gateway.webhooks.network import Addresses, CheckedNetwork
from skep.gateway.webhooks.settings import WebhookSettings
from skep_shared import __version__

ANSWER_BYTES: Final = 16 * 1024  # of a body that are read, so that the connection can be used again
IDLE_SECONDS: Final = 30.0
MOST_CONNECTIONS: Final = 200
GONE: Final = 410
_FIRST_OK, _AFTER_OK = 200, 300
_FIRST_REDIRECT, _AFTER_REDIRECT = 300, 400
_FAILURES: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a delivery led to. failure: "" if it was accepted. retry_after_seconds: that the receiver asks for; 0: none.

    is_gone: the receiver wants no more messages.
    """

    failure: str = ""
    retry_after_seconds: float = 0.0
    is_gone: bool = False


class Poster:
    """The connections of one process to receivers; an asynchronous context manager."""

    def __init__(self, settings: WebhookSettings, addresses: Addresses) -> None:
        self._settings = settings
        self._pools = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=ssl.create_default_context(),
                max_connections=MOST_CONNECTIONS,
                max_keepalive_connections=MOST_CONNECTIONS // 2,
                keepalive_expiry=IDLE_SECONDS,
                network_backend=CheckedNetwork(addresses, is_plain=scheme == "http"),
            )
            for scheme in ("https", "http")
        }

    async def __aenter__(self) -> Self:
        """Return this."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post a message; every failure is an answer. Redirects are not followed: they could lead anywhere."""
        sent: dict[bytes | str, bytes | str] = {
            "host": _host_of(url),
            "content-type": "application/json",
            "content-length": str(len(body)),
            "user-agent": f"skep/{__version__}",
            "accept-encoding": "identity",
        }
        sent.update(headers.items())
        seconds = self._settings.delivery_seconds
        pool = self._pools[url.partition(":")[0]]
        answer: Answer | None = None  # an answer counts even if its body never ends
        try:
            async with asyncio.timeout(seconds), pool.stream("POST", url, headers=sent, content=body) as response:
                answer = _judge(response)
                await _read_some(response)
        except TimeoutError:
            return answer or Answer(f"it has not answered within {seconds:g} s")
        except _FAILURES as exc:
            return answer or Answer(f"{type(exc).__name__}: {exc}"[:300])
        return answer


def _judge(response: httpcore.Response) -> Answer:
    status = response.status
    if _FIRST_OK <= status < _AFTER_OK:
        return Answer()
    if _FIRST_REDIRECT <= status < _AFTER_REDIRECT:
        return Answer(f"it answered {status}, a redirect, which is not followed: set the URL that it leads to")
    return Answer(f"it answered {status}", _retry_after(response), is_gone=status == GONE)


def _retry_after(response: httpcore.Response) -> float:
    text = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    return float(text) if text.isdigit() and len(text) <= 9 else 0.0


async def _read_some(response: httpcore.Response) -> None:
    """Read the body up to a bound; the connection of a longer one is closed when the response is."""
    size = 0
    async for chunk in response.aiter_stream():
        size += len(chunk)
        if size > ANSWER_BYTES:
            return


def _host_of(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition("?")[0]
