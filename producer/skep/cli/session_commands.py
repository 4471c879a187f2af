# ruff: noqa: PLC0415 - `skep --help` must not wait for what only some command needs
"""The commands about one session and their flags; a command's implementation is imported when it is called."""

from collections.abc import Callable
from typing import Annotated, Final

import typer

from skep.cli.flags import JsonFlag, Place, PrefixFlag, RedisFlag, SandboxFlag, SessionArgument, TenantFlag
from skep.cli.output.failures import run_to_exit


def show(
    session: SessionArgument,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """Show a session's state and its last cells."""
    from skep.cli.listing import show_session

    return run_to_exit(show_session(session, Place(redis, prefix, tenant), as_json=as_json))


def interrupt(
    session: SessionArgument,
    cell: Annotated[
        str | None, typer.Option("--cell", metavar="CELL_ID", help="Interrupt this cell, not the running one.")
    ] = None,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """End a session's running cell; the session continues."""
    from skep.cli.control import interrupt as interrupt_session

    return run_to_exit(interrupt_session(session, cell, Place(redis, prefix, tenant)))


def checkpoints(
    session: SessionArgument,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """List a session's checkpoints."""
    from skep.cli.checkpoints import list_checkpoints

    return run_to_exit(list_checkpoints(session, Place(redis, prefix, tenant), as_json=as_json))


def rollback(
    session: SessionArgument,
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="Its id, e.g. 17-0, or its name.", show_default=False)
    ],
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """Go back to an earlier checkpoint.

    Nothing may be running or waiting in the session. Later checkpoints remain until retention removes them.
    """
    from skep.cli.checkpoints import roll_back

    return run_to_exit(roll_back(session, checkpoint, Place(redis, prefix, tenant)))


def fork(
    session: SessionArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new session's id.", show_default=False)],
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="CHECKPOINT", help="The checkpoint to fork, by id or name; the latest if not given."
        ),
    ] = None,
    sandbox: SandboxFlag = None,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """Make a new session from a checkpoint.

    It has the options of the other one. --sandbox can only name a stronger sandbox than that one asks for.
    """
    from skep.cli.checkpoints import fork as fork_session

    return run_to_exit(fork_session(session, new, at, Place(redis, prefix, tenant), sandbox=sandbox))


def hibernate(
    session: SessionArgument, redis: RedisFlag = None, prefix: PrefixFlag = None, tenant: TenantFlag = None
) -> int:
    """End a session's process; its next cell starts one.

    The new process begins with the latest checkpoint.
    """
    from skep.cli.checkpoints import hibernate as hibernate_session

    return run_to_exit(hibernate_session(session, Place(redis, prefix, tenant)))


def update(  # noqa: PLR0913, PLR0917 - one for each flag
    session: SessionArgument,
    idle_seconds: Annotated[
        float | None,
        typer.Option("--idle-seconds", metavar="S", help="Hibernate after this time; 0: as its worker says."),
    ] = None,
    expires_in: Annotated[
        float | None, typer.Option("--expires-in", metavar="S", help="Close after this time; 0: never.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="A label; replaces all; may be given several times."),
    ] = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Remove all its labels.")] = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """Change options of a session; those not given remain.

    Both times are seconds without a cell. They hold at once, also for a session that is idle already.
    """
    from skep.cli.control import update as update_session

    return run_to_exit(
        update_session(
            session, Place(redis, prefix, tenant), idle_seconds=idle_seconds, expires_in=expires_in,
            labels=label or (), has_no_labels=no_labels,
        )
    )  # fmt: skip


def close(
    session: SessionArgument,
    purge: Annotated[bool, typer.Option("--purge", help="Also delete its record, checkpoints and files.")] = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """End a session.

    Its running cell is interrupted, its pending cells are cancelled.
    """
    from skep.cli.control import close as close_session

    return run_to_exit(close_session(session, Place(redis, prefix, tenant), purge=purge))


SESSION_COMMANDS: Final[tuple[Callable[..., int], ...]] = (
    show, interrupt, checkpoints, rollback, fork, hibernate, update, close,
)  # fmt: skip
