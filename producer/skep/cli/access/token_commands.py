# ruff: noqa: PLC0415 - as in app.py
"""The commands below `skep tokens`, and their flags."""

from typing import Annotated, Final

import typer

from skep.cli.flags import JsonFlag, Place, PrefixFlag, RedisFlag, TenantFlag
from skep.cli.output.failures import run_to_exit

tokens_app: Final = typer.Typer(
    add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, rich_markup_mode=None
)


@tokens_app.callback(invoke_without_command=True)
def tokens(context: typer.Context) -> int:
    """Make, list and revoke tokens of the HTTP gateway."""
    if context.invoked_subcommand is None:
        print(context.get_help())
    return 0


@tokens_app.command()
def create(
    can: Annotated[
        str, typer.Option("--can", metavar="RIGHTS", help="What it permits: run, read, admin, with commas.")
    ] = "run,read",
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="After 90s, 15m, 12h, 30d or 4w; never: until revoked.")
    ] = "90d",
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="Whom or what it is for.")] = "",
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """Make a token and print it, once.

    It reaches the sessions of --tenant; without one, those of the whole shard. Only a digest of it is stored.
    """
    from skep.cli.access.token_listing import create as create_token

    return run_to_exit(create_token(Place(redis, prefix, tenant), can=can, expires=expires, name=name, as_json=as_json))


@tokens_app.command(name="list")
def list_all(
    as_json: JsonFlag = False, redis: RedisFlag = None, prefix: PrefixFlag = None, tenant: TenantFlag = None
) -> int:
    """List tokens; those that ended in the last 30 days too."""
    from skep.cli.access.token_listing import show_all

    return run_to_exit(show_all(Place(redis, prefix, tenant), as_json=as_json))


@tokens_app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id.", show_default=False)],
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """Revoke a token.

    Within a second it is refused everywhere, and its open streams end.
    """
    from skep.cli.access.token_listing import revoke as revoke_token

    return run_to_exit(revoke_token(token, Place(redis, prefix, tenant)))
