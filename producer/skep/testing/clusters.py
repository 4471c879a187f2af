"""Real clusters for tests: workers on a Redis of one's own or on an existing one, and nothing is left of them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from skep.local.embedded import MAX_WORKERS, EmbeddedCluster
from skep.local.private_shard import end_at_once, private_shard, with_own_prefix
from skep.local.redis_server import RedisServer
from skep_shared.errors import InvalidArgument
from skep_shared.settings import Settings

if TYPE_CHECKING:
    import skep.sync

T = TypeVar("T")

# A test that ends needs nothing of its workers any more.
TEST_FLAGS: Final = ("--grace-seconds", "1", "--redis-outage-seconds", "15")
PREFIX: Final = "skep-test"


@asynccontextmanager
async def cluster(
    *, redis_url: str | None = None, workers: int = 1, worker_flags: Sequence[str] = ()
) -> AsyncIterator[EmbeddedCluster]:
    """Start workers and connect to them: what the fixture `skep_cluster` does, for tests without pytest.

    On the Redis at `redis_url`, or on one that is started for it; under a prefix of its own, so that tests can share a
    Redis. No SKEP_* variable sets anything. At the end the workers are killed and their keys removed. Raises
    InvalidArgument, StartError, RedisUnavailable.
    """
    if type(workers) is not int or not 1 <= workers <= MAX_WORKERS:
        raise InvalidArgument("workers", workers, f"1 to {MAX_WORKERS}")
    async with AsyncExitStack() as stack:
        if redis_url is None:
            redis_url = (await stack.enter_async_context(RedisServer())).url
        flags = (*TEST_FLAGS, *worker_flags)
        shard = private_shard(_settings(redis_url), workers=workers, flags=flags, reads_environment=False)
        opened = await stack.enter_async_context(shard)
        stack.push_async_callback(end_at_once, opened.worker_processes)
        yield opened


def _settings(redis_url: str) -> Settings:
    """Return a client's settings, not from the environment: it may name the Redis of a service that is in use."""
    return with_own_prefix(Settings.model_construct(redis_url=redis_url, prefix=f"{{{PREFIX}}}"))


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Start a Redis for tests that are not coroutines. Raises StartError."""
    server = RedisServer()
    _run_aside(server.__aenter__())
    try:
        yield server
    finally:
        _run_aside(server.stop())


@contextmanager
def sync_cluster(
    *, redis_url: str | None = None, workers: int = 1, worker_flags: Sequence[str] = ()
) -> "Iterator[skep.sync.Cluster]":
    """Start workers, and connect to them with `skep.sync`; otherwise like `cluster`."""
    import skep.sync  # noqa: PLC0415 - most tests don't need it

    stack = AsyncExitStack()
    opening = cluster(redis_url=redis_url, workers=workers, worker_flags=worker_flags)
    with _BackgroundLoop() as loop:
        opened = loop.run(stack.enter_async_context(opening))
        try:
            with skep.sync.connect(settings=opened.settings) as blocking:
                yield blocking
        finally:
            loop.run(stack.aclose())


def _run_aside(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop of its own on a thread of its own: a test's loop may run on this one."""
    with ThreadPoolExecutor(1, "skep.testing") as pool:
        return pool.submit(asyncio.run, work).result()


class _BackgroundLoop:
    """An event loop on a thread, which is stopped at the end of the block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="skep.testing", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result; it has deadlines of its own."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
