# ruff: noqa: PLC0415 - `skep --help` must not wait for what only some command needs
"""The commands and their flags; a command's implementation is imported when it is called."""

import sys
from typing import Annotated, Any, Final, cast

import typer

from skep.cli import WORKER_COMMAND, become_sandbox_doctor, become_worker
from skep.cli.access.tenant_commands import tenants_app
from skep.cli.access.token_commands import tokens_app
from skep.cli.flags import JsonFlag, Place, PrefixFlag, RawFlag, RedisFlag, SandboxFlag, SessionArgument, TenantFlag
from skep.cli.output.failures import ExitCode, complain, run_to_exit
from skep.cli.session_commands import SESSION_COMMANDS
from skep_shared import __version__
from skep_shared.environment import unknown_variables
from skep_shared.settings import WorkerSettings

# The base class of the errors for a wrong command line: of Typer's own copy of click, or of click in older versions.
_CommandLineError = cast("type[Exception]", typer.BadParameter.__mro__[2])

app: Final = typer.Typer(
    name="skep",
    help="Durable Python sessions as a job queue, on Redis and arq. New here? Start with: skep tour",
    add_completion=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # help without frames: all of it fits 24 lines, and it is the same in a pipe
)


doctor: Final = typer.Typer(help="Check what this machine permits.")
app.add_typer(doctor, name="doctor")


def run_app(arguments: list[str]) -> int:
    """Run the command line, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        cast("Any", stream).reconfigure(errors="backslashreplace")  # a lone surrogate must not end a replay
    for sentence in unknown_variables(WorkerSettings.model_fields):
        complain(sentence)
    try:
        status: object = app(arguments or ["--help"], prog_name="skep", standalone_mode=False)
    except _CommandLineError as exc:
        context = getattr(exc, "ctx", None)
        path = context.command_path if context is not None else _command_path(arguments)
        complain(f"{cast('Any', exc).format_message().rstrip('.')} (see {path} --help)")
        return ExitCode.REFUSED
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    return status if isinstance(status, int) else ExitCode.OK


def _command_path(arguments: list[str]) -> str:
    """Return the command that arguments begin with; the parser's errors about a value that is missing don't name it."""
    command: Any = typer.main.get_command(app)
    path = ["skep"]
    for word in arguments:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path.append(word)
    return " ".join(path)


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

    It runs cells with live output, interrupts one, kills a worker in the middle of another, and replays the record. It
    starts a Redis and two workers (with --redis only the workers) and removes everything at the end.
    """
    from skep.cli.tour import run_tour

    return run_to_exit(run_tour(Place(redis, prefix)))


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
        typer.Argument(metavar="[-- ARGUMENT...]", help="The file's sys.argv.", show_default=False),
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="The session to run in; a new one if not given.")
    ] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Continue after a cell that failed.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", metavar="OUT.ipynb", help="Write a notebook with the cells' output.")
    ] = None,
    sandbox: SandboxFlag = None,
    raw: RawFlag = False,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """Run a file's cells with live output.

    On the cluster at --redis or SKEP_REDIS_URL. Without them, on a Redis and a worker that end with the command; then
    the file finds what it finds with python FILE: the directory, sys.argv, stdin, and the modules in its folder. The
    exit status is that of the file's sys.exit(), otherwise 0 if every cell finished, 1 if not. Ctrl-C ends the running
    cell; a second Ctrl-C ends the command.
    """
    from skep.cli.run import RunOptions, run_file

    options = RunOptions(
        Place(redis, prefix, tenant), session, keep_going=keep_going, as_json=as_json, raw=raw,
        arguments=tuple(arguments or ()), output=output, sandbox=sandbox,
    )  # fmt: skip
    return run_to_exit(run_file(file, options))


@app.command()
def exec(  # noqa: A001, PLR0913, PLR0917 - the command's name; one for each flag
    code: Annotated[str, typer.Argument(metavar="CODE", help="Python code, or - for stdin.", show_default=False)],
    session: Annotated[
        str, typer.Option("--session", metavar="ID", help="The session to run in, known or new.", show_default=False)
    ],
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="End the cell after this many seconds.")
    ] = None,
    sandbox: SandboxFlag = None,
    raw: RawFlag = False,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """Run one cell in a session."""
    from skep.cli.run import RunOptions, execute_code

    options = RunOptions(
        Place(redis, prefix, tenant), session, keep_going=False, as_json=as_json, raw=raw, timeout=timeout,
        sandbox=sandbox,
    )  # fmt: skip
    return run_to_exit(execute_code(code, options))


@app.command()
def replay(  # noqa: PLR0913, PLR0917 - one for each flag
    session: SessionArgument,
    after: Annotated[
        str, typer.Option("--after", metavar="EVENT", help="Start after this event id, e.g. 17-0.")
    ] = "0-0",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Also print new events, until the session is closed.")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option("--speed", metavar="X", help="Keep the pauses between events, X times as fast; at most 2 s each."),
    ] = None,
    ipynb: Annotated[
        str | None, typer.Option("--ipynb", metavar="OUT.ipynb", help="Write the record as a notebook instead.")
    ] = None,
    html: Annotated[
        str | None, typer.Option("--html", metavar="OUT.html", help="Write the record as a page of HTML instead.")
    ] = None,
    raw: RawFlag = False,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """Print a session's record: its cells with their output."""
    from skep.cli.replay import export
    from skep.cli.replay import replay as replay_session

    place = Place(redis, prefix, tenant)
    if ipynb is not None or html is not None:
        is_given = {"--after": after != "0-0", "--follow": follow, "--speed": speed is not None, "--raw": raw}
        work = export(session, ipynb=ipynb, html=html, place=place, others={**is_given, "--json": as_json})
        return run_to_exit(work)
    return run_to_exit(
        replay_session(session, after=after, follow=follow, speed=speed, as_json=as_json, raw=raw, place=place)
    )


@app.command()
def sessions(
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="NAME=VALUE", help="Only sessions with this label; may be given several times."
        ),
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="Only open, closing or closed sessions.")
    ] = None,
    id_prefix: Annotated[
        str | None, typer.Option("--id-prefix", metavar="TEXT", help="Only sessions whose ids begin with this.")
    ] = None,
    as_json: JsonFlag = False,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
    tenant: TenantFlag = None,
) -> int:
    """List the cluster's sessions."""
    from skep.cli.listing import list_sessions

    place = Place(redis, prefix, tenant)
    return run_to_exit(list_sessions(place, labels=label or (), state=state, prefix=id_prefix, as_json=as_json))


@app.command()
def workers(as_json: JsonFlag = False, redis: RedisFlag = None, prefix: PrefixFlag = None) -> int:
    """List the cluster's live workers."""
    from skep.cli.listing import list_workers

    return run_to_exit(list_workers(Place(redis, prefix), as_json=as_json))


for command in SESSION_COMMANDS:
    app.command()(command)


@app.command()
def gateway(
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on (default: 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", help="Port to listen on (default: 8070); 0: any free one.")
    ] = None,
    redis: RedisFlag = None,
    prefix: PrefixFlag = None,
) -> int:
    """Serve HTTP: cells, events, files, listings.

    On the cluster at --redis or SKEP_REDIS_URL. Without them, on a Redis and a worker that end with the command. It
    prints its address. Without any token (skep tokens create) it serves this machine only, and the address has a token.
    Further settings are SKEP_GATEWAY_*: see docs/http.md. Ctrl-C and SIGTERM end it in order.
    """
    from skep.cli.gateway import run_gateway

    return run_to_exit(run_gateway(Place(redis, prefix), host, port))


app.add_typer(tenants_app, name="tenants")
app.add_typer(tokens_app, name="tokens")


@app.command(
    WORKER_COMMAND,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def worker(context: typer.Context) -> int:
    """Start a worker; skep worker --help lists its settings."""
    become_worker(context.args)


@doctor.command()
def sandbox(as_json: JsonFlag = False) -> int:
    """Show which sandboxes sessions can have here.

    Tries each mechanism alone, and prints which tiers it blocks and what lifts that. Run it where workers run, as their
    user. The exit status is 0 if the tier that SKEP_SANDBOX asks for works, and at least basic; otherwise 3.
    """
    become_sandbox_doctor(["--json"] if as_json else [])
