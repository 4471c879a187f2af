"""What a session of a tenant stores, counted for the tenant's quota."""

import asyncio
from typing import Final

from redis.asyncio import Redis

from skep_shared.broker.keys import Keys
from skep_shared.broker.script_replies import Claim
from skep_shared.broker.tenant_scripts import TenantScripts
from skep_shared.full_ids import tenant_of
from skep_workers.host.broker.backoff import persist


class TenantBytes:
    """Reports the stored bytes of one session to Redis, if it has a tenant; otherwise does nothing."""

    def __init__(self, redis: Redis, keys: Keys, claim: Claim) -> None:
        self.has_tenant: Final = bool(tenant_of(claim.session_id))
        self._scripts = TenantScripts(redis, keys)
        self._claim = claim
        self._reported: int | None = None
        self._turn = asyncio.Lock()  # so that no older count arrives after a newer one

    async def report(self, stored_bytes: int) -> None:
        """Count the session with so many bytes, unless that was the last count. Raises Fenced."""
        if not self.has_tenant:
            return
        async with self._turn:
            if stored_bytes != self._reported:
                charge = self._scripts.charge
                await persist(lambda: charge(self._claim, stored_bytes), "charge", session_id=self._claim.session_id)
                self._reported = stored_bytes
