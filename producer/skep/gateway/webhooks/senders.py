"""Runs the senders of the webhooks that no other gateway sends for."""

import asyncio
import functools
import logging
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Final

from skep.gateway.background_task import BackgroundTask
from skep.gateway.webhooks.delivery import Poster
from skep.gateway.webhooks.network import Addresses
from skep.gateway.webhooks.sender import Sender
from skep.gateway.webhooks.session_changes import SessionChanges
from skep.gateway.webhooks.settings import WebhookSettings
from skep.gateway.webhooks.store import unpack_webhook
from skep.link import ShardLink
from skep_shared.broker.webhook_scripts import HoldStatus, WebhookScripts
from skep_shared.errors import SkepError
from skep_shared.foreign_errors import describe_error

LOOK_SECONDS: Final = 1.0
_log: Final = logging.getLogger(__name__)


class WebhookSenders(BackgroundTask):
    """All senders of one process; `async with` owns their tasks. The link must be one without a tenant.

    Its end cancels deliveries and ends the leases: an event whose delivery was cut off is sent again.
    """

    task_name = "skep webhooks"

    def __init__(self, link: ShardLink, settings: WebhookSettings, addresses: Addresses) -> None:
        self._link = link
        self._settings = settings
        self._addresses = addresses
        self._scripts = WebhookScripts(link.redis, link.keys)
        self._token = secrets.token_hex(16)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, tuple[bytes, float]] = {}  # what was refused, and until when it is not asked for again

    async def _run(self) -> None:
        changes = SessionChanges(self._link, self._settings.poll_seconds)
        async with changes, Poster(self._settings, self._addresses) as poster, asyncio.TaskGroup() as group:
            send = functools.partial(self._send, poster, changes)
            while True:
                try:
                    await self._start_senders(group, send)
                except SkepError as exc:
                    _log.warning("webhooks: %s", exc)
                await asyncio.sleep(LOOK_SECONDS)

    async def _start_senders(
        self, group: asyncio.TaskGroup, send: Callable[[bytes, str], Coroutine[None, None, None]]
    ) -> None:
        link = self._link
        stored = await link.persist(lambda: link.redis.execute_command("HGETALL", link.keys.webhooks))
        self._running = {name: task for name, task in self._running.items() if not task.done()}
        self._refused = {name: refusal for name, refusal in self._refused.items() if name.encode() in stored}
        for packed_name, packed in stored.items():
            if len(self._running) >= self._settings.most_senders:
                return
            name = packed_name.decode()
            if name in self._running or self._waits(name, packed):
                continue
            # A token for each hold: a sender that is ending must not use the lease of the next one.
            token = f"{self._token}:{secrets.token_hex(8)}"
            if await self._hold(name, packed, token):
                self._running[name] = group.create_task(send(packed, token), name=f"webhook {name}")

    def _waits(self, name: str, packed: bytes) -> bool:
        """Return whether the lease of this webhook was refused a moment ago."""
        refused, until = self._refused.get(name, (b"", 0.0))
        return refused == packed and time.monotonic() < until

    async def _hold(self, name: str, packed: bytes, token: str) -> bool:
        lease_seconds = self._settings.lease_seconds
        held = await self._link.persist(lambda: self._scripts.hold(name, packed, token, int(lease_seconds * 1000)))
        if held in {HoldStatus.HELD, HoldStatus.DISABLED}:
            pause = lease_seconds / 2 * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            self._refused[name] = (packed, time.monotonic() + pause)
        return held is HoldStatus.OK

    async def _send(self, poster: Poster, changes: SessionChanges, packed: bytes, token: str) -> None:
        name = "?"
        try:
            webhook = unpack_webhook(packed)
            name = webhook.full_name
            sender = Sender(self._link, poster, changes, self._settings, webhook=webhook, token=token)
            try:
                await sender.run()
            finally:
                await sender.release()
        except Exception as exc:  # noqa: BLE001 - webhooks are independent: one must not end the others
            _log.warning("webhook %s: its sender has ended and starts again: %s", name, describe_error(exc))
