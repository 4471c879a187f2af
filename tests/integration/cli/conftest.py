"""Commands of most tests are forked; see command_server.py."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import REAL_START_VARIABLE
from . import commands
from .command_server import CommandServer


@pytest.fixture(scope="session")
def command_server() -> Iterator[CommandServer]:
    """The server that forks the commands of most tests."""
    directory = Path(tempfile.mkdtemp(prefix="skep-", dir="/tmp"))  # short, for unix sockets
    server = CommandServer(directory).start()
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def commands_are_forked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the test's commands, unless it is marked `real_start`."""
    if not (request.node.get_closest_marker("real_start") or REAL_START_VARIABLE in os.environ):
        server: CommandServer = request.getfixturevalue("command_server")
        monkeypatch.setattr(commands, "interpreter", str(server.interpreter))
