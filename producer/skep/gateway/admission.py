"""Which requests are let through: the right host name, a valid token, not too many, not too large.

It is the outermost layer, so that a refused request is neither parsed nor routed. Its order is that of the costs: the
number of requests, the host name, the token, what the token may have at a time and in a minute, and the size.
"""

import re
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skep.gateway.context import CALLER_KEY, Caller, Gateway
from skep.gateway.path_segments import routed_path
from skep.gateway.problems import Refused, problem_of, problem_response
from skep.gateway.quota import Slot
from skep.gateway.refusals import refusal_response, unknown_host
from skep.gateway.tokens.access import Access, Action
from skep.gateway.tokens.signed_links import METHODS
from skep_shared.errors import SkepError

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/openapi.json"})  # need no token, and say nothing of sessions
_FILE: Final = re.compile(r"/v1/sessions/([^/]+)/files/(.+)", re.DOTALL)
_HEADERS: Final = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class BodyTooLarge(HTTPException):
    """The body is larger than its limit. An HTTPException, which FastAPI passes on while it reads a body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413)
        self.limit = limit


def too_large(limit: int) -> Refused:
    """Return the refusal of a body."""
    kind = (413, "The body is too large", "Send less at a time, or ask the operator for a higher limit.")
    return Refused("BodyTooLarge", kind, f"A body of at most {limit} bytes is accepted.", limit=limit)


class Admission:
    """The ASGI application around the routes. `is_public`: paths that need no token, besides OPEN_PATHS."""

    def __init__(self, app: ASGIApp, gateway: Gateway, is_public: Callable[[str], bool] = lambda _path: False) -> None:
        self._app = app
        self._gateway = gateway
        self._host_names = gateway.settings.host_names
        self._is_public = is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            return
        started_at, status, is_started = time.perf_counter(), 500, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, is_started
            if message["type"] == "http.response.start":
                status, is_started = message["status"], True
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            await self._admit(scope, receive, send_with_headers)
        except Refused as exc:
            if is_started:
                raise
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            await refusal_response(exc, scope["method"], accept)(scope, receive, send_with_headers)
        except SkepError as exc:
            if is_started:
                raise
            await problem_response(*problem_of(exc))(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "")
            self._gateway.metrics.request(scope["method"][:16], route, status, time.perf_counter() - started_at)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        slot = self._gateway.quota.enter()
        try:
            headers = dict(scope["headers"])  # of a repeated one the last counts
            if not self._host_names.accept(host := headers.get(b"host", b"").decode("latin-1")):
                raise unknown_host(host)
            scope["path"] = routed_path(scope["path"], scope.get("raw_path") or b"")
            limited = self._limited(scope, headers, receive)
            if scope["path"] in OPEN_PATHS or self._is_public(scope["path"]):
                await self._app(scope, limited, send)
                return
            access = await self._access(scope, headers.get(b"authorization", b"").decode("latin-1"))
            slot.of_token(access.token_id)
            await self._with_cluster(scope, limited, send, access, slot)
        finally:
            slot.leave()

    async def _with_cluster(self, scope: Scope, receive: Receive, send: Send, access: Access, slot: Slot) -> None:
        async with self._gateway.clusters.of(access.tenant) as tenant:
            scope[CALLER_KEY] = Caller(self._gateway, access, tenant, slot)
            await self._app(scope, receive, send)

    async def _access(self, scope: Scope, authorization: str) -> Access:
        """Return what the caller may do: by a token, by a login, or by a signed link to a file. Raises Refused."""
        login: Access | None = scope.get("state", {}).get("login_access")
        if login is not None:
            return login
        if not authorization and (file := _FILE.fullmatch(scope["path"])) and scope["method"] in {*METHODS, "HEAD"}:
            found = await self._access_of_link(file[1], file[2], scope)
            if found is not None:
                return found
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            access = await self._gateway.tokens.check(token.strip())
            if access is not None:
                return access
        kind = (401, "A valid token is needed", "Send the header Authorization: Bearer TOKEN.")
        raise Refused("Unauthorized", kind, "There is no token, or it is wrong, expired or revoked.")

    async def _access_of_link(self, session_id: str, path: str, scope: Scope) -> Access | None:
        method: str = scope["method"]
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        if "signature" not in query:
            return None
        file = await self._gateway.links.check(path, session_id=session_id, query=query, method=method)
        if file is None:
            return None
        right = Action.RUN if method == "PUT" else Action.READ
        return Access(f"link:{file.tenant or ''}", file.tenant, frozenset({right}), file.expires_at)

    def _limited(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Return `receive` with a limit of the body. Raises Refused if the body is known to be larger."""
        settings = self._gateway.settings
        is_file = scope["method"] == "PUT" and "/files/" in scope["path"]
        limit = settings.max_file_bytes if is_file else settings.max_body_bytes
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            raise too_large(limit)
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(limit)
            return message

        return receive_limited
