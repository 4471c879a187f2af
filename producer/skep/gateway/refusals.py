"""Refusals as a client can read them: a problem document, or a plain page for a person whose browser has come here."""

from html import escape
from typing import Final

from starlette.responses import Response

from skep.gateway.problems import Problem, Refused, problem_response

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} - skep</title>
<h1>{title}</h1>
<p>{detail}</p>
<p>{remedy}</p>
</html>
"""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Vary": "Accept",
}
_KEPT: Final = ("WWW-Authenticate", "Retry-After")
UNKNOWN_HOST: Final = (
    421,
    "The host name is unknown here",
    "Open the gateway by the address that it has printed, or let the operator add the name to SKEP_GATEWAY_HOSTS.",
)


def unknown_host(host: str) -> Refused:
    """Return the refusal of a request for another host."""
    return Refused(
        "UnknownHost", UNKNOWN_HOST, "The Host of the request is not one of this gateway's.", host=host[:200]
    )


def refusal_response(exc: Refused, method: str, accept: str) -> Response:
    """Return the response for a refusal. accept: the header of that name."""
    challenge = {"WWW-Authenticate": "Bearer"} if exc.problem.status == 401 else {}
    response = problem_response(exc.problem, exc.retry_after, challenge | {"Vary": "Accept"})
    if method == "GET" and "text/html" in accept.lower():
        page = _page(exc.problem)
        page.headers.update({name: response.headers[name] for name in _KEPT if name in response.headers})
        return page
    return response


def _page(problem: Problem) -> Response:
    shown = {name: escape(getattr(problem, name)) for name in ("title", "detail", "remedy")}
    return Response(_PAGE.format(**shown), problem.status, _HEADERS, "text/html; charset=utf-8")
