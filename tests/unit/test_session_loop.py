"""What of user code is left to run in a session's loop."""

import asyncio

import pytest

from skep_workers.session.loop import SessionLoop
from skep_workers.session.shield import Shield


@pytest.fixture
def loop():
    loop = SessionLoop(Shield())
    yield loop
    asyncio.SelectorEventLoop.close(loop)  # its own `close` is for user code, and does nothing


def test_that_a_thread_has_woken_the_loop_is_nothing_of_the_user(loop):
    assert loop.is_quiet
    loop.call_soon(loop._read_from_self)
    assert loop.is_quiet

    loop.call_soon(print)
    assert not loop.is_quiet
