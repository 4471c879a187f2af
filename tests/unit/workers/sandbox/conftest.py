"""A mechanism that restricts a process is tested in a child: the test's own process stays as it is."""

import os
import pickle
import select
import signal
from collections.abc import Callable
from typing import Any

import pytest

CHILD_SECONDS = 20.0


def run_in_child(work: Callable[[], Any]) -> Any:
    """Return what `work` returns in a forked child; raise what it raises. A child that hangs is killed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = (True, work())
        except BaseException as exc:  # noqa: BLE001 - the test raises it
            answer = (False, exc)
        os.write(write, pickle.dumps(answer))
        os._exit(0)
    os.close(write)
    poll = select.poll()
    poll.register(read, select.POLLIN)
    if not poll.poll(CHILD_SECONDS * 1000):
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(read, "rb") as pipe:
        packed = pipe.read()
    os.waitpid(pid, 0)
    assert packed, "the child ended without an answer"
    has_returned, value = pickle.loads(packed)  # noqa: S301 - from our own child
    if has_returned:
        return value
    raise value


@pytest.fixture
def in_child() -> Callable[[Callable[[], Any]], Any]:
    """Return the function that runs work in a forked child."""
    return run_in_child
