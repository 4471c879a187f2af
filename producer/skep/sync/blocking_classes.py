"""The blocking classes, generated from the asynchronous ones: don't edit.

`python tests/tooling/blocking_classes.py` writes this module again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Self, Unpack, cast

from skep.callbacks import OnEvent, OnOutput
from skep.cell import Cell as AsyncCell
from skep.cell_request import CellOptions, CellRequest
from skep.checkpoints import Checkpoint
from skep.cluster import Cluster as AsyncCluster
from skep.export.output_room import MAX_CELL_BYTES, MAX_EXPORT_BYTES
from skep.files import FileInfo, FilePiece
from skep.files import SessionFiles as AsyncSessionFiles
from skep.inspection import Completeness, Completion, Inspection, Variable
from skep.local.embedded import EmbeddedCluster as AsyncEmbeddedCluster
from skep.local.worker_process import WorkerProcess as AsyncWorkerProcess
from skep.outcome import CellFold, Outcome
from skep.session import CLOSE_SECONDS
from skep.session import Session as AsyncSession
from skep.sync.handle import Handle, find_cell, find_session, find_worker_process
from skep.sync.reading import Reading
from skep.why import Standstill
from skep_shared.events import Event
from skep_shared.models import SessionInfo, SessionOptions, WorkerInfo
from skep_shared.settings import Settings
from skep_shared.states import SessionState


class SessionFiles(Handle[AsyncSessionFiles]):
    """`session.files`: the files of one session."""

    def put(self, path: str, data: bytes | bytearray | memoryview | Path) -> None:
        """Write a file from bytes or from a local file, also while a cell runs; directories are made as needed.

        It replaces an existing file in one step, and is saved when this returns (with durability "none" it is lost with
        the session's process). A local file is read piece by piece. Raises InvalidArgument, SessionClosed, RedisFull,
        RedisUnavailable, and OperationFailed with the reason if the session can't hold or save the file, for example
        because of its quota; nothing is written then.
        """
        self._wait(lambda each: each.put(path, data))

    def put_from(self, path: str, source: IO[bytes]) -> None:
        """Write a file from an open local file, from its beginning to its end. Raises what `put` raises."""
        self._wait(lambda each: each.put_from(path, source))

    def get(self, path: str) -> bytes:
        """Read a file. Raises InvalidArgument, NotFound, OperationFailed, RedisUnavailable."""
        return self._wait(lambda each: each.get(path))

    def read_from(self, path: str, offset: int) -> FilePiece:
        """Read a piece of a file from an offset on, in bytes. Raises what `get` raises."""
        return self._wait(lambda each: each.read_from(path, offset))

    def list(self) -> list[FileInfo]:
        """Return the session's files, by path. Raises OperationFailed, NotFound, RedisUnavailable."""
        return self._wait(lambda each: each.list())

    def remove(self, path: str) -> None:
        """Remove a file or a directory, by a cell; done and saved when this returns.

        Raises InvalidArgument, the errors of `submit`, and a CellError if there is no such file.
        """
        self._wait(lambda each: each.remove(path))


class Cell(Handle[AsyncCell]):
    """One cell of a session, submitted by this client or by another one.

    `seq` is its place in the session. It is None while this client doesn't know it: for a deferred cell, and for a cell
    that was looked up by its id.
    """

    @property
    def id(self) -> str:
        """The cell's id: the caller's idempotency key, or a generated id."""
        return self._current.id

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._current.session_id

    @property
    def seq(self) -> int | None:
        """The cell's place in its session, from 1."""
        return self._current.seq

    def outcome(self, timeout: float | timedelta | None = None) -> Outcome:
        """Wait until the cell has ended, and return its outcome. An error of the cell's code is not raised.

        A deferred cell can be waited for before it is due, also that of another client. timeout: seconds, or a
        timedelta; WaitTimeout (a TimeoutError) ends the wait, not the cell. Raises NotFound for a cell that was never
        submitted, CellForgotten if Redis has lost it, EventsTrimmed if retention has removed its events,
        RedisUnavailable if Redis can't be reached for too long.
        """
        return self._wait(lambda each: each.outcome(timeout))

    def outcome_now(self) -> Outcome | None:
        """Return the outcome if the cell has ended, otherwise None. Raises what `outcome` does, but no WaitTimeout."""
        return self._wait(lambda each: each.outcome_now())

    def deferred_until(self) -> datetime | None:
        """Return when a deferred cell is due, None if it is in its session. Raises NotFound, RedisUnavailable.

        A time that has passed means that no worker has appended the cell yet. Known for cells that skep has deferred,
        not for jobs that a service has queued with plain arq.
        """
        return self._wait(lambda each: each.deferred_until())

    def events(self, after: str = "0-0") -> Reading[Event]:
        """Yield the cell's events after the id `after`, stored and live, up to its cell.finished.

        `after` is the id of an event that was read before, of this cell or another cell of its session: a reader that
        returns continues there. `events.reset` reports that Redis went back to an earlier state. Raises
        InvalidArgument, NotFound, CellForgotten, EventsTrimmed (for events after `after`), RedisUnavailable.
        """
        return self._read(lambda each: each.events(after))

    def interrupt(self) -> bool:
        """End the cell, now or as soon as it starts; False if it has ended. Raises NotFound, RedisUnavailable."""
        return self._wait(lambda each: each.interrupt())

    def cancel(self) -> bool:
        """Cancel the cell if it has not started; False if it has ended. Its outcome says whether it was cancelled.

        Raises NotFound, RedisUnavailable.
        """
        return self._wait(lambda each: each.cancel())


class Session(Handle[AsyncSession]):
    """A named namespace and its history of cells. Making a handle does no I/O; the first cell creates the session."""

    @property
    def id(self) -> str:
        """The id of this session."""
        return self._current.id

    @property
    def files(self) -> SessionFiles:
        """The files of this session."""
        found = self._within(lambda each: each.files)
        return SessionFiles(self._connection, found, self._current.files, self._cluster)

    def cell(self, cell_id: str) -> Cell:
        """Return a handle on a cell that any client submitted; no I/O."""
        return Cell(self._connection, self._within(lambda each: each.cell(cell_id)))

    def submit(
        self,
        code: str,
        *,
        defer_by: float | timedelta | None = None,
        defer_until: datetime | None = None,
        **options: Unpack[CellOptions],
    ) -> Cell:
        """Append a cell; it is durable when this returns. `defer_by` (seconds) or `defer_until` append it later.

        Raises InvalidArgument, SessionClosed, BacklogFull, RateExceeded, QuotaExceeded, RedisFull, RedisUnavailable.
        """
        made = self._wait(lambda each: each.submit(code, defer_by=defer_by, defer_until=defer_until, **options))
        return Cell(self._connection, find_cell(made), made, self._cluster)

    def submit_many(self, cells: Sequence[str | CellRequest], *, stop_on_error: bool = False) -> list[Cell]:
        """Append cells in this order, all or none, in one round trip; at most 1,000.

        stop_on_error: each cell runs only if the one before it succeeded; otherwise it is cancelled. Cells that were
        submitted before must then come before new ones, and keep the options of their first submit. Raises what
        `submit` raises.
        """
        return [
            Cell(self._connection, find_cell(made), made, self._cluster)
            for made in self._wait(lambda each: each.submit_many(cells, stop_on_error=stop_on_error))
        ]

    def run(
        self,
        code: str,
        *,
        wait: float | timedelta | None = None,
        on_output: OnOutput | None = None,
        on_event: OnEvent | None = None,
        **options: Unpack[CellOptions],
    ) -> Outcome:
        """Submit a cell and wait for its outcome, at most `wait` seconds.

        Meanwhile call `on_event` with each of its events, and `on_output` with those that are output; both may be
        asynchronous. One call ends before the next begins. Raises what `submit` and `outcome` raise, and what a
        function raises: that ends the wait, not the cell.
        """
        return self._wait(lambda each: each.run(code, wait=wait, on_output=on_output, on_event=on_event, **options))

    def events(self, after: str = "0-0", *, follow: bool = False) -> Reading[Event]:
        """Yield the session's events after the id `after`; with `follow` also new ones, until it is closed.

        `events.trimmed` reports that retention has removed events, `events.reset` that Redis went back to an earlier
        state. Raises InvalidArgument, RedisUnavailable.
        """
        return self._read(lambda each: each.events(after, follow=follow))

    def transcript(self) -> list[CellFold]:
        """Return one record per cell, in order: its code, its text so far, and its outcome once it has finished.

        Displays show the last update, also by a later cell, and cleared output is left out. So are cells of which
        retention has removed events.
        """
        return self._wait(lambda each: each.transcript())

    def notebook(self, *, max_cell_bytes: int = MAX_CELL_BYTES, max_bytes: int = MAX_EXPORT_BYTES) -> dict[str, Any]:
        """Return the session's record as a Jupyter notebook (nbformat 4.5), ready for `json.dump`.

        Cells have their outputs as Jupyter would save them, and in `metadata["skep"]` seq, cell_id, attempt, status and
        checkpoint. max_cell_bytes: of the outputs of a cell; max_bytes: of all code and outputs. An output says where
        something was left out for them. Raises NotFound, InvalidArgument, RedisUnavailable.
        """
        return self._wait(lambda each: each.notebook(max_cell_bytes=max_cell_bytes, max_bytes=max_bytes))

    def html(self, *, max_cell_bytes: int = MAX_CELL_BYTES, max_bytes: int = MAX_EXPORT_BYTES) -> str:
        """Return the session's record as one page of HTML that needs no script, no network and no other file.

        Nothing in it can run code of the session or load anything. Limits and errors are those of `notebook`.
        """
        return self._wait(lambda each: each.html(max_cell_bytes=max_cell_bytes, max_bytes=max_bytes))

    def interrupt(self, cell_id: str | None = None) -> bool:
        """End the running cell, or the cell of this id; False if there was none to end.

        Raises NotFound for an unknown session or cell, RedisUnavailable.
        """
        return self._wait(lambda each: each.interrupt(cell_id))

    def answer(self, text: str | None) -> bool:
        """Answer the running cell's input(); None is EOF. False if nothing runs. Raises NotFound, InvalidArgument."""
        return self._wait(lambda each: each.answer(text))

    def complete(self, code: str, cursor: int | None = None) -> Completion:
        """Return completions at the cursor (in characters, default the end), also while a cell runs.

        Raises NotFound, OperationFailed, RedisUnavailable.
        """
        return self._wait(lambda each: each.complete(code, cursor))

    def is_complete(self, code: str) -> Completeness:
        """Return whether code is complete, also while a cell runs; a front end asks this at each Enter.

        A block is complete with the empty line that ends it. Raises as `complete` does.
        """
        return self._wait(lambda each: each.is_complete(code))

    def inspect(self, name: str) -> Inspection:
        """Return type, signature, documentation and source of a dotted name, also while a cell runs.

        Raises as `complete` does.
        """
        return self._wait(lambda each: each.inspect(name))

    def variables(self) -> list[Variable]:
        """Return the names that cells have bound, also while a cell runs. Raises as `complete` does."""
        return self._wait(lambda each: each.variables())

    def checkpoints(self) -> Reading[Checkpoint]:
        """Yield the stored checkpoints, oldest first. Raises RedisUnavailable."""
        return self._read(lambda each: each.checkpoints())

    def name_checkpoint(self, checkpoint_id: str, name: str | None) -> None:
        """Name a checkpoint; None removes its name. A named one is retained, and can be referred to by its name.

        Raises InvalidArgument (also for the name of another checkpoint), NotFound, RedisUnavailable.
        """
        self._wait(lambda each: each.name_checkpoint(checkpoint_id, name))

    def rollback(self, checkpoint_id: str) -> None:
        """Make an earlier checkpoint, by its id or name, the session's state; no cell may be running or pending.

        Raises InvalidArgument, NotFound, OperationFailed, RedisUnavailable.
        """
        self._wait(lambda each: each.rollback(checkpoint_id))

    def fork(self, new_id: str, at: str | None = None, *, sandbox: str | None = None) -> "Session":
        """Create a session from a checkpoint of this one, by its id or name, by default the latest.

        From then on the two are independent. Stored data is not copied, and is retained as long as one of them needs
        it. Memory is not copied either, if this session is idle at that checkpoint when the new one's first cell runs.
        The new session has the options of this one. sandbox: the weakest tier that it may have, at least this one's.
        Raises InvalidArgument (also if `new_id` is taken), NotFound, OperationFailed, RedisFull, RedisUnavailable.
        """
        made = self._wait(lambda each: each.fork(new_id, at, sandbox=sandbox))
        return Session(self._connection, find_session(made), made, self._cluster)

    def fork_many(self, ids: Sequence[str], at: str | None = None, *, sandbox: str | None = None) -> list["Session"]:
        """Create up to 1,000 sessions from one checkpoint, all or none. Raises what `fork` raises."""
        return [
            Session(self._connection, find_session(made), made, self._cluster)
            for made in self._wait(lambda each: each.fork_many(ids, at, sandbox=sandbox))
        ]

    def hibernate(self) -> None:
        """End the session's process now; its next cell restores it. No worker owns the session when this returns.

        No cell may be running or pending. Raises NotFound, OperationFailed, WaitTimeout, RedisUnavailable.
        """
        self._wait(lambda each: each.hibernate())

    def info(self) -> SessionInfo:
        """Return the session's state, owner, progress, limits, sandbox and network.

        Raises NotFound, RedisUnavailable.
        """
        return self._wait(lambda each: each.info())

    def update(self, options: SessionOptions) -> None:
        """Change the options that are given here: labels, idle_seconds and expires_in; None means the default again.

        The others are what a running process was started with, or what its worker was chosen for; they are refused.
        Raises InvalidArgument, NotFound, SessionClosed, SignatureRefused, OperationFailed, RedisFull, RedisUnavailable.
        """
        self._wait(lambda each: each.update(options))

    def close(self, *, purge: bool = False, timeout: float = CLOSE_SECONDS) -> None:
        """End the session: interrupt its running cell and cancel its pending ones; `purge` also deletes its data.

        Raises NotFound, SignatureRefused, WaitTimeout if no worker ended it within `timeout` seconds, RedisUnavailable.
        """
        self._wait(lambda each: each.close(purge=purge, timeout=timeout))


class Cluster(Handle[AsyncCluster]):
    """A client's view of one shard, or of one tenant's sessions there."""

    @property
    def settings(self) -> Settings:
        """The settings that this client was connected with."""
        return self._current.settings

    def session(self, session_id: str, *, options: SessionOptions | None = None) -> Session:
        """Return a handle on a session, existing or new; no I/O. Its first cell creates a new one with `options`.

        Raises InvalidArgument, also for a limit above the maximum in this client's settings.
        """
        return Session(self._connection, self._within(lambda each: each.session(session_id, options=options)))

    def cell(self, session_id: str, cell_id: str) -> Cell:
        """Return a handle on a cell that any client submitted; no I/O. Raises InvalidArgument."""
        return Cell(self._connection, self._within(lambda each: each.cell(session_id, cell_id)))

    def sessions(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        state: SessionState | str | None = None,
        prefix: str | None = None,
    ) -> Reading[SessionInfo]:
        """Yield the sessions, oldest first: the tenant's own, or without a tenant all, a tenant's as TENANT/ID.

        Only those with all these labels, in this state ("open", "closing", "closed"), whose ids begin with the prefix.
        Redis filters, and a session that doesn't match isn't read. Raises InvalidArgument, RedisUnavailable.
        """
        return self._read(lambda each: each.sessions(labels=labels, state=state, prefix=prefix))

    def workers(self) -> Reading[WorkerInfo]:
        """Yield every live worker of the shard, the oldest heartbeat first. Raises RedisUnavailable."""
        return self._read(lambda each: each.workers())

    def why(self, session_id: str) -> Standstill:
        """Return the reasons why no cell of a session runs. Raises InvalidArgument, NotFound, RedisUnavailable."""
        return self._wait(lambda each: each.why(session_id))


class WorkerProcess(Handle[AsyncWorkerProcess]):
    """A worker as a child process; it stops when this process ends, however that happens."""

    @property
    def worker_id(self) -> str:
        """The worker id of this worker."""
        return self._current.worker_id

    @property
    def pid(self) -> int:
        """The process id, 0 if it isn't running."""
        return self._current.pid

    @property
    def is_ended(self) -> bool:
        """Return whether `stop` or `kill` was called."""
        return self._current.is_ended

    def start(self) -> Self:
        """Start the worker and wait until it is ready. Raises StartError."""
        self._wait(lambda each: each.start())
        return self

    def stop(self) -> int:
        """Drain the worker (TERM, then KILL), and return its exit status."""
        return self._wait(lambda each: each.stop())

    def kill(self) -> int:
        """Kill the worker at once, as a power failure would, and return its exit status."""
        return self._wait(lambda each: each.kill())

    def death(self) -> str | None:
        """Wait until the worker ends; return how, with its last log lines, or None if `stop` or `kill` was called."""
        return self._wait(lambda each: each.death())


class EmbeddedCluster(Cluster):
    """A Cluster with its own servers: `redis_url` for other clients, `worker_processes` to observe or to kill."""

    @property
    def worker_processes(self) -> list[WorkerProcess]:
        """The worker processes of this cluster."""
        return [
            WorkerProcess(self._connection, find_worker_process(place), each, self._first)
            for place, each in enumerate(cast("AsyncEmbeddedCluster", self._first).worker_processes)
        ]

    @property
    def redis_url(self) -> str:
        """The URL of the cluster's Redis, a unix socket."""
        return cast("AsyncEmbeddedCluster", self._first).redis_url
