"""`skep_cluster` for tests that pytest-asyncio runs: a fixture for each scope of its event loops.

A client belongs to the loop in which it was opened, so it must be opened in the loop of the test.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest_asyncio

if TYPE_CHECKING:
    import skep


def _in_loop_of(scope: Any) -> Any:
    async def open_cluster(
        skep_redis_url: str, skep_worker_flags: tuple[str, ...]
    ) -> "AsyncIterator[skep.EmbeddedCluster]":
        from skep.testing.clusters import cluster  # noqa: PLC0415 - only when it is used

        async with cluster(redis_url=skep_redis_url, worker_flags=skep_worker_flags) as opened:
            yield opened

    return pytest_asyncio.fixture(name=f"_skep_cluster_of_{scope}_loop", loop_scope=scope)(open_cluster)


function_loop = _in_loop_of("function")
class_loop = _in_loop_of("class")
module_loop = _in_loop_of("module")
package_loop = _in_loop_of("package")
session_loop = _in_loop_of("session")
