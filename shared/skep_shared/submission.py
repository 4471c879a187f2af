"""Submitting cells: the checks and the one script call, the same for clients and for arq's `submit_cell` job."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from skep_shared.client_scripts import ClientScripts
from skep_shared.errors import BacklogFull, InvalidArgument, RedisFull, SessionClosed
from skep_shared.foreign_errors import reason_of
from skep_shared.limits import (
    MAX_ATTEMPTS,
    MAX_TIMEOUT_SECONDS,
    check_code,
    check_inputs,
    check_labels,
    check_number,
)
from skep_shared.models import CellSpec, OnWorkerLoss
from skep_shared.redis_errors import is_out_of_memory
from skep_shared.script_replies import SubmitStatus, Submitted
from skep_shared.values import decode_value

_ON_WORKER_LOSS: Final = tuple(OnWorkerLoss)
CELL_OPTIONS: Final = ("timeout", "on_worker_loss", "max_attempts", "inputs", "labels")


def build_cell(
    code: str,
    *,
    timeout: float | None = None,
    on_worker_loss: str = "retry",
    max_attempts: int = 3,
    inputs: Mapping[str, object] | None = None,
    labels: Mapping[str, str] | None = None,
) -> CellSpec:
    """Give a checked cell. Raises InvalidArgument, naming the field, the value and the limit."""
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
    """Give a checked cell from loose options, as they come with a job. Raises InvalidArgument for unknown ones too."""
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


async def append_cells(
    scripts: ClientScripts,
    session_id: str,
    cells: Sequence[tuple[str, CellSpec]],
    *,
    max_pending: int,
    client_id: str = "",
    options: bytes = b"",
) -> Submitted:
    """Append checked cells, all or none. Raises SessionClosed, BacklogFull, RedisFull, and what the driver raises."""
    try:
        submitted = await scripts.submit(
            session_id,
            [(cell_id, spec.pack()) for cell_id, spec in cells],
            client_id=client_id,
            max_pending=max_pending,
            options=options,
        )
    except ResponseError as exc:
        if is_out_of_memory(exc):
            raise RedisFull(reason_of(exc)) from exc
        raise
    if submitted.status is SubmitStatus.CLOSED:
        raise SessionClosed(session_id)
    if submitted.status is SubmitStatus.FULL:
        raise BacklogFull(session_id, submitted.pending, max_pending)
    return submitted
