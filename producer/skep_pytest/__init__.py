"""The pytest plugin of skep: fixtures with a real cluster, for the tests of services that use skep.

It is a package of its own because pytest loads it in every test run of an environment that has skep: importing any part
of `skep` imports all of what a client needs, so that happens when a fixture is used. Imports pytest, and inside the
fixtures `skep.testing`.
"""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import skep
    import skep.sync

__all__ = ["skep_cluster", "skep_redis_url", "skep_sync_cluster", "skep_worker_flags"]

ASYNC_TEST = (
    "skep_cluster is for coroutine tests: mark the test with @pytest.mark.anyio or @pytest.mark.asyncio, "
    "or use skep_sync_cluster"
)
ASYNCIO_ONLY = (
    "skep runs on asyncio only, and this test runs on {}: "
    "define a fixture `anyio_backend` that returns 'asyncio', as anyio's documentation shows"
)


def pytest_configure(config: pytest.Config) -> None:
    """Add the fixtures for tests that pytest-asyncio runs, if it is there."""
    if config.pluginmanager.hasplugin("asyncio"):
        from skep_pytest import asyncio_loops  # noqa: PLC0415 - it imports pytest_asyncio

        config.pluginmanager.register(asyncio_loops, "skep_pytest.asyncio_loops")


@pytest.fixture(scope="session")
def skep_redis_url() -> Iterator[str]:
    """The URL of a Redis that is started for this test run. Define a fixture of this name to use another one."""
    from skep.testing.clusters import redis_server  # noqa: PLC0415 - see above

    with redis_server() as server:
        yield server.url


@pytest.fixture
def skep_worker_flags() -> tuple[str, ...]:
    """Flags of the workers, as `skep worker` has them. Define a fixture of this name to set some."""
    return ()


@pytest.fixture
def skep_cluster(request: pytest.FixtureRequest) -> "skep.EmbeddedCluster":
    """A cluster of this test alone: a worker of its own, and its own key prefix on the Redis of the test run."""
    cluster: skep.EmbeddedCluster = request.getfixturevalue(_name_of_cluster(request))
    return cluster


@pytest.fixture
def skep_sync_cluster(skep_redis_url: str, skep_worker_flags: tuple[str, ...]) -> "Iterator[skep.sync.Cluster]":
    """The same for `skep.sync`: a blocking cluster, for tests that are plain functions."""
    from skep.testing.clusters import sync_cluster  # noqa: PLC0415 - see above

    with sync_cluster(redis_url=skep_redis_url, worker_flags=skep_worker_flags) as cluster:
        yield cluster


@pytest.fixture
async def _skep_cluster_of_anyio(
    anyio_backend: Any,  # noqa: ARG001 - anyio runs the fixture in the loop of the test because of it
    skep_redis_url: str,
    skep_worker_flags: tuple[str, ...],
) -> "AsyncIterator[skep.EmbeddedCluster]":
    from skep.testing.clusters import cluster  # noqa: PLC0415 - see above

    async with cluster(redis_url=skep_redis_url, worker_flags=skep_worker_flags) as opened:
        yield opened


def _name_of_cluster(request: pytest.FixtureRequest) -> str:
    """Return the name of the fixture that opens the cluster in the event loop of this test."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is not None and request.config.pluginmanager.hasplugin("asyncio"):
        scope = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")
        return f"_skep_cluster_of_{scope or request.config.getini('asyncio_default_test_loop_scope')}_loop"
    if "anyio_backend" not in request.fixturenames:
        pytest.fail(ASYNC_TEST, pytrace=False)
    chosen = request.getfixturevalue("anyio_backend")
    backend = chosen if isinstance(chosen, str) else chosen[0]
    if backend != "asyncio":
        pytest.fail(ASYNCIO_ONLY.format(backend), pytrace=False)
    return "_skep_cluster_of_anyio"
