"""Problem documents (RFC 9457): one for each error of the tree, with its fields and what to do.

`type` is `urn:skep:` and the error's name. An unexpected error says only that it is one.
"""

import json
import logging
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from skep_shared import errors
from skep_shared.json_form import json_form

PROBLEM_TYPE: Final = "application/problem+json"
SHOWN_CHARACTERS: Final = 200  # of a refused value, which may be megabytes of code

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """A problem document. Further members are the fields of the error."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:skep:InvalidArgument",
                    "title": "A value is refused",
                    "status": 422,
                    "detail": "timeout: 0 is refused: a number from 0.001 to 604800 is needed",
                    "remedy": "Correct the value; nothing was written.",
                    "field": "timeout",
                    "value": 0,
                    "limit": "a number from 0.001 to 604800 is needed",
                }
            ]
        },
    )

    type: str = Field(description="`urn:skep:` and the name of the error")
    title: str
    status: int
    detail: str
    remedy: str = Field(description="what to do")


class _Kind(NamedTuple):
    status: int
    title: str
    remedy: str


_E: Final = errors
KINDS: Final[dict[type[errors.SkepError], _Kind]] = {
    _E.InvalidArgument: _Kind(422, "A value is refused", "Correct the value; nothing was written."),
    _E.NotFound: _Kind(404, "Not found", "Check the id, and whether the token is of the right tenant."),
    _E.SessionClosed: _Kind(409, "The session is closed", "Use another session id, or purge this one first."),
    _E.BacklogFull: _Kind(429, "Too many cells wait", "Wait for some outcomes, and submit again."),
    _E.RateExceeded: _Kind(429, "Cells are submitted too fast", "Submit again later, or fewer at a time."),
    _E.QuotaExceeded: _Kind(429, "A quota of the tenant is used up", "Submit again later, or ask the operator."),
    _E.EventsTrimmed: _Kind(410, "The events are gone", "Nothing can be done: retention has removed them."),
    _E.CellForgotten: _Kind(410, "The cell is gone", "Submit it again with the same cell id."),
    _E.SignatureRefused: _Kind(409, "A signature is refused", "The gateway and the workers need the same signing key."),
    _E.OperationFailed: _Kind(409, "The session could not do it", "See the detail."),
    _E.WaitTimeout: _Kind(504, "Not in time", "Nothing was cancelled: wait again. Is there a worker for the session?"),
    _E.RedisUnavailable: _Kind(503, "Redis is unavailable", "Try again later; a repeated cell id is the same cell."),
    _E.RedisRefused: _Kind(503, "Redis refuses the gateway", "The operator finds the reason in the gateway's log."),
    _E.RedisUnsuitable: _Kind(503, "Redis is unsuitable", "The operator finds the reason in the gateway's log."),
    _E.RedisFull: _Kind(503, "Redis is full", "Close and purge sessions, or raise maxmemory."),
    _E.StoreUnavailable: _Kind(503, "The checkpoint store is unavailable", "Try again later."),
    _E.IdentityUnavailable: _Kind(503, "The identity provider is unavailable", "Try again later."),
    _E.StartError: _Kind(503, "The workers don't start", "The operator finds the reason in the gateway's log."),
    _E.ClientUnusable: _Kind(503, "The gateway is closing", "Try again: another one may answer."),
}
_OURS: Final = (
    _E.RedisUnavailable, _E.RedisRefused, _E.RedisUnsuitable, _E.RedisFull, _E.StoreUnavailable, _E.StartError,
    _E.ClientUnusable, _E.IdentityUnavailable,
)  # fmt: skip
_TRY_AGAIN_SECONDS: Final = {
    _E.RedisUnavailable: 2.0,
    _E.RedisFull: 30.0,
    _E.BacklogFull: 1.0,
    _E.StoreUnavailable: 5.0,
    _E.IdentityUnavailable: 5.0,
    _E.ClientUnusable: 1.0,
}


class Refused(Exception):
    """A request is refused by the gateway itself, with this problem document."""

    def __init__(
        self, name: str, kind: tuple[int, str, str], detail: str, *, retry_after: float | None = None, **fields: object
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(
            type=f"urn:skep:{name}", status=kind[0], title=kind[1], remedy=kind[2], detail=detail, **fields
        )
        self.retry_after = retry_after


def problem_of(exc: errors.SkepError) -> tuple[Problem, float | None]:
    """Return the document for an error, and after how many seconds to try again if that is known."""
    found = next((base for base in type(exc).__mro__ if base in KINDS), None)
    if found is None:
        log.error("the gateway met an error that no route expects", exc_info=exc)
        return unexpected(), None
    kind, is_ours = KINDS[found], isinstance(exc, _OURS)
    if is_ours:
        log.warning("%s", exc)
    fields = (
        {}
        if is_ours
        else {name: shown_value(value) for name, value in vars(exc).items() if name not in Problem.model_fields}
    )
    detail = f"{kind.title}." if is_ours else str(exc)
    problem = Problem(
        type=f"urn:skep:{type(exc).__name__}", title=kind.title, status=kind.status, detail=json_form(detail),
        remedy=kind.remedy, **fields,
    )  # fmt: skip
    wait = _TRY_AGAIN_SECONDS.get(type(exc))
    if isinstance(exc, _E.RateExceeded):
        wait = exc.seconds or None
    elif isinstance(exc, _E.QuotaExceeded):
        wait = exc.retry_after
    return problem, wait


def unexpected() -> Problem:
    """Return the document for a defect of the gateway: what it was is in the log only."""
    return Problem(
        type="urn:skep:InternalError", title="An unexpected error", status=500, detail="The gateway has a defect.",
        remedy="The operator finds it in the gateway's log.",
    )  # fmt: skip


def problem_response(
    problem: Problem, retry_after: float | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem document as a response. retry_after: seconds."""
    all_headers = dict(headers or {}) | {"Cache-Control": "no-store"}
    if retry_after is not None:
        all_headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return Response(packed(problem), problem.status, all_headers, PROBLEM_TYPE)


def packed(problem: Problem) -> bytes:
    """Return the JSON of a problem document, in one line."""
    return json.dumps(problem.model_dump(), ensure_ascii=True, allow_nan=False).encode()


def shown_value(value: object) -> Any:
    """Return the JSON form of an error's field, or the beginning of its text if it is long or no plain data."""
    try:
        text = json.dumps(form := json_form(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        form, text = None, None
    if text is not None and len(text) <= SHOWN_CHARACTERS:
        return form
    shown = json_form(value) if isinstance(value, str) else repr(value)[: 10 * SHOWN_CHARACTERS]
    return f"{shown[:SHOWN_CHARACTERS]}…"
