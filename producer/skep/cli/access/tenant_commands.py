# ruff: noqa: PLC0415 - as in app.py
"""The commands below `skep tenants`, and their flags."""

from typing import Annotated, Final

import typer

from skep.cli.flags import JsonFlag, Place, PrefixFlag, RedisFlag
from skep.cli.output.failures import run_to_exit

tenants_app: Final = typer.Typer(
    add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, rich_markup_mode=None
)

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.", show_default=False)]


@tenants_app.callback(invoke_without_command=True)
def tenants(
    context: typer.Context, as_json: JsonFlag = False, redis: RedisFlag = None, prefix: PrefixFlag = None
) -> int:
    """List tenants and their quotas, or set them."""
    from skep.cli.access.tenant_listing import show_all

    if context.invoked_subcommand is not None:
        return 0
    return run_to_exit(show_all(Place(redis, prefix), as_json=as_json))


@tenants_app.command()
def show(tenant: TenantArgument, as_json: JsonFlag = False, redis: RedisFlag = None, prefix: PrefixFlag = None) -> int:
    """Show a tenant's quotas and what it uses of them."""
    from skep.cli.access.tenant_listing import show_one

    return run_to_exit(show_one(tenant, Place(redis, prefix), as_json=as_json))


@tenants_app.command(name="set")
def set_quotas(  # noqa: PLR0913, PLR0917 - one for each flag
    tenant: TenantArgument,
    max_resident: Annotated[
        int | None, typer.Option("--max-resident", metavar="N", help="Sessions that may be resident at a time.")
    ] = None,
    max_pending: Annotated[
        int | None, typer.Option("--max-pending", metavar="N", help="Cells that may wait or run.")
    ] = None,
    cells_a_minute: Annotated[
        int | None, typer.Option("--cells-a-minute", metavar="N", help="Cells that may be submitted a minute.")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option("--max-bytes", metavar="N", help="Bytes of checkpoints; above, submits are refused.")
    ] = None,
    cpu_seconds_a_day: Annotated[
        int | None, typer.Option("--cpu-seconds-a-day", metavar="N", help="Processor time of its sessions, UTC days.")
    ] = None,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
) -> int:
    """Set quotas of a tenant; 0 removes one, those not given remain.

    They hold from the next submit on. Sessions that are resident remain so.
    """
    from skep.cli.access.tenant_listing import change

    given = {
        "max_resident": max_resident,
        "max_pending": max_pending,
        "cells_a_minute": cells_a_minute,
        "max_bytes": max_bytes,
        "cpu_seconds_a_day": cpu_seconds_a_day,
    }
    return run_to_exit(change(tenant, given, Place(redis, prefix), as_json=as_json))


@tenants_app.command()
def remove(tenant: TenantArgument, redis: RedisFlag = None, prefix: PrefixFlag = None) -> int:
    """Remove all quotas of a tenant; its sessions remain."""
    from skep.cli.access.tenant_listing import remove as remove_tenant

    return run_to_exit(remove_tenant(tenant, Place(redis, prefix)))
