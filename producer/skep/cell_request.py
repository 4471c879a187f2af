"""The options of a cell, as `submit` and `submit_many` accept them, and their checks."""

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict

from skep_shared.broker.submission import build_cell, chained
from skep_shared.errors import InvalidArgument
from skep_shared.limits import MAX_BATCH_CELLS, check_cell_id
from skep_shared.models import CellSpec


class CellOptions(TypedDict, total=False):
    """Options of a cell besides its code.

    cell_id: idempotency key, 1 to 200 bytes; a second submit with the same id is the same cell. timeout: seconds that
    the code may run. on_worker_loss: "retry" (run again on another worker) or "fail" (end as lost). max_attempts: 1 to
    100. inputs: names to bind before the cell runs, with plain data. labels: notes of the caller, up to 32 names with
    short texts, which the cell's first event repeats.
    """

    cell_id: str | None
    timeout: float | None
    on_worker_loss: str
    max_attempts: int
    inputs: Mapping[str, object] | None
    labels: Mapping[str, str] | None


class CellRequest(CellOptions):
    """One item of `submit_many`."""

    code: str


def read_request(cell: str | CellRequest) -> tuple[str, CellSpec]:
    """Return the id and the checked contents of a cell. Raises InvalidArgument."""
    request = CellRequest(code=cell) if isinstance(cell, str) else cell
    if not isinstance(request, Mapping) or "code" not in request:
        raise InvalidArgument("cell", cell, "its code is needed, or a mapping with its code and options")
    known = CellRequest.__annotations__
    for name in request:
        if name not in known:
            raise InvalidArgument("option", name, f"one of {', '.join(known)} is known")
    given = {name: value for name, value in request.items() if name not in {"cell_id", "code"}}
    cell_id = request.get("cell_id")
    spec = build_cell(request["code"], **given)  # type: ignore[arg-type]
    return (os.urandom(16).hex() if cell_id is None else check_cell_id(cell_id)), spec


def read_requests(cells: Sequence[str | CellRequest], *, stop_on_error: bool) -> list[tuple[str, CellSpec]]:
    """Return the ids and the checked contents of the cells of one `submit_many`. Raises InvalidArgument."""
    if not isinstance(stop_on_error, bool):
        raise InvalidArgument("stop_on_error", stop_on_error, "True or False is needed")
    if not 1 <= len(cells) <= MAX_BATCH_CELLS:
        raise InvalidArgument("cells", len(cells), f"1 to {MAX_BATCH_CELLS} cells at a time")
    requests = [read_request(cell) for cell in cells]
    return chained(requests) if stop_on_error else requests
