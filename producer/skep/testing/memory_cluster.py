"""A cluster without Redis and without processes, for unit tests of services."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from types import TracebackType
from typing import Any, Final, Self, cast

from skep.cluster import Cluster
from skep.link import ShardLink
from skep.listings.session_listing import SessionFilter
from skep.replies import ReplyReader
from skep.testing.answers import AnswerFunction
from skep.testing.memory_cell import MemoryCell
from skep.testing.memory_record import SessionRecord
from skep.testing.memory_session import MemorySession
from skep.testing.refusals import NoLink, refuses_the_rest_of
from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.errors import ClientUnusable, InvalidArgument
from skep_shared.limits import check_session_id
from skep_shared.models import SessionInfo, SessionOptions
from skep_shared.settings import Settings
from skep_shared.states import SessionState


@refuses_the_rest_of(Cluster, inherited=frozenset())
class MemoryCluster(Cluster):
    """A Cluster whose cells are answered by a function of the test, in memory.

    answer: is called with a cell's code and its inputs, one cell of a session at a time, and may be a coroutine
    function. It returns the value of the cell's last expression, an exception, or an Answer or Outcome; what it raises
    fails the cell. A coroutine function can be interrupted, and is ended by a cell's timeout. Use it with `async with`:
    leaving ends the cells that run, and raises what `answer` raised that no cell catches, such as `pytest.fail()`.

    Arguments are checked, cells have ids that are accepted once, run in order and report events as in a real cluster.
    There are no checkpoints, workers, variables or deferred cells: what needs them raises NotInMemory. settings: of the
    client, by default the defaults; the environment is not read.
    """

    def __init__(self, answer: AnswerFunction, *, settings: Settings | None = None) -> None:
        if not callable(answer):
            raise InvalidArgument("answer", answer, "a function of code and inputs is needed")
        self._nothing: Final = NoLink(Settings.model_construct() if settings is None else settings)
        nothing = cast("object", self._nothing)
        super().__init__(cast("ShardLink", nothing), cast("ReplyReader", nothing))
        self._answer = answer
        self._records: dict[str, SessionRecord] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Open the cluster, once. Raises ClientUnusable."""
        if self._loop is not None:
            raise ClientUnusable("it was opened before: make a new MemoryCluster")
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the cells that run. Raises what `answer` raised that no cell catches, unless the block raised."""
        self._is_closed = True
        await cancel_until_ended(self._tasks)
        failures = [record.failure for record in self._records.values() if record.failure is not None]
        if failures and exc is None:
            raise failures[0]

    def session(self, session_id: str, *, options: SessionOptions | None = None) -> MemorySession:
        """Return a handle on a session, existing or new. Raises InvalidArgument."""
        return MemorySession(self._nothing, self, check_session_id(session_id), options)

    def cell(self, session_id: str, cell_id: str) -> MemoryCell:
        """Return a handle on a cell. Raises InvalidArgument."""
        return self.session(session_id).cell(cell_id)

    def sessions(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        state: SessionState | str | None = None,
        prefix: str | None = None,
    ) -> AsyncIterator[SessionInfo]:
        """Yield the sessions, oldest first: those that have these labels, this state and this prefix.

        Raises InvalidArgument.
        """
        return self._found(SessionFilter.checked(labels, state, prefix, has_tenant=False))

    async def _found(self, wanted: SessionFilter) -> AsyncIterator[SessionInfo]:
        self._check_use()
        for info in [record.info() for record in self._records.values()]:
            if info.id.startswith(wanted.prefix) and wanted.has(info):
                yield info

    def find(self, session_id: str) -> SessionRecord | None:
        """Return a session's record, if it exists. Raises ClientUnusable."""
        self._check_use()
        return self._records.get(session_id)

    def create(self, session_id: str, options: SessionOptions | None) -> SessionRecord:
        """Return a session's record, a new one with these options if there is none. Raises ClientUnusable."""
        record = self.find(session_id)
        if record is None:
            record = SessionRecord(session_id, self._answer, options, self._start_task)
            self._records[session_id] = record
        return record

    def remove(self, session_id: str) -> None:
        """Remove a session's record."""
        self._records.pop(session_id, None)

    def _check_use(self) -> None:
        if self._loop is None:
            raise ClientUnusable("it is not open yet: use `async with MemoryCluster(…) as cluster:`")
        if self._is_closed:
            raise ClientUnusable("it has been closed: make a new MemoryCluster")
        if asyncio.get_running_loop() is not self._loop:
            raise ClientUnusable("it was opened in another event loop")

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
