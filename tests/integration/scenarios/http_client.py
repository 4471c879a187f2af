"""HTTP, by httpx, to a gateway: the third way to call a cluster."""

import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

import skep

from ..gateway.gateway_process import Stream
from .http_answers import EVENT, OUTCOME, Record, answer_of, checked, raise_problem

WAIT_SECONDS: Final = 30.0  # of one request
SMALL_PAGE: Final = 10  # so that listings have several pages


def segment(text: str) -> str:
    """Return a text as a segment of a path, which also keeps its dots."""
    return quote(text, safe="").replace(".", "%2E")


class HttpClient:
    """Each method is one call of the gateway, except for waits and listings, which take as many as are needed.

    Methods of `Client` that the gateway has no call for are not here; `left_out.py` names them.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._calls = {
            "info": self._info,
            "transcript": self._transcript,
            "answer": self._answer,
            "complete": self._complete,
            "inspect": self._inspect,
            "variables": self._variables,
            "rollback": self._rollback,
            "hibernate": self._hibernate,
            "close": self._close,
        }
        self._files = {"put": self._put, "get": self._get, "list": self._list, "remove": self._remove}

    # --- cells ------------------------------------------------------------------------------------------------------------

    async def submit(self, session: str, code: str, *, options: Any = None, **cell: Any) -> str:
        if options is not None:
            cell["options"] = options.model_dump(mode="json", exclude_unset=True)
        made: str = (await self._call("POST", session, "/cells", json={"code": code, **cell}))["cell_id"]
        return made

    async def submit_many(self, session: str, cells: Sequence[Any], *, stop_on_error: bool = False) -> list[str]:
        body = [{"code": cell} if isinstance(cell, str) else cell for cell in cells]
        made = await self._call("POST", session, "/cells", json=body, params={"stop_on_error": stop_on_error})
        return [cell["cell_id"] for cell in made]

    async def seq(self, session: str, code: str, cell_id: str) -> int | None:
        seq: int | None = (await self._call("POST", session, "/cells", json={"code": code, "cell_id": cell_id}))["seq"]
        return seq

    async def run(self, session: str, code: str, *, wait: float | None = None, **cell: Any) -> skep.Outcome:
        params = {"wait": WAIT_SECONDS if wait is None else wait}
        answer = await self._call("POST", session, "/cells", json={"code": code, **cell}, params=params)
        if answer["outcome"] is not None:
            return OUTCOME.validate_python(answer["outcome"])
        if wait is not None:
            raise self._too_late(session, answer["cell_id"], wait)
        return await self.outcome(session, answer["cell_id"], None)

    async def outcome(self, session: str, cell: str, timeout: float | None = 30) -> skep.Outcome:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            rest = WAIT_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            answer = await self._call("GET", session, f"/cells/{segment(cell)}", params={"wait": rest})
            if answer["outcome"] is not None:
                return OUTCOME.validate_python(answer["outcome"])
            if timeout is not None and not rest:
                raise self._too_late(session, cell, timeout)

    async def deferred_until(self, session: str, cell: str) -> datetime | None:
        answer = await self._call("GET", session, f"/cells/{segment(cell)}")
        assert (answer["state"] == "deferred") == (answer["due_at"] is not None)
        return None if answer["due_at"] is None else datetime.fromisoformat(answer["due_at"])

    @staticmethod
    def _too_late(session: str, cell: str, seconds: float) -> skep.WaitTimeout:
        """Return the error for a cell that is still pending: to the gateway that is no error."""
        return skep.WaitTimeout(f"the end of cell {cell!r} of session {session!r}", seconds)

    async def cancel(self, session: str, cell: str) -> bool:
        return bool((await self._call("POST", session, f"/cells/{segment(cell)}/cancel"))["cancelled"])

    async def interrupt(self, session: str, cell: str | None = None) -> bool:
        return bool((await self._call("POST", session, "/interrupt", json={"cell_id": cell}))["interrupted"])

    # --- events -----------------------------------------------------------------------------------------------------------

    async def cell_events(self, session: str, cell: str, after: str = "0-0") -> list[Any]:
        return [event async for event in self._stream(session, f"/cells/{segment(cell)}/events", after)]

    async def events(self, session: str, after: str = "0-0") -> list[Any]:
        found = []
        while True:
            page = await self._call("GET", session, "/events", params={"after": after, "limit": SMALL_PAGE})
            found += [EVENT.validate_python(event) for event in page["events"]]
            if not page["has_more"]:
                return found
            after = page["next"]

    async def follow(self, session: str, until: str, after: str = "0-0") -> list[Any]:
        found = []
        async with contextlib.aclosing(self._stream(session, "/events", after)) as events:
            async for event in events:
                found.append(event)
                if event.kind == until:
                    break
        return found

    async def _stream(self, session: str, path: str, after: str) -> AsyncGenerator[Any, None]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": after}
        async with self._http.stream("GET", self._path(session, path), headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                await response.aread()
                assert checked(response).status_code == httpx.codes.NO_CONTENT
                return
            async for name, data in Stream(response).messages():
                if name == "error":
                    raise_problem(data)
                yield EVENT.validate_python(data)

    # --- sessions ---------------------------------------------------------------------------------------------------------

    async def session_call(self, session: str, name: str, *arguments: Any, **named: Any) -> Any:
        return await self._calls[name](session, *arguments, **named)

    async def _info(self, session: str) -> skep.SessionInfo:
        return skep.SessionInfo.model_validate(await self._call("GET", session))

    async def _transcript(self, session: str) -> list[Record]:
        cells = (await self._call("GET", session, "/transcript"))["cells"]
        return [Record(cell["code"], cell["text"], cell["outcome"]) for cell in cells]

    async def _answer(self, session: str, text: Any) -> bool:
        return bool((await self._call("POST", session, "/answer", json={"text": text}))["answered"])

    async def _complete(self, session: str, code: str, cursor: int | None = None) -> skep.Completion:
        found = await self._call("POST", session, "/complete", json={"code": code, "cursor": cursor})
        return TypeAdapter(skep.Completion).validate_python(found)

    async def _inspect(self, session: str, name: str) -> skep.Inspection:
        found = await self._call("POST", session, "/inspect", json={"name": name})
        return TypeAdapter(skep.Inspection).validate_python(found)

    async def _variables(self, session: str) -> list[skep.Variable]:
        found = (await self._call("GET", session, "/variables"))["variables"]
        return TypeAdapter(list[skep.Variable]).validate_python(found)

    async def _rollback(self, session: str, checkpoint: str) -> None:
        await self._call("POST", session, "/rollback", json={"checkpoint": checkpoint})

    async def _hibernate(self, session: str) -> None:
        await self._call("POST", session, "/hibernate")

    async def _close(self, session: str, *, purge: bool = False) -> None:
        await self._call("DELETE", session, params={"purge": purge})

    async def fork(self, session: str, ids: Sequence[str], at: str | None = None) -> list[str]:
        made: list[str] = (await self._call("POST", session, "/fork", json={"new_id": ids, "at": at}))["ids"]
        return made

    async def checkpoints(self, session: str) -> list[skep.Checkpoint]:
        found = (await self._call("GET", session, "/checkpoints"))["checkpoints"]
        return TypeAdapter(list[skep.Checkpoint]).validate_python(found)

    # --- files ------------------------------------------------------------------------------------------------------------

    async def files_call(self, session: str, name: str, *arguments: Any) -> Any:
        return await self._files[name](session, *arguments)

    async def _put(self, session: str, path: str, data: bytes) -> None:
        await self._call("PUT", session, f"/files/{segment(path)}", content=data)

    async def _get(self, session: str, path: str) -> bytes:
        return checked(await self._http.get(self._path(session, f"/files/{segment(path)}"))).content

    async def _list(self, session: str) -> list[skep.FileInfo]:
        found = (await self._call("GET", session, "/files"))["files"]
        return TypeAdapter(list[skep.FileInfo]).validate_python(found)

    async def _remove(self, session: str, path: str) -> None:
        await self._call("DELETE", session, f"/files/{segment(path)}")

    # --- the cluster ------------------------------------------------------------------------------------------------------

    async def sessions(self) -> list[skep.SessionInfo]:
        found: list[skep.SessionInfo] = []
        after: dict[str, str] = {}
        while True:
            page = answer_of(await self._http.get("/v1/sessions", params={"limit": SMALL_PAGE, **after}))
            found += map(skep.SessionInfo.model_validate, page["sessions"])
            if page["next"] is None:
                return found
            after = {"after": page["next"]}

    async def workers(self) -> list[skep.WorkerInfo]:
        found = answer_of(await self._http.get("/v1/workers"))["workers"]
        return list(map(skep.WorkerInfo.model_validate, found))

    async def _call(self, method: str, session: str, path: str = "", **request: Any) -> Any:
        return answer_of(await self._http.request(method, self._path(session, path), **request))

    def _path(self, session: str, path: str) -> str:
        return f"/v1/sessions/{segment(session)}{path}"
