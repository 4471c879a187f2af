"""A zygote that has died: a request for a process fails, and nothing else is logged."""

import asyncio
import gc
import os
import signal

import pytest

from skep_shared.errors import StartError
from skep_workers.host.process.zygote import SessionSetup, Zygote

pytestmark = pytest.mark.anyio


async def test_a_fork_asked_of_a_dead_zygote_fails_once(tmp_path):
    zygote = Zygote(tmp_path, tmp_path, SessionSetup(), hash_seed=1, start_seconds=30.0)
    await zygote.ensure_started()
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    process = zygote._process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()  # the loop has had no turn to notice the end: the send itself fails
    with pytest.raises(StartError, match="can't be reached"):
        await zygote.fork([], str(tmp_path), lambda _: None)
    await zygote.stop()
    gc.collect()

    assert complaints == []
