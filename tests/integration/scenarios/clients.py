"""The ways to call a cluster, each as a class with the same methods, so that a scenario is written once.

A method names sessions and cells by their ids, and returns what `import skep` returns: outcomes, events, infos. It raises
skep's errors. `http_client.py` is the third way: its problem documents become these errors again.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

import skep
import skep.sync


class Client(Protocol):
    """What a scenario needs of a client."""

    async def submit(self, session: str, code: str, *, options: Any = None, **cell: Any) -> str:
        """Submit a cell; return its id."""

    async def submit_many(self, session: str, cells: Sequence[Any], *, stop_on_error: bool = False) -> list[str]:
        """Submit cells; return their ids."""

    async def seq(self, session: str, code: str, cell_id: str) -> int | None:
        """Submit a cell with this id; return its place in the session."""

    async def run(self, session: str, code: str, **arguments: Any) -> skep.Outcome:
        """Submit a cell and wait for its outcome."""

    async def outcome(self, session: str, cell: str, timeout: float | None = 30) -> skep.Outcome:
        """Wait for a cell's outcome."""

    async def deferred_until(self, session: str, cell: str) -> datetime | None:
        """Return when a cell is due, None if it is in its session."""

    async def cell_events(self, session: str, cell: str, after: str = "0-0") -> list[Any]:
        """Return the events of a cell after `after`, once it has finished."""

    async def events(self, session: str, after: str = "0-0") -> list[Any]:
        """Return the stored events of a session after `after`."""

    async def follow(self, session: str, until: str, after: str = "0-0") -> list[Any]:
        """Return the events of a session after `after`, up to the first one of the kind `until`."""

    async def interrupt(self, session: str, cell: str | None = None) -> bool:
        """Interrupt the running cell, or this one."""

    async def cancel(self, session: str, cell: str) -> bool:
        """Cancel a cell."""

    async def session_call(self, session: str, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of a session that returns plain data: `info`, `transcript`, `answer`, `rollback` …"""

    async def fork(self, session: str, ids: Sequence[str], at: str | None = None) -> list[str]:
        """Fork a session; return the ids of the new ones."""

    async def checkpoints(self, session: str) -> list[skep.Checkpoint]:
        """Return a session's checkpoints."""

    async def files_call(self, session: str, name: str, *arguments: Any) -> Any:
        """Call a method of a session's files."""

    async def sessions(self) -> list[skep.SessionInfo]:
        """Return all sessions."""

    async def workers(self) -> list[skep.WorkerInfo]:
        """Return all workers."""

    async def why(self, session: str) -> Any:
        """Return why no cell of a session runs."""


class PythonClient:
    """Either of the two Python clients: their calls have the same names, and differ only in how they are waited for."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    async def wait(self, call: Callable[[], Any]) -> Any:
        """Return the result of a call."""
        raise NotImplementedError

    async def collect(self, call: Callable[[], Any], until: str | None = None) -> list[Any]:
        """Return what a call yields, up to the first event of the kind `until`."""
        raise NotImplementedError

    async def submit(self, session: str, code: str, *, options: Any = None, **cell: Any) -> str:
        return (await self.wait(lambda: self._cluster.session(session, options=options).submit(code, **cell))).id

    async def submit_many(self, session: str, cells: Sequence[Any], *, stop_on_error: bool = False) -> list[str]:
        made = await self.wait(lambda: self._cluster.session(session).submit_many(cells, stop_on_error=stop_on_error))
        return [cell.id for cell in made]

    async def seq(self, session: str, code: str, cell_id: str) -> int | None:
        return (await self.wait(lambda: self._cluster.session(session).submit(code, cell_id=cell_id))).seq

    async def run(self, session: str, code: str, **arguments: Any) -> skep.Outcome:
        return await self.wait(lambda: self._cluster.session(session).run(code, **arguments))

    async def outcome(self, session: str, cell: str, timeout: float | None = 30) -> skep.Outcome:
        return await self.wait(lambda: self._cluster.cell(session, cell).outcome(timeout))

    async def deferred_until(self, session: str, cell: str) -> datetime | None:
        found: datetime | None = await self.wait(lambda: self._cluster.cell(session, cell).deferred_until())
        return found

    async def cell_events(self, session: str, cell: str, after: str = "0-0") -> list[Any]:
        return await self.collect(lambda: self._cluster.cell(session, cell).events(after))

    async def events(self, session: str, after: str = "0-0") -> list[Any]:
        return await self.collect(lambda: self._cluster.session(session).events(after))

    async def follow(self, session: str, until: str, after: str = "0-0") -> list[Any]:
        return await self.collect(lambda: self._cluster.session(session).events(after, follow=True), until)

    async def interrupt(self, session: str, cell: str | None = None) -> bool:
        return await self.wait(lambda: self._cluster.session(session).interrupt(cell))

    async def cancel(self, session: str, cell: str) -> bool:
        return await self.wait(lambda: self._cluster.cell(session, cell).cancel())

    async def session_call(self, session: str, name: str, *arguments: Any, **named: Any) -> Any:
        return await self.wait(lambda: getattr(self._cluster.session(session), name)(*arguments, **named))

    async def fork(self, session: str, ids: Sequence[str], at: str | None = None) -> list[str]:
        return [each.id for each in await self.wait(lambda: self._cluster.session(session).fork_many(ids, at))]

    async def checkpoints(self, session: str) -> list[skep.Checkpoint]:
        return await self.collect(lambda: self._cluster.session(session).checkpoints())

    async def files_call(self, session: str, name: str, *arguments: Any) -> Any:
        return await self.wait(lambda: getattr(self._cluster.session(session).files, name)(*arguments))

    async def sessions(self) -> list[skep.SessionInfo]:
        return await self.collect(self._cluster.sessions)

    async def workers(self) -> list[skep.WorkerInfo]:
        return await self.collect(self._cluster.workers)

    async def why(self, session: str) -> Any:
        return await self.wait(lambda: self._cluster.why(session))


class AsyncClient(PythonClient):
    """`import skep`."""

    async def wait(self, call: Callable[[], Any]) -> Any:
        result = call()
        return await result if inspect.isawaitable(result) else result

    async def collect(self, call: Callable[[], Any], until: str | None = None) -> list[Any]:
        found = []
        async with contextlib.aclosing(call()) as source:
            async for item in source:
                found.append(item)
                if until is not None and item.kind == until:
                    break
        return found


class BlockingClient(PythonClient):
    """`import skep.sync`, each call in a thread of its own."""

    async def wait(self, call: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(call)

    async def collect(self, call: Callable[[], Any], until: str | None = None) -> list[Any]:
        return await asyncio.to_thread(lambda: list(_up_to(call(), until)))


def _up_to(source: Iterable[Any], until: str | None) -> Iterable[Any]:
    for item in source:
        yield item
        if until is not None and item.kind == until:
            return
