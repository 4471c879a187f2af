"""Errors of calls: what a client asked for was refused, is not there, or was not done."""

from skep_shared.errors.base import SkepError


class InvalidArgument(SkepError, ValueError):
    """The `value` of `field` violates `limit`. Nothing has been written."""

    def __init__(self, field: str, value: object, limit: str) -> None:
        super().__init__(field, value, limit)
        self.field, self.value, self.limit = field, value, limit

    def __str__(self) -> str:
        """Return the field, the value (shortened) and the limit."""
        try:
            shown = repr(self.value)
        except Exception:  # noqa: BLE001 - the repr is the caller's code, and an int may have too many digits
            shown = f"a value of type {type(self.value).__name__}"
        if len(shown) > 80:
            shown = f"{shown[:60]}… ({len(shown)} characters)"
        return f"{self.field}: {shown} is refused: {self.limit}"


class SignatureRefused(SkepError, ValueError):
    """`what` was refused for its signature: `reason`. It has not run, and was neither unpickled nor carried out."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what, self.reason = what, reason

    def __str__(self) -> str:
        """Return what was refused and why."""
        return f"{self.what} is refused: {self.reason}"


class BacklogFull(SkepError):
    """`session_id` already has `pending` cells waiting; the limit is `limit`."""

    def __init__(self, session_id: str, pending: int, limit: int) -> None:
        super().__init__(session_id, pending, limit)
        self.session_id, self.pending, self.limit = session_id, pending, limit

    def __str__(self) -> str:
        """Return both numbers and what to do."""
        return (
            f"session {self.session_id!r} has {self.pending} cells pending, the limit is {self.limit}: "
            "await some outcomes before submitting more"
        )


class RateExceeded(SkepError):
    """`cells` more cells exceed the limit of `session_id`, `limit` a minute, for another `seconds`; 0: always."""

    def __init__(self, session_id: str, cells: int, limit: int, seconds: float) -> None:
        super().__init__(session_id, cells, limit, seconds)
        self.session_id, self.cells, self.limit, self.seconds = session_id, cells, limit, seconds

    def __str__(self) -> str:
        """Return the limit and what to do."""
        remedy = f"submit again in {self.seconds:.1f} s" if self.seconds else "submit fewer at a time"
        return (
            f"session {self.session_id!r} accepts {self.limit} cells a minute (its limit cells_per_minute), "
            f"and {self.cells} more exceed that: {remedy}"
        )


class QuotaExceeded(SkepError):
    """With the cells of this submit, `quota` of `tenant` would be at `value`, above its `bound`. Nothing was written.

    retry_after: seconds after which the same submit fits; None if that depends on cells that end or on sessions that
    are purged, or if it can never fit.
    """

    def __init__(self, tenant: str, quota: str, value: int, bound: int, retry_after: float | None = None) -> None:
        super().__init__(tenant, quota, value, bound, retry_after)
        self.tenant, self.quota, self.value, self.bound, self.retry_after = tenant, quota, value, bound, retry_after

    def __str__(self) -> str:
        """Return the tenant, the quota, both numbers, and when to try again."""
        return (
            f"tenant {self.tenant!r} would exceed its quota {self.quota}: {self.value}, and the bound is {self.bound}. "
            f"{self._remedy()}"
        )

    def _remedy(self) -> str:
        if self.retry_after is not None:
            day = ", when the next day begins (UTC)" if self.quota == "cpu_seconds_a_day" else ""
            return f"Try again in {self.retry_after:g} s{day}"
        if self.quota == "cells_a_minute":
            return "Submit fewer cells at a time: so many never fit"
        if self.quota == "max_pending":
            return "Try again when some of its cells have ended"
        return "Close and purge some of its sessions, and try again"


class SessionClosed(SkepError):
    """The session `session_id` has been closed and accepts no more cells."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id

    def __str__(self) -> str:
        """Return what to do instead."""
        return f"session {self.session_id!r} is closed: submit to another session id, or purge this one first"


class NotFound(SkepError, LookupError):
    """There is no `what` (session, cell, worker …) called `name`."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(what, name)
        self.what, self.name = what, name

    def __str__(self) -> str:
        """Return the kind and the name."""
        return f"there is no {self.what} {self.name!r}"


class EventsTrimmed(SkepError, LookupError):
    """The events of `cell_id` of `session_id` from `first_event` on are needed; the stored ones begin with `floor`."""

    def __init__(self, session_id: str, cell_id: str, first_event: int, floor: int) -> None:
        super().__init__(session_id, cell_id, first_event, floor)
        self.session_id, self.cell_id, self.first_event, self.floor = session_id, cell_id, first_event, floor

    def __str__(self) -> str:
        """Return both positions, and the settings for retention."""
        return (
            f"cell {self.cell_id!r} of session {self.session_id!r} has ended, but its events begin at "
            f"{self.first_event}-0, and the stored ones at {self.floor}-0: "
            "keep_events and keep_events_days set how many are kept"
        )


class CellForgotten(SkepError, LookupError):
    """`cell_id` was accepted as cell `seq` of `session_id`, but the session only has other cells, up to `last_seq`."""

    def __init__(self, session_id: str, cell_id: str, seq: int, last_seq: int) -> None:
        super().__init__(session_id, cell_id, seq, last_seq)
        self.session_id, self.cell_id, self.seq, self.last_seq = session_id, cell_id, seq, last_seq

    def __str__(self) -> str:
        """Return both positions, the possible reasons, and what to do."""
        return (
            f"cell {self.cell_id!r} was accepted as number {self.seq} of session {self.session_id!r}, which has cells "
            f"up to {self.last_seq} but no longer this one: Redis has lost it (a failover, a restart from an older "
            "file), or the session was purged. Submit it again with the same cell id"
        )


class ClientUnusable(SkepError, RuntimeError):
    """A client was used where it can't work; `reason` includes what to do instead. Nothing was sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Return the reason and the remedy."""
        return f"this client can't be used here: {self.reason}"


class WaitTimeout(SkepError, TimeoutError):
    """`what` had not happened after `seconds`. Only the wait has ended; nothing was cancelled."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(what, seconds)
        self.what, self.seconds = what, seconds

    def __str__(self) -> str:
        """Return what was waited for, and that only the wait has ended."""
        return f"{self.what} had not happened after {self.seconds:g} s; nothing was cancelled, so you can wait again"


class OperationFailed(SkepError):
    """An operation on a session failed: `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Return the reason."""
        return f"the session could not answer: {self.reason}"
