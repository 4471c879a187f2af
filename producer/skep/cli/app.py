# ruff: noqa: PLC0415 - `skep --help` must not wait for what only some command needs
"""The commands with their flags; what they do is imported when one of them is called."""

import sys
from typing import Annotated, Any, Final, cast

import typer

from skep.cli import WORKER_COMMAND, become_worker
from skep.cli.exits import ExitCode, complain, run_to_exit
from skep.cli.flags import JsonFlag, Place, PrefixFlag, RawFlag, RedisFlag, SessionArgument
from skep_shared import __version__
from skep_shared.environment import unknown_variables
from skep_shared.settings import WorkerSettings

# Typer's own copy of click, or click itself in older versions: the base of what they raise for a wrong command line.
_CommandLineError = cast("type[Exception]", typer.BadParameter.__mro__[2])

app: Final = typer.Typer(
    name="skep",
    help="Durable Python sessions as a job queue, on Redis and arq. New here? Start with: skep tour",
    add_completion=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # help without frames: all of it fits 24 lines, and it is the same in a pipe
)


def run_app(arguments: list[str]) -> int:
    """Run the command line; gives the exit status."""
    for stream in (sys.stdout, sys.stderr):
        cast("Any", stream).reconfigure(errors="backslashreplace")  # a lone surrogate must not end a replay
    for sentence in unknown_variables(WorkerSettings.model_fields):
        complain(sentence)
    try:
        status: object = app(arguments or ["--help"], prog_name="skep", standalone_mode=False)
    except _CommandLineError as exc:
        context = getattr(exc, "ctx", None)
        path = context.command_path if context is not None else "skep"
        complain(f"{cast('Any', exc).format_message().rstrip('.')} (see {path} --help)")
        return ExitCode.REFUSED
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    return status if isinstance(status, int) else ExitCode.OK


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(f"skep {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def tour(redis: RedisFlag = None, prefix: PrefixFlag = None) -> int:
    """See what skep does, in ten seconds.

    Real cells, live output, an interrupt, a worker killed in the middle, the record replayed. It starts a Redis and two
    workers of its own (with --redis only the workers) and leaves nothing behind.
    """
    from skep.cli.tour import take_tour

    return run_to_exit(take_tour(Place(redis, prefix)))


@app.command()
def run(  # noqa: PLR0913, PLR0917 - one for each flag
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A script (cells begin with # %%), a notebook, or - for stdin.", show_default=False
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- ARGUMENT...]", help="What the file finds in sys.argv.", show_default=False),
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="The session to run in; a new one if not given.")
    ] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a cell that failed.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", metavar="OUT.ipynb", help="Write a notebook with what the cells put out.")
    ] = None,
    raw: RawFlag = False,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
) -> int:
    """Run a file's cells with live output.

    On the cluster at --redis; without one, on a Redis and a worker of its own that end with it, and then the file finds
    what python FILE gives it: the directory, sys.argv, stdin, what lies beside it. The exit status is that of the
    file's sys.exit(), else 0 if every cell finished, 1 if not. Ctrl-C ends the running cell, a second one leaves at
    once.
    """
    from skep.cli.run import RunOptions, run_file

    options = RunOptions(
        Place(redis, prefix), session, keep_going=keep_going, as_json=as_json, raw=raw,
        arguments=tuple(arguments or ()), output=output,
    )  # fmt: skip
    return run_to_exit(run_file(file, options))


@app.command()
def exec(  # noqa: A001 - the command's name
    code: Annotated[str, typer.Argument(metavar="CODE", help="Python code, or - for stdin.", show_default=False)],
    session: Annotated[
        str, typer.Option("--session", metavar="ID", help="The session to run in, known or new.", show_default=False)
    ],
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="End the cell after so many seconds.")
    ] = None,
    raw: RawFlag = False,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
) -> int:
    """Run one cell in a session."""
    from skep.cli.run import RunOptions, execute_code

    options = RunOptions(
        Place(redis, prefix), session, keep_going=False, as_json=as_json, raw=raw, timeout=timeout
    )  # fmt: skip
    return run_to_exit(execute_code(code, options))


@app.command()
def replay(  # noqa: PLR0913, PLR0917 - one for each flag
    session: SessionArgument,
    after: Annotated[
        str, typer.Option("--after", metavar="EVENT", help="Begin behind this event id, e.g. 17-0.")
    ] = "0-0",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until the session is closed.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option("--speed", metavar="X", help="Keep the pauses, X times as fast; at most 2 s each.")
    ] = None,
    raw: RawFlag = False,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
) -> int:
    """Print a session's record again."""
    from skep.cli.replay import replay as replay_session

    place = Place(redis, prefix)
    return run_to_exit(
        replay_session(session, after=after, follow=follow, speed=speed, as_json=as_json, raw=raw, place=place)
    )


@app.command()
def sessions(as_json: JsonFlag = False, redis: RedisFlag = None, prefix: PrefixFlag = None) -> int:
    """List the cluster's sessions."""
    from skep.cli.listing import list_sessions

    return run_to_exit(list_sessions(Place(redis, prefix), as_json=as_json))


@app.command()
def workers(as_json: JsonFlag = False, redis: RedisFlag = None, prefix: PrefixFlag = None) -> int:
    """List the cluster's live workers."""
    from skep.cli.listing import list_workers

    return run_to_exit(list_workers(Place(redis, prefix), as_json=as_json))


@app.command()
def show(
    session: SessionArgument, as_json: JsonFlag = False, redis: RedisFlag = None, prefix: PrefixFlag = None
) -> int:
    """Show a session's state and its last cells."""
    from skep.cli.listing import show_session

    return run_to_exit(show_session(session, Place(redis, prefix), as_json=as_json))


@app.command()
def interrupt(
    session: SessionArgument,
    cell: Annotated[
        str | None, typer.Option("--cell", metavar="CELL_ID", help="This cell, not the running one.")
    ] = None,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
) -> int:
    """End a session's running cell; the session goes on."""
    from skep.cli.control import interrupt as interrupt_session

    return run_to_exit(interrupt_session(session, cell, Place(redis, prefix)))


@app.command()
def checkpoints(
    session: SessionArgument, as_json: JsonFlag = False, redis: RedisFlag = None, prefix: PrefixFlag = None
) -> int:
    """List a session's checkpoints."""
    from skep.cli.checkpoints import list_checkpoints

    return run_to_exit(list_checkpoints(session, Place(redis, prefix), as_json=as_json))


@app.command()
def rollback(
    session: SessionArgument,
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="Its id, e.g. 17-0, or its name.", show_default=False)
    ],
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
) -> int:
    """Make an earlier checkpoint the state.

    Nothing may be running or waiting in the session. The checkpoints after it stay until retention removes them.
    """
    from skep.cli.checkpoints import roll_back

    return run_to_exit(roll_back(session, checkpoint, Place(redis, prefix)))


@app.command()
def fork(
    session: SessionArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new session's id.", show_default=False)],
    at: Annotated[
        str | None, typer.Option("--at", metavar="CHECKPOINT", help="From this one, by id or name, not the latest.")
    ] = None,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
) -> int:
    """Make a new session from a checkpoint."""
    from skep.cli.checkpoints import fork as fork_session

    return run_to_exit(fork_session(session, new, at, Place(redis, prefix)))


@app.command()
def hibernate(session: SessionArgument, redis: RedisFlag = None, prefix: PrefixFlag = None) -> int:
    """Give a session's process up for now."""
    from skep.cli.checkpoints import hibernate as hibernate_session

    return run_to_exit(hibernate_session(session, Place(redis, prefix)))


@app.command()
def close(
    session: SessionArgument,
    purge: Annotated[bool, typer.Option("--purge", help="Remove its record too.")] = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
) -> int:
    """End a session.

    What runs is interrupted, what waits is cancelled.
    """
    from skep.cli.control import close as close_session

    return run_to_exit(close_session(session, Place(redis, prefix), purge=purge))


@app.command(
    WORKER_COMMAND,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def worker(context: typer.Context) -> int:
    """Start a worker; skep worker --help lists its settings."""
    become_worker(context.args)
