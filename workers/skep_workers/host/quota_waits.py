"""Sessions that wait because their tenant's quota of resident sessions is used up.

They wait in Redis, where every worker finds them again after a while. A worker that has been offered one also remembers
it, and tries again as soon as a session of the same tenant leaves.
"""

from typing import Final

from skep_shared.full_ids import tenant_of

MOST_REMEMBERED: Final = 100  # of one tenant


class QuotaWaits:
    """The sessions that one worker could not claim because of a quota, by tenant, first come first served."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, None]] = {}  # dicts as ordered sets

    def add(self, session_id: str) -> None:
        """Remember a session, unless too many of its tenant are remembered already."""
        waiting = self._waiting.setdefault(tenant_of(session_id), {})
        if len(waiting) < MOST_REMEMBERED:
            waiting[session_id] = None

    def pop_next(self, tenant: str) -> str | None:
        """Return the session of the tenant that has been remembered for longest, and forget it; None without one."""
        waiting = self._waiting.get(tenant)
        if not waiting:
            return None
        session_id = next(iter(waiting))
        del waiting[session_id]
        if not waiting:
            del self._waiting[tenant]
        return session_id
