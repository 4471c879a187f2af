"""Tenants, as operators see them: which quotas each has, and what it uses of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from skep.link import ShardLink
from skep_shared.errors import NotFound
from skep_shared.isolation.tenants import TenantQuotas, TenantUse
from skep_shared.limits import check_tenant


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant, its quotas, and what it uses of them."""

    id: str
    quotas: TenantQuotas
    use: TenantUse


async def list_tenants(link: ShardLink) -> list[Tenant]:
    """Return the tenants that have quotas, by name. Raises RedisUnavailable."""
    stored = await link.persist(lambda: link.redis.execute_command("HGETALL", link.keys.tenants))
    quotas = {name.decode(): TenantQuotas.unpack(packed) for name, packed in stored.items()}
    return [Tenant(name, quotas[name], await _read_use(link, name)) for name in sorted(quotas)]


async def read_tenant(link: ShardLink, tenant: str) -> Tenant:
    """Return a tenant. Raises InvalidArgument, NotFound if it has neither quotas nor sessions, RedisUnavailable."""
    quotas, use = await _read_quotas(link, check_tenant(tenant)), await _read_use(link, tenant)
    if quotas is None and use.sessions == 0:
        raise NotFound("tenant", tenant)
    return Tenant(tenant, quotas or TenantQuotas(), use)


async def set_quotas(link: ShardLink, tenant: str, changes: Mapping[str, int | None]) -> Tenant:
    """Set quotas of a tenant, None to remove one; the others remain as they are. They hold from the next submit on.

    Raises InvalidArgument, RedisUnavailable.
    """
    before = await _read_quotas(link, check_tenant(tenant)) or TenantQuotas()
    quotas = TenantQuotas.checked(**before.model_dump() | dict(changes))
    await link.persist(lambda: link.redis.execute_command("HSET", link.keys.tenants, tenant, quotas.pack()))
    return Tenant(tenant, quotas, await _read_use(link, tenant))


async def remove_quotas(link: ShardLink, tenant: str) -> None:
    """Remove all quotas of a tenant; its sessions remain. Raises InvalidArgument, NotFound, RedisUnavailable."""
    check_tenant(tenant)
    if not await link.persist(lambda: link.redis.execute_command("HDEL", link.keys.tenants, tenant)):
        raise NotFound("tenant", tenant)


async def _read_quotas(link: ShardLink, tenant: str) -> TenantQuotas | None:
    packed = await link.persist(lambda: link.redis.execute_command("HGET", link.keys.tenants, tenant))
    return None if packed is None else TenantQuotas.unpack(packed)


async def _read_use(link: ShardLink, tenant: str) -> TenantUse:
    keys, redis = link.keys, link.redis
    fields = await link.persist(lambda: redis.execute_command("HGETALL", keys.tenant(tenant)))
    sessions = await link.persist(lambda: redis.execute_command("ZCARD", keys.sessions_of(tenant)))
    resident = await link.persist(lambda: redis.execute_command("SCARD", keys.resident(tenant)))
    cpu_ms = await link.persist(lambda: redis.execute_command("GET", keys.cpu(tenant)))
    return TenantUse.read(fields, sessions=sessions, resident=resident, cpu_ms=int(cpu_ms or 0))
