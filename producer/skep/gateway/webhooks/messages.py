"""The message that a webhook sends for an event."""

import json
from dataclasses import dataclass

from skep.gateway.webhooks.definition import Webhook
from skep.gateway.webhooks.signature import message_id_of
from skep_shared.events import Event


@dataclass(frozen=True, slots=True)
class Message:
    """What is posted. id: the same for every try and replay of the same event."""

    id: str
    body: bytes


def message_of(webhook: Webhook, full_id: str, created_at_ms: int, event: Event) -> Message:
    """Return the message of an event: {"type": kind, "timestamp": ISO 8601, "data": the event as JSON}.

    The session's id in it is the one that the webhook's tenant uses.
    """
    scope = f"{webhook.tenant}/" if webhook.tenant else ""
    data = event.model_dump(mode="json") | {"session_id": full_id.removeprefix(scope)}
    message = {"type": event.kind, "timestamp": event.at.isoformat(), "data": data}
    body = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return Message(message_id_of(webhook.full_name, full_id, created_at_ms, body), body)
