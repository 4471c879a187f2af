"""The scripts of webhooks, as typed functions."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from skep_shared.broker.script_source import ScriptCalls, load_scripts


class HoldStatus(StrEnum):
    """The status in the reply of hold_webhook.lua."""

    OK = "OK"
    HELD = "HELD"
    STALE = "STALE"
    DISABLED = "DISABLED"


class Progress(NamedTuple):
    """What is recorded of a session. cursor: "" for as before. failure: of its next event, b"" without one."""

    session_id: str
    cursor: str
    failure: bytes = b""


class WebhookScripts(ScriptCalls):
    """The scripts of webhooks; a full name is TENANT/NAME or /NAME.

    All methods raise the driver's errors when Redis can't be reached.
    """

    sources = load_scripts(
        "put_webhook", "remove_webhook", "hold_webhook", "renew_webhook", "record_delivery", "replay_webhook"
    )

    async def put(self, full_name: str, definition: bytes, *, most_of_tenant: int, most: int) -> tuple[int, int] | None:
        """Create or replace a webhook; return how many there are and the bound, if there are too many already."""
        k = self.keys
        keys = (k.webhooks, k.webhook(full_name), k.webhook_failures(full_name), k.webhook_lease(full_name))
        reply = await self._call("put_webhook", keys, (full_name, definition, most_of_tenant, most))
        return None if reply[0] == b"OK" else (reply[1], reply[2])

    async def remove(self, full_name: str) -> bool:
        """Remove a webhook; return whether it existed."""
        k, name = self.keys, full_name
        keys = (k.webhooks, k.webhook(name), k.webhook_cursors(name), k.webhook_failures(name), k.webhook_lease(name))
        return bool((await self._call("remove_webhook", keys, (name,)))[0] == b"OK")

    async def hold(self, full_name: str, definition: bytes, token: str, lease_ms: int) -> HoldStatus:
        """Become the only process that sends for a webhook, as it was read."""
        k = self.keys
        keys = (k.webhooks, k.webhook(full_name), k.webhook_lease(full_name))
        reply = await self._call("hold_webhook", keys, (full_name, definition, token, lease_ms))
        return HoldStatus(reply[0].decode())

    async def renew(self, full_name: str, token: str, lease_ms: int) -> bool:
        """Extend a lease, or with 0 ms end it; return False if it was lost."""
        reply = await self._call("renew_webhook", (self.keys.webhook_lease(full_name),), (token, lease_ms))
        return bool(reply[0] == b"OK")

    async def record(
        self, full_name: str, token: str, sessions: Sequence[Progress], *, disabled_because: str = ""
    ) -> bool:
        """Record the progress of sessions, and that the webhook is disabled; return False if the lease was lost."""
        k = self.keys
        keys = (
            k.webhook_lease(full_name), k.webhook_cursors(full_name), k.webhook_failures(full_name),
            k.webhook(full_name),
        )  # fmt: skip
        args = [token, disabled_because, *(part for progress in sessions for part in progress)]
        return bool((await self._call("record_delivery", keys, args))[0] == b"OK")

    async def replay(self, full_name: str, session_id: str, cursor: str) -> bool:
        """Move the cursor in a session; return False for an unknown webhook."""
        k = self.keys
        keys = (
            k.webhooks, k.webhook_cursors(full_name), k.webhook_failures(full_name), k.webhook_lease(full_name),
        )  # fmt: skip
        return bool((await self._call("replay_webhook", keys, (full_name, session_id, cursor)))[0] == b"OK")
