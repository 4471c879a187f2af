"""What the routes have in common in the OpenAPI document: problems, links, and the kinds of parameters."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Request
from pydantic import AfterValidator

from skep.gateway.context import Caller, caller_of
from skep.gateway.path_segments import with_slashes
from skep.gateway.problems import PROBLEM_TYPE
from skep.gateway.tokens.access import Action
from skep.session import Session
from skep_shared.models import SessionOptions

Responses = dict[int | str, dict[str, Any]]

PROBLEM_CONTENT: Final = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_PROBLEMS: Final = {
    400: "The body is no JSON.",
    401: "There is no token, or it is wrong, expired or revoked.",
    403: "The token does not permit this.",
    404: "There is no such thing, or it is another tenant's.",
    409: "The session's state does not permit it, or the session could not do it.",
    410: "Retention has removed it, or Redis has lost it.",
    413: "The body is too large.",
    416: "The file does not have this range.",
    421: "The Host header has a name that is unknown here.",
    422: "A value is refused; nothing was written.",
    429: "Too many at a time, or too fast; Retry-After has the seconds to wait, if they are known.",
    503: "Redis is away, or the gateway is busy or closing.",
    504: "It did not happen in time; nothing was cancelled.",
}
_ALWAYS: Final = (401, 403, 413, 421, 422, 429, 503)


def problems(*statuses: int, but: tuple[int, ...] = ()) -> Responses:
    """Return the documentation of these problems, and of those that every route has."""
    wanted = sorted({*_ALWAYS, *statuses} - set(but))
    return {status: {"description": _PROBLEMS[status], "content": PROBLEM_CONTENT} for status in wanted}


CELL_LINKS: Final = {
    name: {
        "operationId": operation,
        "parameters": {"session_id": "$response.body#/session_id", "cell_id": "$response.body#/cell_id"},
        "description": text,
    }
    for name, operation, text in (
        ("outcome", "getCell", "The cell, and its outcome once it has ended."),
        ("events", "getCellEvents", "The cell's events."),
        ("cancel", "cancelCell", "Cancel it before it starts."),
    )
}

SessionId = Annotated[
    str,
    Path(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+=~-]*$", examples=["user-42"],
         description="the session's id"),
]  # fmt: skip
CellId = Annotated[
    str,
    AfterValidator(with_slashes),
    Path(min_length=1, max_length=200, examples=["job-7"], description="the cell's id"),
]
FilePath = Annotated[
    str, Path(min_length=1, max_length=4000, examples=["data/table.csv"], description="the file's path")
]


def caller_of_request(request: Request) -> Caller:
    """Return the caller, whose permissions the route checks by itself."""
    return caller_of(request)


def may(action: Action) -> Callable[[Request], Caller]:
    """Return a dependency: the caller, whose token permits this."""

    def find_caller(request: Request) -> Caller:
        caller = caller_of(request)
        caller.check_may(action)
        return caller

    return find_caller


AnyCaller = Annotated[Caller, Depends(caller_of_request)]
Reader = Annotated[Caller, Depends(may(Action.READ))]
Runner = Annotated[Caller, Depends(may(Action.RUN))]
Admin = Annotated[Caller, Depends(may(Action.ADMIN))]


def session_of(caller: Caller, session_id: str, options: SessionOptions | None = None) -> Session:
    """Return the handle of a session of the caller's tenant. Raises InvalidArgument."""
    return caller.tenant.cluster.session(session_id, options=options)
