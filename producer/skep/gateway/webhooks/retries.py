"""When an event that was not accepted is sent again, and when its webhook is disabled. No I/O."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Self

from skep.gateway.webhooks.delivery import Answer
from skep.gateway.webhooks.settings import WebhookSettings

_LARGEST_POWER = 30


@dataclass(frozen=True, slots=True)
class Failure:
    """An event of a session that was not accepted so far. Unix times in seconds. reason: of the last try."""

    event: int
    attempts: int
    first_at: float
    next_at: float
    reason: str

    def pack(self) -> bytes:
        """Return the stored form."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return the object from its stored form. Raises ValueError for any other bytes."""
        try:
            return cls(**json.loads(packed))
        except TypeError as exc:
            raise ValueError(str(exc)) from exc


def next_failure(
    event: int,
    answer: Answer,
    before: Failure | None,
    settings: WebhookSettings,
    *,
    now: float,
    jitter: Callable[[float, float], float] = random.uniform,
) -> Failure:
    """Return the failure after this answer. The pauses double, and differ by chance, so that receivers recover."""
    if before is not None and before.event != event:
        before = None
    attempts = 1 if before is None else before.attempts + 1
    pause = settings.first_retry_seconds * 2.0 ** min(attempts - 1, _LARGEST_POWER)
    pause = min(max(pause, answer.retry_after_seconds), settings.longest_retry_seconds)
    first_at = now if before is None else before.first_at
    return Failure(event, attempts, first_at, now + pause * jitter(0.5, 1.0), answer.failure)


def why_disabled(session_id: str, failure: Failure, answer: Answer, settings: WebhookSettings, *, now: float) -> str:
    """Return why the webhook is disabled after this failure, "" if it is not."""
    if answer.is_gone:
        return f"{answer.failure} (Gone): it wants no more messages"
    if now - failure.first_at < settings.retry_seconds:
        return ""
    hours = (now - failure.first_at) / 3600
    return (
        f"event {failure.event}-0 of session {session_id!r} was not accepted for {hours:.1f} h, in "
        f"{failure.attempts} tries; the last time {failure.reason}"
    )
