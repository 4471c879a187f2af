"""A cluster of `skep.sync`, and programs that use one."""

import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

import skep.sync


@pytest.fixture(scope="module")
def blocking(workers_are_forked: None, workers_are_sandboxed: None) -> Iterator[skep.sync.EmbeddedCluster]:
    """Two workers on a Redis of their own, for all the tests of a module."""
    with skep.sync.embedded(workers=2) as cluster:
        yield cluster


@pytest.fixture
def session_id() -> str:
    """The id of a session that only this test uses."""
    return f"s-{secrets.token_hex(6)}"


@pytest.fixture
def session(blocking: skep.sync.EmbeddedCluster, session_id: str) -> skep.sync.Session:
    """A session that only this test uses."""
    return blocking.session(session_id)


@pytest.fixture
def start(blocking: skep.sync.EmbeddedCluster, session_id: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Yield a function that starts a program with the URL and a session's id; every warning in it is an error."""
    programs = []

    def start(source: str, url: str = blocking.redis_url) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", source, url, session_id]
        # Tests that run in the background of a shell ignore SIGINT, and so would the program.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            program = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        finally:
            signal.signal(signal.SIGINT, before)
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.kill()
        program.communicate()


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., tuple[str, str, int]]:
    """Return a function that runs a program to its end; it returns what it printed, its complaints and its status."""

    def run(source: str, *url: str) -> tuple[str, str, int]:
        program = start(source, *url)
        said, complaints = program.communicate(timeout=45)
        return said, complaints, program.returncode

    return run
