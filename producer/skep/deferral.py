"""Cells that are submitted later: each waits in arq's queue, as a job that any worker runs when its time has come."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from skep.cell import Cell
from skep.cell_request import CellRequest, read_request
from skep.link import ShardLink
from skep.replies import ReplyReader
from skep_shared.broker.activation import deferred_job_id, pack_submit_job
from skep_shared.errors import InvalidArgument
from skep_shared.limits import check_number
from skep_shared.signing import signed_job

MAX_DEFER_SECONDS: Final = 366 * 86_400.0


class SubmitTime(NamedTuple):
    """When a cell is submitted: so many ms from now, or at this time of Redis's clock, in ms since the epoch."""

    by_ms: int | None
    until_ms: int


def read_time(defer_by: float | timedelta | None, defer_until: datetime | None) -> SubmitTime:
    """Return the time that these arguments of `Session.submit` stand for. Raises InvalidArgument."""
    if defer_by is not None and defer_until is not None:
        raise InvalidArgument("defer_until", defer_until, "either defer_by or defer_until, not both")
    if defer_until is not None and (not isinstance(defer_until, datetime) or defer_until.tzinfo is None):
        raise InvalidArgument("defer_until", defer_until, "a time with a time zone is needed")
    seconds = defer_by.total_seconds() if isinstance(defer_by, timedelta) else defer_by
    if seconds is not None:
        check_number("defer_by", seconds, low=0, high=MAX_DEFER_SECONDS)
    by_ms = None if seconds is None else round(seconds * 1000)
    return SubmitTime(by_ms, 0 if defer_until is None else round(defer_until.timestamp() * 1000))


async def defer_cell(
    link: ShardLink,
    replies: ReplyReader,
    session_id: str,
    request: CellRequest,
    when: SubmitTime,
    create: Callable[[], Awaitable[None]] | None,
) -> Cell:
    """Queue a cell, to be submitted at this time. `create` creates its session first, if that has to exist by then.

    Raises InvalidArgument, RedisFull, RedisUnavailable, and what `create` raises.
    """
    cell_id, spec = read_request(request)
    ticket = replies.ticket(session_id, cell_id)
    code = request["code"]
    options = {name: value for name, value in request.items() if name not in {"cell_id", "code"} and value is not None}
    if spec.inputs is not None:
        options["inputs"] = spec.inputs  # encoded: in a job's msgpack tuples would be lists, and big ints text
    full_id = link.keys.full_id(session_id)
    named = {"cell_id": cell_id, "client_id": replies.client_id}
    if (signer := link.signer) is not None:
        named["signature"] = signer.text("job", full_id, cell_id, signed_job(code, options))
    job = pack_submit_job(full_id, code, {**options, **named})
    job_id = deferred_job_id(link.keys, session_id, cell_id)
    if create is not None:
        await create()
    await link.persist(lambda: link.scripts.defer(job_id, job, by_ms=when.by_ms, until_ms=when.until_ms))
    return Cell(link, replies, ticket, is_deferred=True)
