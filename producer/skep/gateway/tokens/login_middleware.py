"""The ASGI part of logins: exchanges a link for a cookie, and refuses requests of other pages that carry the cookie.

A route finds who has called in `scope["state"]["login_access"]`, which is `request.state.login_access`; it is absent
for requests without a login. A request with an Authorization header is passed on as it is: its cookie does not count.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from skep.gateway.host_names import HostNames
from skep.gateway.problems import Refused
from skep.gateway.refusals import refusal_response, unknown_host
from skep.gateway.tokens.logins import LOGIN_SECONDS, Login, Logins
from skep.gateway.tokens.request_origin import CSRF_HEADER, SAFE_METHODS, why_foreign

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOGIN_PARAMETER: Final = "token"
LOGIN_PATH: Final = "/"
_USED: Final = (
    403,
    "This link was used already, or is too old",
    (
        "In the browser that has used it, open this address without ?token=… in its end. In another one do the same, "
        "and paste the token that skep gateway has printed for programs. Or start skep gateway again: it prints "
        "another link."
    ),
)
_FOREIGN: Final = (
    403,
    "Only the gateway's own page may do this with a login",
    "Reload the page. Programs send a token instead: Authorization: Bearer TOKEN.",
)


class LoginMiddleware:
    """Serves browsers on this machine that have opened the link of the gateway."""

    def __init__(self, app: App, *, logins: Logins, host_names: HostNames) -> None:
        self._app = app
        self._host_names = host_names
        self._logins = logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._host_names.accept(host := headers.get("host", "")):
            await _refuse(scope, send, headers, unknown_host(host))
            return
        if "authorization" in headers:
            await self._app(scope, receive, send)
            return
        name = cookie_name(host)
        login = self._login(headers.get("cookie", ""), name)
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == LOGIN_PATH:
            fields = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
            if LOGIN_PARAMETER in fields:
                await self._log_in(scope, send, headers, fields, before=login)
                return
        if login is None:
            await self._app(scope, receive, send)
            return
        method = scope.get("method", "GET")
        reason = why_foreign(method, scope["scheme"], headers, login.csrf)
        if reason:
            await _refuse(scope, send, headers, Refused("ForeignRequest", _FOREIGN, reason))
            return
        scope.setdefault("state", {})["login_access"] = login.access
        is_read = scope["type"] == "http" and method in SAFE_METHODS
        await self._app(scope, receive, _with_csrf(send, login.csrf) if is_read else send)

    def _login(self, cookies: str, name: str) -> Login | None:
        try:
            cookie = SimpleCookie(cookies).get(name)
        except CookieError:
            return None
        return None if cookie is None else self._logins.find(cookie.value)

    async def _log_in(
        self, scope: Scope, send: Send, sent: dict[str, str], fields: dict[str, str], *, before: Login | None
    ) -> None:
        login = self._logins.exchange(fields.pop(LOGIN_PARAMETER))
        if login is None and before is None:
            await _refuse(scope, send, sent, Refused("LinkUsed", _USED, "It works once, within an hour."))
            return
        place = f"{LOGIN_PATH}?{urlencode(fields)}" if fields else LOGIN_PATH
        headers = [
            (b"location", place.encode()),
            (b"cache-control", b"no-store"),
            (b"referrer-policy", b"no-referrer"),
            (b"content-length", b"0"),
        ]
        if login is not None:  # a link that is opened again in the same browser leads to the page
            secure = "; Secure" if scope["scheme"] == "https" else ""
            name = cookie_name(sent["host"])
            cookie = f"{name}={login.cookie}; Path=/; Max-Age={int(LOGIN_SECONDS)}; HttpOnly; SameSite=Strict{secure}"
            headers.append((b"set-cookie", cookie.encode()))
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def cookie_name(host: str) -> str:
    """Return the cookie's name, which has the port: browsers send cookies to all ports of a machine."""
    port = host.rpartition(":")[2]
    return f"skep-login-{port}" if port.isascii() and port.isdigit() else "skep-login"


def _with_csrf(send: Send, csrf: str) -> Send:
    """Return a `send` that adds the header which the page has to send back; other pages can't read it."""

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(CSRF_HEADER.encode(), csrf.encode()), (b"vary", b"cookie")]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return add


async def _refuse(scope: Scope, send: Send, headers: dict[str, str], refused: Refused) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refused.problem.detail[:120]})
        return
    response = refusal_response(refused, scope["method"], headers.get("accept", ""))
    response.headers["Referrer-Policy"] = "no-referrer"
    await response(scope, _nothing, send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
