"""The gateway's connections to Redis: one client for each tenant that has requests or streams, and no more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from skep.cluster import Cluster, OpenShard
from skep.gateway.problems import Refused
from skep.gateway.settings import GatewaySettings
from skep.link import ShardLink
from skep_shared.settings import Settings

CLOSE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class TenantCluster:
    """A client of one tenant, or of the whole shard if `tenant` is None."""

    tenant: str | None
    cluster: Cluster
    link: ShardLink


@dataclass(slots=True)
class _Open:
    """A client that is open, and how many use it."""

    found: TenantCluster
    shard: OpenShard
    users: int = 0


class TenantClusters:
    """Opens a client for each tenant when it is needed; the one unused for longest makes room for another one."""

    def __init__(self, settings: Settings, gateway: GatewaySettings) -> None:
        self._settings = settings.model_copy(
            update={"max_connections": gateway.redis_connections, "outage_seconds": gateway.outage_seconds}
        )
        self._most = gateway.max_tenants
        self._open: dict[str | None, _Open] = {}  # the one used last comes last
        self._opening: dict[str | None, asyncio.Lock] = {}

    def __len__(self) -> int:
        return len(self._open)

    @contextlib.asynccontextmanager
    async def of(self, tenant: str | None) -> AsyncIterator[TenantCluster]:
        """Yield the client of a tenant. Raises Refused if too many are in use, and what `skep.connect` raises."""
        entry = await self._entry(tenant)
        entry.users += 1
        try:
            yield entry.found
        finally:
            entry.users -= 1

    async def _entry(self, tenant: str | None) -> _Open:
        while True:
            if (known := self._open.pop(tenant, None)) is not None:
                self._open[tenant] = known
                return known
            async with self._opening.setdefault(tenant, asyncio.Lock()):
                if tenant in self._open:
                    continue
                await self._make_room()
                shard = OpenShard(self._settings.model_copy(update={"tenant": tenant}))
                try:
                    link, replies = await shard.__aenter__()
                finally:
                    self._opening.pop(tenant, None)
                self._open[tenant] = _Open(TenantCluster(tenant, Cluster(link, replies), link), shard)

    async def _make_room(self) -> None:
        if len(self._open) + len(self._opening) <= self._most:
            return
        unused = next((tenant for tenant, entry in self._open.items() if not entry.users), self)
        if unused is self:
            kind = (503, "Too many tenants at a time", "Try again later, or ask the operator for a higher limit.")
            detail = f"{self._most} tenants have requests or streams here."
            raise Refused("TooManyTenants", kind, detail, retry_after=5, limit=self._most)
        assert unused is None or isinstance(unused, str)  # noqa: S101 - for mypy
        await self._open.pop(unused).shard.__aexit__(None, None, None)

    async def aclose(self) -> None:
        """Close every client."""
        entries, self._open = list(self._open.values()), {}
        for entry in entries:
            await entry.shard.__aexit__(None, None, None)
