"""Check and submit cells, in the same way for clients and for arq's `submit_cell` job."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.redis_client.redis_errors import is_out_of_memory
from skep_shared.broker.script_replies import SubmitStatus, Submitted
from skep_shared.errors import BacklogFull, InvalidArgument, QuotaExceeded, RateExceeded, RedisFull, SessionClosed
from skep_shared.foreign_errors import reason_of
from skep_shared.full_ids import tenant_of
from skep_shared.isolation.network import check_network
from skep_shared.isolation.sandbox_tiers import check_tier
from skep_shared.isolation.session_limits import lowest
from skep_shared.limits import (
    MAX_ATTEMPTS,
    MAX_TIMEOUT_SECONDS,
    check_code,
    check_inputs,
    check_labels,
    check_number,
)
from skep_shared.models import CellSpec, OnWorkerLoss, SessionOptions
from skep_shared.option_checks import (
    MAX_EXPIRY_SECONDS,
    MAX_IDLE_SECONDS,
    MIN_EXPIRY_SECONDS,
    MIN_IDLE_SECONDS,
    check_calls,
    check_cwd,
    check_env,
)
from skep_shared.packages import check_packages
from skep_shared.settings import Settings
from skep_shared.values import decode_value

_ON_WORKER_LOSS: Final = tuple(OnWorkerLoss)
_NO_OPTIONS: Final = SessionOptions().pack()
CELL_OPTIONS: Final = ("timeout", "on_worker_loss", "max_attempts", "inputs", "labels")


def pack_options(options: SessionOptions | None, settings: Settings) -> bytes:
    """Return the stored form of a new session's options.

    Raises InvalidArgument for an unknown tier of the sandbox, a limit above its maximum, a network that is wider than
    permitted, a malformed host, packages that are no names with versions, and for labels (its own, and those that it
    requires), variables, a directory, names of calls and times out of their bounds.
    The maximum of cells a minute is stored with them, since submit.lua enforces it for every client.
    """
    if options is None and settings.limits_cells_per_minute is None:
        return _NO_OPTIONS
    chosen, maxima = SessionOptions() if options is None else options, settings.limits
    if not isinstance(chosen, SessionOptions):
        raise InvalidArgument("options", chosen, f"SessionOptions are needed, not {type(chosen).__name__}")
    limits = chosen.limits
    check_tier(chosen.sandbox)
    limits.check_within(maxima)
    check_changeable(chosen)
    check_labels(chosen.requires, "requires")
    for name in ("blocking", "not_blocking"):
        check_calls(f"detection.{name}", getattr(chosen.detection, name))
    check_env(chosen.env)
    check_cwd(chosen.cwd)
    check_network(chosen.network, chosen.allowed_hosts, settings.network)
    check_packages(chosen.packages)
    rate = lowest(limits.cells_per_minute, maxima.cells_per_minute)
    if rate != limits.cells_per_minute:
        limits = limits.model_copy(update={"cells_per_minute": rate})
        chosen = chosen.model_copy(update={"limits": limits})
    return chosen.pack()


def check_changeable(options: SessionOptions) -> None:
    """Check the options that `update` may change. Raises InvalidArgument."""
    check_labels(options.labels)
    if options.idle_seconds is not None:
        check_number("idle_seconds", options.idle_seconds, low=MIN_IDLE_SECONDS, high=MAX_IDLE_SECONDS)
    if options.expires_in is not None:
        check_number("expires_in", options.expires_in, low=MIN_EXPIRY_SECONDS, high=MAX_EXPIRY_SECONDS)


def build_cell(
    code: str,
    *,
    timeout: float | None = None,
    on_worker_loss: str = "retry",
    max_attempts: int = 3,
    inputs: Mapping[str, object] | None = None,
    labels: Mapping[str, str] | None = None,
) -> CellSpec:
    """Return a checked cell. Raises InvalidArgument, naming the field, the value and the limit."""
    check_code(code)
    if timeout is not None:
        check_number("timeout", timeout, low=0.001, high=MAX_TIMEOUT_SECONDS)
    check_number("max_attempts", max_attempts, low=1, high=MAX_ATTEMPTS)
    if max_attempts != int(max_attempts):
        raise InvalidArgument("max_attempts", max_attempts, "a whole number is needed")
    if on_worker_loss not in _ON_WORKER_LOSS:
        raise InvalidArgument("on_worker_loss", on_worker_loss, f"one of {', '.join(OnWorkerLoss)} is needed")
    return CellSpec(
        code=code,
        timeout=timeout,
        on_worker_loss="fail" if on_worker_loss == OnWorkerLoss.FAIL else "retry",
        max_attempts=int(max_attempts),
        inputs=check_inputs(inputs),
        labels=check_labels(labels),
    )


def cell_from_options(code: str, options: Mapping[str, Any]) -> CellSpec:
    """Return a checked cell from a job's options. Raises InvalidArgument, also for unknown options."""
    for name in options:
        if name not in CELL_OPTIONS:
            raise InvalidArgument("option", name, f"one of {', '.join(CELL_OPTIONS)} is known")
    inputs = options.get("inputs")
    if isinstance(inputs, bytes):  # encoded, as our own client defers them
        try:
            options = {**options, "inputs": decode_value(inputs)}
        except ValueError as exc:
            raise InvalidArgument("inputs", inputs, str(exc)) from exc
    return build_cell(code, **options)


def chained(cells: Sequence[tuple[str, CellSpec]]) -> list[tuple[str, CellSpec]]:
    """Return the cells, changed so that each runs only if the one before it succeeded. Raises InvalidArgument."""
    if len({cell_id for cell_id, _ in cells}) < len(cells):
        [twice, _] = max(Counter(cell_id for cell_id, _ in cells).items(), key=lambda pair: pair[1])
        raise InvalidArgument("cell_id", twice, "it occurs twice in a batch that stops on an error")
    before = [None, *(cell_id for cell_id, _ in cells)]
    return [
        (cell_id, spec.model_copy(update={"only_after": after}))
        for after, (cell_id, spec) in zip(before, cells, strict=False)
    ]


def weaker_session(session_id: str, stored: str, options: bytes) -> InvalidArgument:
    """Return the error for a session that exists, and asks for a weaker sandbox than these options."""
    wanted = SessionOptions.unpack(options).sandbox
    limit = (
        f"session {session_id!r} asks for at least {stored}, and options don't change: "
        "fork it with this sandbox, or use another session"
    )
    return InvalidArgument("sandbox", wanted, limit)


async def append_cells(
    scripts: ClientScripts,
    session_id: str,
    cells: Sequence[tuple[str, CellSpec]],
    *,
    max_pending: int,
    client_id: str = "",
    options: bytes = b"",
    is_chain: bool = False,
) -> Submitted:
    """Append checked cells, all or none.

    is_chain: each runs only after the one before it has succeeded, see `chained`. Raises InvalidArgument (of a chain,
    and for an existing session with a weaker sandbox than `options`), SessionClosed, BacklogFull, RateExceeded,
    QuotaExceeded, RedisFull, and what the driver raises.
    """
    try:
        submitted = await scripts.submit(
            session_id,
            [(cell_id, spec.pack()) for cell_id, spec in cells],
            client_id=client_id,
            max_pending=max_pending,
            options=options,
            is_chain=is_chain,
        )
    except ResponseError as exc:
        if is_out_of_memory(exc):
            raise RedisFull(reason_of(exc)) from exc
        raise
    if submitted.status is SubmitStatus.CLOSED:
        raise SessionClosed(session_id)
    if submitted.status is SubmitStatus.WEAKER:
        raise weaker_session(session_id, submitted.sandbox, options)
    if submitted.status is SubmitStatus.FULL:
        raise BacklogFull(session_id, submitted.pending, submitted.limit)
    if submitted.status is SubmitStatus.FAST:
        raise RateExceeded(session_id, submitted.new, submitted.limit, submitted.wait_ms / 1000)
    if submitted.exceeded is not None:
        found, tenant = submitted.exceeded, tenant_of(scripts.keys.full_id(session_id))
        retry_after = None if found.wait_ms is None else found.wait_ms / 1000
        raise QuotaExceeded(tenant, found.quota, found.value, found.bound, retry_after)
    if submitted.status is SubmitStatus.KNOWN:
        limit = "it was submitted before, so it can't follow a new cell in a batch that stops on an error"
        raise InvalidArgument("cell_id", submitted.known, limit)
    return submitted
