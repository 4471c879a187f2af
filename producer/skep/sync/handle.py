"""What all blocking classes are: a handle on an object of the asynchronous client, found again after a fork."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

from skep.cell import Cell as AsyncCell
from skep.cluster import Cluster as AsyncCluster
from skep.local.embedded import EmbeddedCluster as AsyncEmbeddedCluster
from skep.local.worker_process import WorkerProcess as AsyncWorkerProcess
from skep.session import Session as AsyncSession
from skep.sync.connection import Connection
from skep.sync.reading import Reading
from skep_shared.errors import ClientUnusable

T = TypeVar("T")
R = TypeVar("R")

Find = Callable[[AsyncCluster], T]


class Handle(Generic[T]):
    """A handle on an asynchronous object of this process's cluster.

    In a fork the object belongs to the parent's cluster: the first call finds it again in one of this process.
    """

    def __init__(
        self, connection: Connection, find: Find[T], made: T | None = None, cluster: AsyncCluster | None = None
    ) -> None:
        """`find` returns the object of a cluster, on its loop. made: the object of `cluster`, if it is there."""
        self._connection = connection
        self._find = find
        self._cluster = cluster
        if made is None:
            connection.make(self._here)
        else:
            self._current = made
        self._first = self._current

    def __repr__(self) -> str:
        return repr(self._current)

    def _here(self, cluster: AsyncCluster) -> T:
        """Return the object of this process; on its loop."""
        if self._cluster is not cluster:
            self._current, self._cluster = self._find(cluster), cluster
        return self._current

    def _wait(self, call: Callable[[T], Awaitable[R]]) -> R:
        """Await a call of the object, and return its result."""
        return self._connection.wait(lambda cluster: call(self._here(cluster)))

    def _read(self, call: Callable[[T], AsyncIterator[R]]) -> Reading[R]:
        """Return an iterator over what a call of the object yields."""
        return Reading(self._connection, lambda cluster: call(self._here(cluster)))

    def _within(self, find: Callable[[T], R]) -> Find[R]:
        """Return how an object is found that this one returns."""
        return lambda cluster: find(self._here(cluster))


def find_cluster(cluster: AsyncCluster) -> AsyncCluster:
    """Return the cluster itself."""
    return cluster


def find_cell(cell: AsyncCell) -> Find[AsyncCell]:
    """Return how a cell that was submitted is found again."""
    session_id, cell_id = cell.session_id, cell.id
    return lambda cluster: cluster.cell(session_id, cell_id)


def find_session(session: AsyncSession) -> Find[AsyncSession]:
    """Return how a session that exists is found again."""
    session_id = session.id
    return lambda cluster: cluster.session(session_id)


def find_worker_process(place: int) -> Find[AsyncWorkerProcess]:
    """Return how a worker of an embedded cluster is found: only in the process that started it."""

    def find(cluster: AsyncCluster) -> AsyncWorkerProcess:
        if not isinstance(cluster, AsyncEmbeddedCluster):
            raise ClientUnusable("the workers of an embedded cluster belong to the process that started them")
        return cluster.worker_processes[place]

    return find
