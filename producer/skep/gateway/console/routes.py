"""The console's routes: its page and files, what the caller may do, and the end of a login."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from skep.gateway.answers import json_response
from skep.gateway.console.page_policy import headers_of
from skep.gateway.console.static_files import INDEX, StaticFile, read_static_files
from skep.gateway.context import caller_of
from skep.gateway.problems import Refused
from skep.gateway.tokens.access import Kind
from skep.gateway.tokens.login_middleware import cookie_name
from skep.gateway.tokens.logins import Logins
from skep_shared import __version__

# Not in the OpenAPI document: these are for the page only, and change with it.
router = APIRouter(include_in_schema=False)

STATIC_PREFIX: Final = "/console/static/"
_FILES: Final = read_static_files()
_NOT_STORED: Final = {"Cache-Control": "no-store"}


def is_public(path: str) -> bool:
    """Return whether a path needs no token: the page and its files, which are the same for everybody."""
    return path == "/" or path.startswith(STATIC_PREFIX)


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """Return the page."""
    return _response(request, _FILES[INDEX])


@router.api_route(STATIC_PREFIX + "{path:path}", methods=["GET", "HEAD"])
async def static_file(request: Request, path: str) -> Response:
    """Return a file of the page."""
    file = _FILES.get(path)
    if file is None or path == INDEX:
        kind = (404, "Not found", "Open the console at the gateway's address, without a path.")
        raise Refused("NotFound", kind, "The console has no such file.")
    return _response(request, file)


@router.delete("/console/access")
async def log_out(request: Request) -> Response:
    """End the caller's login, with its open streams. A token that was pasted is the page's own to forget."""
    logins: Logins | None = request.app.state.logins
    name = cookie_name(request.headers.get("host", ""))
    cookie = request.cookies.get(name)
    response = Response(status_code=204, headers=_NOT_STORED)
    if logins is not None and cookie is not None and caller_of(request).access.kind is Kind.LOGIN:
        logins.log_out(cookie)
        response.delete_cookie(name, httponly=True, samesite="strict")
    return response


@router.get("/console/access")
async def access(request: Request) -> Response:
    """Return what the caller may do, so that the page offers nothing else."""
    found = caller_of(request).access
    shown: dict[str, Any] = {
        "token_id": found.token_id,
        "tenant": found.tenant,
        "can": sorted(action.value for action in found.can),
        "expires_at": None if found.expires_at is None else found.expires_at.isoformat(),
        "version": __version__,
    }
    return json_response(shown, headers=_NOT_STORED)


def _response(request: Request, file: StaticFile) -> Response:
    headers = headers_of(file.path) | {"ETag": file.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    response = Response(file.body, headers=headers)
    response.headers["Content-Type"] = file.content_type
    return response
