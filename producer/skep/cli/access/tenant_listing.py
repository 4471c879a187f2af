"""`skep tenants` and its commands: the quotas of tenants, as operators set and see them."""

from collections.abc import Mapping
from typing import Any

from skep.cli.flags import Place
from skep.cli.output.listings import Listing
from skep.cli.output.screen import Screen
from skep.cli.output.tables import Column
from skep.cli.places import named_link
from skep.tenants import Tenant, list_tenants, read_tenant, remove_quotas, set_quotas

_COLUMNS = (
    Column("TENANT", may_shrink=True),
    Column("SESSIONS"),
    Column("RESIDENT"),
    Column("PENDING"),
    Column("CELLS/MIN"),
    Column("BYTES"),
    Column("CPU S/DAY"),
)


async def show_all(place: Place, *, as_json: bool) -> int:
    """Print the tenants that have quotas, and return the exit status."""
    async with named_link(place) as link:
        return _show(await list_tenants(link), as_json=as_json)


async def show_one(tenant: str, place: Place, *, as_json: bool) -> int:
    """Print one tenant, and return the exit status."""
    async with named_link(place) as link:
        return _show([await read_tenant(link, tenant)], as_json=as_json)


async def change(tenant: str, given: Mapping[str, int | None], place: Place, *, as_json: bool) -> int:
    """Set the quotas that were given, 0 for none; print the tenant, and return the exit status."""
    changes = {name: number or None for name, number in given.items() if number is not None}
    async with named_link(place) as link:
        return _show([await set_quotas(link, tenant, changes)], as_json=as_json)


async def remove(tenant: str, place: Place) -> int:
    """Remove the quotas of a tenant, and return the exit status."""
    async with named_link(place) as link:
        await remove_quotas(link, tenant)
    print(f"tenant {tenant} has no quotas any more; its sessions remain")
    return 0


def _show(found: list[Tenant], *, as_json: bool) -> int:
    none_found = "no tenant has quotas here (skep tenants set sets some)"
    return Listing(_COLUMNS, _row, _record, none_found).show(found, as_json=as_json)


def _row(tenant: Tenant, _screen: Screen) -> list[str]:
    use, quotas = tenant.use, tenant.quotas
    return [
        tenant.id,
        str(use.sessions),
        _of(use.resident, quotas.max_resident),
        _of(use.pending, quotas.max_pending),
        "-" if quotas.cells_a_minute is None else str(quotas.cells_a_minute),
        _of(use.stored_bytes, quotas.max_bytes),
        _of(round(use.cpu_seconds), quotas.cpu_seconds_a_day),
    ]


def _of(used: int, bound: int | None) -> str:
    return f"{used}/{'-' if bound is None else bound}"


def _record(tenant: Tenant) -> dict[str, Any]:
    return {"tenant": tenant.id, "quotas": tenant.quotas.model_dump(), "use": tenant.use.model_dump()}
