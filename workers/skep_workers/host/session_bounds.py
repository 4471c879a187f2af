"""What a session may keep, and what has to be done about one: decided from its hash, without I/O."""

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
    """How much and how long; a time of 0 means no bound."""

    events: int
    events_ms: float
    cell_ids: int
    closed_ms: float
    idle_ms: float

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        """Read the settings."""
        return cls(
            settings.keep_events,
            settings.keep_events_days * DAY_MS,
            settings.keep_cell_ids,
            settings.keep_closed_days * DAY_MS,
            settings.keep_idle_days * DAY_MS,
        )


class Upkeep(StrEnum):
    """What may have to be done about a session; each is checked again in the step that does it."""

    TRIM_BY_COUNT = "trim by count"
    TRIM_BY_AGE = "trim by age"
    FORGET_IDS = "forget ids"
    PURGE_CLOSED = "purge closed"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What its hash says about a session's size and age. ids: how many cell ids are known."""

    state: str
    seq: int
    cursor: int
    last: int
    floor: int
    tail: int
    active_ms: float
    is_expired: bool
    ids: int

    @classmethod
    def read(cls, values: Mapping[str, bytes | None], ids: int) -> Self:
        """Read the values of FACT_FIELDS; without `state` there is no session."""

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
        )

    def first_to_keep(self, events: int) -> int:
        """Give the number of the first of the latest `events` events."""
        return max(1, self.last - events + 1)


def work_on(facts: SessionFacts, bounds: SessionBounds, now_ms: float) -> list[Upkeep]:
    """Give what is to be done, or looked at closer, in this order."""
    if not facts.state or facts.is_expired:
        return [Upkeep.EXPIRE]
    if facts.state == "open" and bounds.idle_ms and facts.active_ms < now_ms - bounds.idle_ms:
        return [Upkeep.EXPIRE]
    work = [Upkeep.PURGE_CLOSED] if facts.state == "closed" and bounds.closed_ms else []
    # Only what the last committed cell leaves free counts: else a session with one huge cell would be tried each time.
    if min(facts.first_to_keep(bounds.events), facts.tail) > facts.floor:
        work.append(Upkeep.TRIM_BY_COUNT)
    elif bounds.events_ms and facts.tail > facts.floor:
        work.append(Upkeep.TRIM_BY_AGE)
    # All ids have to be read to find the old ones, so it is done for a tenth of them at a time.
    pending = facts.seq - facts.cursor
    if facts.ids - pending > bounds.cell_ids + math.ceil(bounds.cell_ids / 10):
        work.append(Upkeep.FORGET_IDS)
    return work
