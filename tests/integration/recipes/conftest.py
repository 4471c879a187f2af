"""The services of docs/recipes.md, as the page has them, on a cluster of the module."""

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

import skep

PAGE = Path(__file__).parents[3] / "docs" / "recipes.md"


class Service:
    """A program that runs in the directory of the page's files, with its complaints."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
        self.process = process
        self._log = log

    @property
    def complaints(self) -> str:
        """Everything that it has written to stderr."""
        return Path(self._log.name).read_text()

    def stop(self) -> str:
        """End it as an operator does, and return its complaints."""
        self.process.terminate()
        self.process.wait(60)
        return self.complaints


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with all files of the page."""
    for block in re.findall(r"^```python\n(# \w+\.py\n.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
    return tmp_path


@pytest.fixture
def start(folder: Path, cluster: skep.EmbeddedCluster) -> Iterator[Callable[..., Service]]:
    """Yield a function that starts a Python program there, with all warnings shown; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, fds: tuple[int, ...] = (), **environment: str) -> Service:
            log = stack.enter_context((folder / f"{arguments[1]}.log").open("wb"))
            own = {"PATH": "/usr/bin:/bin", "SKEP_REDIS_URL": cluster.redis_url, "PYTHONWARNINGS": "default"}
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=fds, env=own | environment,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)
            return Service(process, log)

        yield start


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that listens before the service is there, so that requests wait until it is."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener
