"""The application: its routes, its errors as problem documents, its OpenAPI document."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from skep.gateway.admission import Admission, BodyTooLarge, too_large
from skep.gateway.console import routes as console
from skep.gateway.context import Gateway
from skep.gateway.problems import Problem, Refused, problem_of, problem_response, shown_value, unexpected
from skep.gateway.routes import cells, checkpoints, control, events, files, service, sessions, webhooks
from skep.gateway.tokens.login_middleware import LoginMiddleware
from skep.gateway.tokens.logins import Logins
from skep_shared import __version__
from skep_shared.errors import InvalidArgument, SkepError

ABOUT = """Durable Python sessions: submit cells, follow their output, resume it after anything has ended.

Every call needs `Authorization: Bearer TOKEN`. Errors are problem documents (RFC 9457).
A refused request writes nothing.
"""
# The order matters: a file's path takes everything below files/.
_ROUTERS = (cells, events, control, checkpoints, files, sessions, webhooks, service)


def create_app(gateway: Gateway, logins: Logins | None = None) -> ASGIApp:
    """Return the ASGI application of a gateway. logins: of browsers on this machine."""
    app = FastAPI(title="skep", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    app.state.gateway = gateway
    app.state.logins = logins
    app.include_router(console.router)
    for module in _ROUTERS:
        app.include_router(module.router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(SkepError, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    app.add_exception_handler(Exception, _defect)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    admission = Admission(app, gateway, console.is_public)
    if logins is None:
        return admission
    return LoginMiddleware(admission, logins=logins, host_names=gateway.settings.host_names)


async def _refused(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Refused)  # noqa: S101 - registered for it
    return problem_response(exc.problem, exc.retry_after)


async def _failed(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, SkepError)  # noqa: S101 - registered for it
    return problem_response(*problem_of(exc))


async def _invalid(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - registered for it
    found = exc.errors()
    first = found[0]
    if first["type"] == "json_invalid":
        return problem_response(_unreadable(str(first.get("ctx", {}).get("error", first["msg"]))))
    if isinstance(exc.body, bytes):  # FastAPI parses only a body that is sent as JSON
        kind = request.headers.get("content-type", "missing")
        return problem_response(_unreadable_as(f"The body's Content-Type is {kind}, so it is not read as JSON."))
    refusals = [
        _refusal(error)
        for error in found
        if not (isinstance(exc.body, dict) and str(error["loc"][1:2]).startswith("('list["))
        and not (isinstance(exc.body, list) and error["loc"][1:2] == ("CellBody",))
    ][:20]
    problem = Problem.model_validate({
        "type": "urn:skep:InvalidArgument", "title": "A value is refused", "status": 422,
        "detail": f"{refusals[0]['field']} is refused: {refusals[0]['limit']}",
        "remedy": "Correct the value; nothing was written.", "errors": refusals, **refusals[0],
    })  # fmt: skip
    return problem_response(problem)


def _refusal(error: dict[str, Any]) -> dict[str, Any]:
    """Return the field, the value and the limit of one of pydantic's errors, also if one of ours caused it."""
    field, cause = _field(error["loc"]), error.get("ctx", {}).get("error")
    if isinstance(cause, InvalidArgument):
        is_same = field.rpartition(".")[2] == cause.field
        name = field if is_same else f"{field}.{cause.field}"
        return {"field": name, "value": shown_value(cause.value), "limit": cause.limit}
    value = None if error["type"] == "missing" else shown_value(error.get("input"))  # its input is all the rest
    return {"field": field, "value": value, "limit": error["msg"]}


def _field(location: tuple[int | str, ...]) -> str:
    """Return the name of a field: without the place it is in, and without the names of models that were tried."""
    parts = [str(part) for part in location[1:] if not str(part).startswith(("list[", "CellBody", "function-"))]
    return ".".join(parts) or str(location[0])


def _unreadable(reason: str) -> Problem:
    return _unreadable_as(f"The body is no valid JSON: {reason}")


def _unreadable_as(detail: str) -> Problem:
    return Problem(
        type="urn:skep:Unreadable", title="The body can't be read", status=400, detail=detail,
        remedy="Send JSON, with Content-Type: application/json.",
    )  # fmt: skip


async def _http_error(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for it
    if isinstance(exc, BodyTooLarge):
        return problem_response(too_large(exc.limit).problem)
    if exc.status_code == 400:  # FastAPI's, for any failure to read a body
        return problem_response(_unreadable("it is nested too deeply, or has a number that is too long"))
    titles = {404: "There is no such route", 405: "The route has no such method"}
    title = titles.get(exc.status_code, str(exc.detail))
    problem = Problem(
        type="about:blank", title=title, status=exc.status_code, detail=f"{title}.", remedy="See /openapi.json."
    )
    return problem_response(problem, headers=exc.headers)


async def _disconnected(_request: Request, _exc: Exception) -> Response:
    return Response(status_code=499)  # no client is left to read it


async def _defect(_request: Request, _exc: Exception) -> Response:
    return problem_response(unexpected())


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for path in ("/healthz", "/readyz"):
            document["paths"][path]["get"]["security"] = []
        app.openapi_schema = document
    return app.openapi_schema
