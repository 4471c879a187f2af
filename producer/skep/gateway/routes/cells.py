"""Cells: submit one or a batch, wait for outcomes, look at one, cancel it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from skep.cell import Cell
from skep.cell_request import CellRequest
from skep.gateway.answers import CancelledAnswer, CellAnswer, json_response, outcome_json
from skep.gateway.bodies import CellBody
from skep.gateway.context import Caller
from skep.gateway.routes.documentation import CELL_LINKS, CellId, Reader, Runner, SessionId, problems, session_of
from skep.gateway.shutdown import Closing
from skep.outcome import Outcome
from skep_shared.errors import EventsTrimmed, InvalidArgument, NotFound, WaitTimeout

router = APIRouter(prefix="/v1/sessions/{session_id}/cells", tags=["cells"])

WaitQuery = Annotated[
    float | None,
    Query(
        ge=0,
        le=3600,
        examples=[25],
        description="seconds to wait for the outcome, up to a bound of the gateway; then the answer is that of a cell "
        "that is pending, and waiting again is safe",
    ),
]
_SUBMITTED = problems(400, 409, 410)


@router.post(
    "",
    operation_id="submitCell",
    summary="Submit a cell, or a list of cells as one batch",
    status_code=202,
    response_model=CellAnswer | list[CellAnswer],
    responses={
        200: {
            "model": CellAnswer | list[CellAnswer],
            "description": "All outcomes came within `wait`, or were known.",
            "links": CELL_LINKS,
        },
        202: {
            "description": "Accepted, and durable. `Location` is the cell; of a batch, the last one.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "the cell's URL"}},
            "links": CELL_LINKS,
        },
        **_SUBMITTED,
    },
)
async def submit_cell(
    request: Request,
    session_id: SessionId,
    body: CellBody | list[CellBody],
    caller: Runner,
    wait: WaitQuery = None,
    stop_on_error: Annotated[
        bool, Query(description="of a batch: a cell runs only if the one before it succeeded")
    ] = False,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=200, description="the cell's id, instead of the body's")
    ] = None,
) -> Response:
    """Submit a cell. It is durable when the answer comes; the same id again is the same cell, and runs once.

    A list is appended in its order, all or none, in one step; at most 1,000 cells.
    """
    cells = body if isinstance(body, list) else [body]
    requests = [_request(cell) for cell in cells]
    if idempotency_key is not None:
        _use_key(idempotency_key, requests, is_batch=isinstance(body, list))
    session = session_of(caller, session_id, cells[0].options if cells else None)
    if isinstance(body, list) or body.defer_by is None:
        _check_batch(cells)
        handles = await session.submit_many(requests, stop_on_error=stop_on_error)
    else:
        code = requests[0].pop("code")  # type: ignore[misc]
        handles = [await session.submit(code, defer_by=body.defer_by, **requests[0])]  # type: ignore[misc]
    outcomes = await outcomes_within(caller, handles, wait)
    shown = [await cell_json(request, cell, outcome) for cell, outcome in zip(handles, outcomes, strict=True)]
    headers = {"Location": shown[-1]["url"]}
    is_done = all(outcome is not None for outcome in outcomes)
    return json_response(shown if isinstance(body, list) else shown[0], 200 if is_done else 202, headers)


@router.get(
    "/{cell_id}",
    operation_id="getCell",
    summary="A cell, when it is due if it is deferred, and its outcome once it has ended",
    response_model=CellAnswer,
    responses=problems(404, 410),
)
async def get_cell(
    request: Request, session_id: SessionId, cell_id: CellId, caller: Reader, wait: WaitQuery = None
) -> Response:
    """Return a cell that anyone in the tenant has submitted; with `wait`, as soon as it has ended."""
    cell = session_of(caller, session_id).cell(cell_id)
    outcome = await cell.outcome_now()
    if outcome is None and wait:
        [outcome] = await outcomes_within(caller, [cell], wait)
    return json_response(await cell_json(request, cell, outcome))


@router.post(
    "/{cell_id}/cancel",
    operation_id="cancelCell",
    summary="Cancel a cell that has not started",
    response_model=CancelledAnswer,
    responses=problems(404, 409, 504),
)
async def cancel_cell(session_id: SessionId, cell_id: CellId, caller: Runner) -> Response:
    """Cancel a cell if it has not started."""
    return json_response({"cancelled": await session_of(caller, session_id).cell(cell_id).cancel()})


async def outcomes_within(caller: Caller, cells: Sequence[Cell], wait: float | None) -> list[Outcome | None]:
    """Return the outcomes that come within `wait` seconds, and before the gateway closes; None for the others.

    Without a wait those that are known: of cells that were submitted before.
    """
    if not wait:
        return [await _known_outcome(cell) for cell in cells]
    seconds = min(wait, caller.gateway.settings.max_wait_seconds)

    async def wait_for(cell: Cell) -> Outcome | None:
        try:
            return await cell.outcome(seconds)
        except WaitTimeout:
            return None

    async def wait_for_all() -> list[Outcome | None]:
        return list(await asyncio.gather(*map(wait_for, cells)))

    try:
        return await caller.gateway.shutdown.unless(wait_for_all(), "wait for outcomes")
    except Closing:
        return [None] * len(cells)


async def _known_outcome(cell: Cell) -> Outcome | None:
    try:
        return await cell.outcome_now()
    except EventsTrimmed:  # the cell is known all the same, and asking for it says so
        return None


async def cell_json(request: Request, cell: Cell, outcome: Outcome | None) -> dict[str, Any]:
    """Return a cell as CellAnswer has it."""
    due_at = await _due_at(cell) if outcome is None and cell.seq is None else None
    base = str(request.scope.get("root_path", ""))
    url = f"{base}/v1/sessions/{quote(cell.session_id, safe='')}/cells/{quote(cell.id, safe='')}"
    return {
        "session_id": cell.session_id,
        "cell_id": cell.id,
        "seq": cell.seq if outcome is None else outcome.seq,
        "state": "done" if outcome is not None else "pending" if due_at is None else "deferred",
        "due_at": None if due_at is None else due_at.isoformat(),
        "outcome": None if outcome is None else outcome_json(outcome),
        "url": url,
        "events_url": f"{url}/events",
    }


async def _due_at(cell: Cell) -> datetime | None:
    try:
        return await cell.deferred_until()
    except NotFound:  # it was found a moment ago: a worker could not append it, or it was purged
        return None


def _request(cell: CellBody) -> CellRequest:
    return CellRequest(
        code=cell.code, cell_id=cell.cell_id, timeout=cell.timeout, inputs=cell.inputs, labels=cell.labels,
        on_worker_loss=cell.on_worker_loss, max_attempts=cell.max_attempts,
    )  # fmt: skip


def _use_key(key: str, requests: list[CellRequest], *, is_batch: bool) -> None:
    """Set the cell's id to the key. Raises InvalidArgument."""
    if is_batch:
        raise InvalidArgument("Idempotency-Key", key, "a batch has one id for each cell: set cell_id in each of them")
    if requests[0].get("cell_id") not in {None, key}:
        raise InvalidArgument("Idempotency-Key", key, "it differs from cell_id in the body; one of them is enough")
    requests[0]["cell_id"] = key


def _check_batch(cells: Sequence[CellBody]) -> None:
    for place, cell in enumerate(cells):
        if cell.defer_by is not None:
            raise InvalidArgument(f"{place}.defer_by", cell.defer_by, "cells of a batch can't be deferred")
        if place and cell.options is not None:
            raise InvalidArgument(f"{place}.options", "…", "only the first cell of a batch may have options")
