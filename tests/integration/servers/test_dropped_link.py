"""A connection that was dropped silently costs one heartbeat, not the lease: load balancers forget connections so."""

import pytest

from skep_shared.broker.keys import Keys

from .answering_proxy import AnsweringProxy

pytestmark = pytest.mark.anyio


async def test_a_heartbeat_that_is_not_answered_is_repeated_on_another_connection(start_server, run_logged, eventually):
    server = await start_server()
    proxy = await AnsweringProxy(server.port).start()
    flags = ("--lease-seconds", "3", "--command-timeout-seconds", "20")  # other commands wait for longer than a lease
    worker = await run_logged("-m", "skep_workers", "--redis", proxy.url, "--prefix", "t", *flags)
    marker = Keys("t").worker((await worker.says("worker.ready"))["worker_id"])
    proxy.drop_silently()
    await worker.says("lease.beat_failed")
    before = await server.admin.hget(marker, "at")

    async def is_renewed_or_has_expired():
        return await server.admin.hget(marker, "at") != before

    try:
        await eventually(is_renewed_or_has_expired)
        assert await server.admin.exists(marker)
    finally:
        await proxy.close()
