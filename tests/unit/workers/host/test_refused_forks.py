"""What a worker does with a zygote's answer that it can't fork."""

import asyncio

import pytest

from skep_shared.errors import StartError
from skep_workers.host.process.zygote import SessionSetup, Zygote

pytestmark = pytest.mark.anyio


async def test_a_refused_fork_is_an_error_with_the_zygote_s_reason(tmp_path):
    zygote = Zygote(tmp_path, tmp_path, SessionSetup(), hash_seed=1, start_seconds=1.0)
    request = asyncio.get_running_loop().create_future()
    zygote._requested[7] = request
    zygote._receive_message(["refused", 7, "too many processes"])
    zygote._receive_message(["refused", 8, "the request has timed out"])

    with pytest.raises(StartError, match="the zygote can't fork: too many processes"):
        await request
