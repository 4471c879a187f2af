"""`skep.sync.connect` and `skep.sync.embedded`."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Generic, NoReturn, TypeVar

import skep.cluster
import skep.local.embedded
from skep.sync.blocking_classes import Cluster, EmbeddedCluster
from skep.sync.connection import Connection
from skep.sync.handle import find_cluster
from skep_shared.errors import ClientUnusable
from skep_shared.settings import Settings

C = TypeVar("C", bound=Cluster)


class Opening(Generic[C]):
    """The result of `connect` and `embedded`: a context manager whose value is a cluster, closed at the end.

    Programs that keep a cluster for as long as they run, as web services do, call `open` instead of using `with`. What
    is not closed is closed when the interpreter exits.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[skep.cluster.Cluster]], kind: type[C]) -> None:
        self._make = make
        self._kind = kind
        self._connection: Connection | None = None

    def open(self) -> C:
        """Connect, and return the cluster. Raises what entering the asynchronous context manager raises."""
        if self._connection is not None:
            raise ClientUnusable("it is already open: each `with` needs its own skep.sync.connect()")
        connection = self._connection = Connection()
        try:
            connection.open(self._make)
            return self._kind(connection, find_cluster)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the cluster, and end its waits in other threads with ClientUnusable. Harmless to repeat."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> C:
        """Connect, as `open` does."""
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __getattr__(self, name: str) -> NoReturn:
        """Raise ClientUnusable, which says how to use it, for the methods of a cluster."""
        if hasattr(EmbeddedCluster, name):
            raise ClientUnusable("it is not open yet: use `with skep.sync.connect(…) as cluster:`")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def connect(url: str | None = None, *, tenant: str | None = None, settings: Settings | None = None) -> Opening[Cluster]:
    """Connect to the shard at `url`, as `skep.connect` does, for programs without asyncio.

    Use it with `with`, or call its `open`. Its cluster has the methods of the asynchronous one, each of which blocks
    its thread. Any number of threads may use it at once. In a fork it connects again at its first use there, and the
    parent's connection is not touched. In a running event loop it works, and blocks that loop. Raises InvalidArgument;
    entering raises RedisUnavailable, RedisRefused and RedisUnsuitable.
    """
    asynchronous = skep.cluster.connect(url, tenant=tenant, settings=settings)
    return Opening(lambda: asynchronous, Cluster)


def embedded(
    *,
    workers: int = 1,
    data_dir: Path | str | None = None,
    worker_flags: tuple[str, ...] = (),
    tenant: str | None = None,
) -> Opening[EmbeddedCluster]:
    """Start a Redis and `workers` workers, and connect to them, as `skep.embedded` does; for use as `connect`.

    They end with the process that started them; its forks can use them. Entering raises InvalidArgument, StartError.
    """

    def make() -> AbstractAsyncContextManager[skep.local.embedded.EmbeddedCluster]:
        return skep.local.embedded.embedded(
            workers=workers, data_dir=data_dir, worker_flags=worker_flags, tenant=tenant
        )

    return Opening(make, EmbeddedCluster)
