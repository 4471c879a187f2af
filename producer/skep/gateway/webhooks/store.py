"""The webhooks of a shard in Redis: what tenants ask for, and how far each has come."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from skep.gateway.webhooks.definition import Webhook, WebhookSpec, full_name_of
from skep.gateway.webhooks.network import Addresses
from skep.gateway.webhooks.retries import Failure
from skep.link import ShardLink
from skep.listings.index_pages import index_pages, read_each
from skep.reader import check_event_id
from skep_shared.broker.webhook_scripts import WebhookScripts
from skep_shared.errors import InvalidArgument, NotFound
from skep_shared.limits import check_full_session_id, check_tenant, check_webhook_name

MOST_OF_TENANT: Final = 100
MOST: Final = 2_000
SHOWN_FAILURES: Final = 20


@dataclass(frozen=True, slots=True)
class WebhookState:
    """A webhook and how it is. disabled_because: "" for one that is sent for. Aware times.

    failures: by the id of the session, as its tenant knows it; at most SHOWN_FAILURES of the `failing` ones.
    """

    webhook: Webhook
    disabled_at: datetime | None
    disabled_because: str
    failing: int
    failures: Mapping[str, Failure]

    def as_record(self) -> dict[str, Any]:
        """Return what a GET shows, without the secret."""
        webhook = self.webhook
        return {
            "name": webhook.name,
            "url": webhook.url,
            "events": webhook.events,
            "labels": webhook.labels,
            "prefix": webhook.prefix,
            "created_at": datetime.fromtimestamp(webhook.created_at_ms / 1000, UTC).isoformat(),
            "state": "disabled" if self.disabled_at else "failing" if self.failing else "active",
            "disabled_at": self.disabled_at.isoformat() if self.disabled_at else None,
            "disabled_because": self.disabled_because,
            "failing_sessions": self.failing,
            "failures": [
                {
                    "session_id": session_id,
                    "event_id": f"{failure.event}-0",
                    "attempts": failure.attempts,
                    "since": datetime.fromtimestamp(failure.first_at, UTC).isoformat(),
                    "next_at": datetime.fromtimestamp(failure.next_at, UTC).isoformat(),
                    "reason": failure.reason,
                }
                for session_id, failure in self.failures.items()
            ],
        }


@dataclass(frozen=True, slots=True)
class StoredWebhook:
    """The answer to a PUT. secret: None if it is as before, and so not shown."""

    webhook: Webhook
    is_new: bool
    secret: str | None


class WebhookStore:
    """Webhooks of tenants (None: of the shard). The link must be one without a tenant.

    All methods raise InvalidArgument for a bad tenant or name, RedisUnavailable and RedisRefused.
    """

    def __init__(self, link: ShardLink, addresses: Addresses) -> None:
        self._link = link
        self._addresses = addresses
        self._scripts = WebhookScripts(link.redis, link.keys)

    async def put(self, tenant: str | None, name: str, spec: WebhookSpec) -> StoredWebhook:
        """Create a webhook or replace one; it sends what happens from now on, and is enabled again if it was disabled.

        A replaced one continues where it was, in sessions that it had before. Raises InvalidArgument too for a URL that
        leads to an address which is not permitted, and for too many webhooks.
        """
        full_name = self._full_name(tenant, name)
        await self._addresses.check(spec.url)
        before = await self._read(full_name)
        webhook = Webhook.make(name, tenant, spec, before, now_ms=int(time.time() * 1000))
        await self._begin_now(webhook, before)
        packed = webhook.model_dump_json().encode()
        full = await self._link.persist(
            lambda: self._scripts.put(full_name, packed, most_of_tenant=MOST_OF_TENANT, most=MOST)
        )
        if full is not None:
            await self._link.persist(lambda: self._scripts.remove(full_name))
            raise InvalidArgument("name", name, f"there are {full[0]} webhooks already, and the bound is {full[1]}")
        is_same_secret = before is not None and before.secret == webhook.secret
        return StoredWebhook(webhook, before is None, None if is_same_secret else webhook.secret)

    async def get(self, tenant: str | None, name: str) -> WebhookState:
        """Return a webhook. Raises NotFound."""
        webhook = await self._read(self._full_name(tenant, name))
        if webhook is None:
            raise NotFound("webhook", name)
        return await self._state(webhook)

    async def list(self, tenant: str | None) -> list[WebhookState]:
        """Return the webhooks of a tenant, by name."""
        scope = full_name_of(None if tenant is None else check_tenant(tenant), "")
        stored = await self._link.persist(lambda: self._link.redis.execute_command("HGETALL", self._link.keys.webhooks))
        found = [unpack_webhook(packed) for name, packed in stored.items() if name.startswith(scope.encode())]
        return [await self._state(webhook) for webhook in sorted(found, key=lambda each: each.name)]

    async def delete(self, tenant: str | None, name: str) -> None:
        """Remove a webhook. Raises NotFound."""
        full_name = self._full_name(tenant, name)
        if not await self._link.persist(lambda: self._scripts.remove(full_name)):
            raise NotFound("webhook", name)

    async def replay(self, tenant: str | None, name: str, session_id: str, after: str) -> None:
        """Send the events of a session after this event id again, as far as they are stored.

        An id ahead of the last delivered event leaves out what is in between. Raises InvalidArgument, NotFound.
        """
        number = check_event_id("after", after)
        full_id = check_full_session_id(f"{tenant}/{session_id}" if tenant else session_id)
        hash_key = self._link.keys.session(full_id)
        last, created_at = await self._link.persist(
            lambda: self._link.redis.execute_command("HMGET", hash_key, "last", "created_at")
        )
        if created_at is None:
            raise NotFound("session", session_id)
        if number > int(last or 0):
            raise InvalidArgument("after", after, f"the last event of the session is {int(last or 0)}-0")
        cursor = cursor_text(number, int(created_at))
        full_name = self._full_name(tenant, name)
        if not await self._link.persist(lambda: self._scripts.replay(full_name, full_id, cursor)):
            raise NotFound("webhook", name)

    def _full_name(self, tenant: str | None, name: str) -> str:
        return full_name_of(None if tenant is None else check_tenant(tenant), check_webhook_name(name))

    async def _read(self, full_name: str) -> Webhook | None:
        webhooks = self._link.keys.webhooks
        packed = await self._link.persist(lambda: self._link.redis.execute_command("HGET", webhooks, full_name))
        return None if packed is None else unpack_webhook(packed)

    async def _state(self, webhook: Webhook) -> WebhookState:
        keys, name = self._link.keys, webhook.full_name
        (disabled, reason), failing, page = await read_each(
            self._link,
            [
                ("HMGET", keys.webhook(name), "disabled", "reason"),
                ("HLEN", keys.webhook_failures(name)),
                ("HSCAN", keys.webhook_failures(name), "0", "COUNT", str(SHOWN_FAILURES)),
            ],
        )
        scope = f"{webhook.tenant}/" if webhook.tenant else ""
        failures = {
            full_id.decode().removeprefix(scope): Failure.unpack(packed)
            for full_id, packed in sorted(page[1].items())[:SHOWN_FAILURES]
        }
        disabled_at = None if disabled is None else datetime.fromtimestamp(int(disabled) / 1000, UTC)
        return WebhookState(webhook, disabled_at, (reason or b"").decode(), failing, failures)

    async def _begin_now(self, webhook: Webhook, before: Webhook | None) -> None:
        """Set the cursors of existing sessions to their last events, except of sessions that `before` has sent for.

        What happens to a session after this is sent, and so is all of a session that is made meanwhile.
        """
        link, cursors = self._link, self._link.keys.webhook_cursors(webhook.full_name)
        if before is None:
            await link.persist(lambda: link.redis.execute_command("UNLINK", cursors))
        index = link.keys.sessions_of(webhook.tenant) if webhook.tenant else link.keys.sessions
        async for full_ids in index_pages(link, index):
            new = [each for each in full_ids if before is None or not before.wants_session(each)]
            rows = await read_each(link, [("HMGET", link.keys.session(each), "last", "created_at") for each in new])
            pairs = [
                (full_id, cursor_text(int(last or 0), int(created_at)))
                for full_id, (last, created_at) in zip(new, rows, strict=True)
                if created_at is not None
            ]
            if pairs:
                await read_each(link, [("HSET", cursors, *(part for pair in pairs for part in pair))])


def unpack_webhook(packed: bytes) -> Webhook:
    """Return a webhook from its stored form. Raises ValueError."""
    return Webhook.model_validate_json(packed)


def cursor_text(event: int, created_at_ms: int) -> str:
    """Return a stored cursor: of a session with this time of creation, so that it is not one of a later session."""
    return f"{event}:{created_at_ms}"


def read_cursor(stored: bytes | None, created_at_ms: int) -> int:
    """Return the number of the last delivered event; 0 if the cursor is of an earlier session with the same id."""
    event, _, created = (stored or b"").decode().partition(":")
    return int(event) if created == str(created_at_ms) and event.isdigit() else 0
