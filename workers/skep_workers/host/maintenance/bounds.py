"""How much a session may retain, and what has to be done to keep it within that: decided from its hash, without I/O."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from skep_shared.settings import WorkerSettings

DAY_MS: Final = 86_400_000
FACT_FIELDS: Final = ("state", "seq", "cursor", "last", "floor", "tail", "active_at", "created_at", "expired")


@dataclass(frozen=True, slots=True)
class SessionBounds:
    """How much sessions retain, and for how long; a time of 0 means no bound."""

    events: int
    events_ms: float
    cell_ids: int
    closed_ms: float
    idle_ms: float

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        """Return the bounds that the settings define."""
        return cls(
            settings.keep_events,
            settings.keep_events_days * DAY_MS,
            settings.keep_cell_ids,
            settings.keep_closed_days * DAY_MS,
            settings.keep_idle_days * DAY_MS,
        )


class Upkeep(StrEnum):
    """What may have to be done to a session; the step that does it checks again whether it is still due."""

    TRIM_BY_COUNT = "trim by count"
    TRIM_BY_AGE = "trim by age"
    FORGET_IDS = "forget ids"
    PURGE_CLOSED = "purge closed"
    EXPIRE = "expire"
    CLOSE_UNUSED = "close unused"


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """The size and age of a session, as its hash has them.

    ids: how many cell ids are recorded. expires_ms: after how long it is closed if it has no cell; None: never.
    """

    state: str
    seq: int
    cursor: int
    last: int
    floor: int
    tail: int
    active_ms: float
    is_expired: bool
    ids: int
    expires_ms: float | None = None

    @classmethod
    def read(cls, values: Mapping[str, bytes | None], ids: int, expires_in: bytes = b"") -> Self:
        """Read the values of FACT_FIELDS; without `state` the session does not exist. Raises ValueError."""

        def number(name: str, default: int = 0) -> int:
            return int(values[name] or default)

        return cls(
            (values["state"] or b"").decode(),
            number("seq"),
            number("cursor"),
            number("last"),
            number("floor", 1),
            number("tail", 1),
            number("active_at", number("created_at")),
            values["expired"] is not None,
            ids,
            float(expires_in) * 1000 if expires_in else None,
        )

    def first_to_keep(self, events: int) -> int:
        """Return the number of the first of the latest `events` events."""
        return max(1, self.last - events + 1)


def work_on(facts: SessionFacts, bounds: SessionBounds, now_ms: float) -> list[Upkeep]:
    """Return what has to be done, or checked more closely, in this order."""
    if not facts.state or facts.is_expired:
        return [Upkeep.EXPIRE]
    if facts.state == "open" and bounds.idle_ms and facts.active_ms < now_ms - bounds.idle_ms:
        return [Upkeep.EXPIRE]
    is_open = facts.state == "open" and facts.seq == facts.cursor
    if is_open and facts.expires_ms is not None and facts.active_ms <= now_ms - facts.expires_ms:
        return [Upkeep.CLOSE_UNUSED]
    work = [Upkeep.PURGE_CLOSED] if facts.state == "closed" and bounds.closed_ms else []
    # Only events before `tail`, the last committed cell's, can be trimmed. Without this limit a session with one huge
    # cell would be tried each time.
    if min(facts.first_to_keep(bounds.events), facts.tail) > facts.floor:
        work.append(Upkeep.TRIM_BY_COUNT)
    elif bounds.events_ms and facts.tail > facts.floor:
        work.append(Upkeep.TRIM_BY_AGE)
    # All ids have to be read to find the old ones, so this waits until there are a tenth too many.
    pending = facts.seq - facts.cursor
    if facts.ids - pending > bounds.cell_ids + math.ceil(bounds.cell_ids / 10):
        work.append(Upkeep.FORGET_IDS)
    return work
