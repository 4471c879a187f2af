"""Start workers by forking a process that has imported them already.

A worker spends most of its start importing. The suite starts some five hundred of them, so one process for each
pytest process imports what a worker needs, and forks for each start. The fork becomes a worker as if it had been
executed: it has the arguments, environment, working directory and descriptors it was given, a session of its own, and
no thread, event loop or connection, because the fork server has none. The module runs as `__main__` in it, and the
interpreter ends as usual.

Two things differ from a real start: the worker's parent is the fork server, and /proc shows the fork server's command
line and environment. Modules that test how a worker starts are marked `real_start`. With SKEP_TEST_REAL_START=1 every
worker is executed, as in production.
"""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, NoReturn, Self

PROGRAM: Final = "skep_workers"
PACKET_BYTES: Final = 256 * 1024
MOST_DESCRIPTORS: Final = 64
FIRST_SPARE_DESCRIPTOR: Final = 512  # received descriptors wait up here until their numbers are free

_imported_program = f"{PROGRAM}.host.command_line"


class ForkServer:
    """The fork server, as the tests see it: `popen` is called as `subprocess.Popen` is."""

    def __init__(self, python: str) -> None:
        """`python` is the interpreter that workers run on."""
        self._python = python
        self._lock = threading.Lock()  # a worker is waited for in a thread
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the fork server. It ends with this process."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [self._python, "-P", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        return self

    def stop(self) -> None:
        """Stop it. The workers it has forked end when their owners close their pipes."""
        assert self._socket is not None
        assert self._process is not None
        self._socket.close()
        self._process.wait()

    def popen(
        self,
        command: Sequence[str],
        *,
        pass_fds: Sequence[int],
        stdin: int,
        stdout: IO[bytes] | None,
        stderr: IO[bytes] | None,
        start_new_session: bool,
        env: Mapping[str, str] | None,
        constants: Mapping[str, float] = MappingProxyType({}),
    ) -> "ForkedWorker":
        """Start a worker with the command line of `WorkerProcess`.

        `constants` are module constants to change in it, as "module:NAME": deadlines that would take a test too long.
        """
        executable, *options, program = command[:4]
        assert [executable, options, program] == [self._python, ["-P", "-m"], PROGRAM]
        assert (stdin, start_new_session) == (subprocess.DEVNULL, True)
        order = {
            "arguments": list(command[4:]),
            "environment": dict(os.environ if env is None else env),
            "directory": str(Path.cwd()),
            "numbers": [0, 1, 2, *pass_fds],
            "constants": dict(constants),
        }
        with Path(os.devnull).open("rb") as nothing:
            out, err = (
                stream.fileno() if stream is not None else number for stream, number in ((stdout, 1), (stderr, 2))
            )
            answer = self._ask(order, [nothing.fileno(), out, err, *pass_fds])
        return ForkedWorker(self, answer["pid"])

    def reap(self, pid: int) -> int:
        """Return the exit status of a worker that has ended, negative if a signal ended it."""
        status: int = self._ask({"reap": pid})["status"]
        return status

    def _ask(self, order: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        assert self._socket is not None
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(order).encode()], fds)
            answer: dict[str, Any] = json.loads(self._socket.recv(PACKET_BYTES))
        return answer


class ForkedWorker:
    """A worker that was forked, with the methods of `subprocess.Popen` that `WorkerProcess` calls."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server
        self._reaping = threading.Lock()
        self._handle = os.pidfd_open(pid)  # the fork server reaps nothing unasked, so this is no other process

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the worker was waited for."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """Kill the worker."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Return the exit status if the worker has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the worker's end and return its exit status. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(PROGRAM, timeout or 0)
            with self._reaping:
                if self.returncode is None:
                    self.returncode = self._server.reap(self.pid)
                    os.close(self._handle)
        return self.returncode


def serve(sock: socket.socket) -> dict[str, Any] | None:
    """Fork on request. Return the order in each fork, with `fds`; return None in the server when the tests have ended."""
    while True:
        data, fds, _, _ = socket.recv_fds(sock, PACKET_BYTES, MOST_DESCRIPTORS)
        if not data:
            return None
        order: dict[str, Any] = json.loads(data)
        if "reap" in order:
            _, status = os.waitpid(order["reap"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                return order | {"fds": fds}
            answer = {"pid": pid}
            for fd in fds:
                os.close(fd)
        sock.send(json.dumps(answer).encode())


def take_over(order: dict[str, Any]) -> None:
    """Set up everything that a new process would have been given."""
    os.setsid()
    spare = [fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST_SPARE_DESCRIPTOR) for fd in order["fds"]]
    os.closerange(0, FIRST_SPARE_DESCRIPTOR)
    for fd, number in zip(spare, order["numbers"], strict=True):
        os.dup2(fd, number)
    os.closerange(FIRST_SPARE_DESCRIPTOR, max(spare) + 1)
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    tempfile.tempdir = None


def run_program(program: str, arguments: Sequence[str]) -> NoReturn:
    """Run a module as `__main__` with these arguments, to its end."""
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
    sys.exit()


def become_worker(order: dict[str, Any]) -> NoReturn:
    """Become the worker that was ordered."""
    take_over(order)
    for constant, value in order["constants"].items():
        module, _, name = constant.partition(":")
        assert hasattr(importlib.import_module(module), name)
        setattr(sys.modules[module], name, value)
    run_program(PROGRAM, order["arguments"])


def main() -> None:
    """Import the program, and serve."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    importlib.import_module(_imported_program)
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, every page
    with sock:
        order = serve(sock)
    if order is not None:
        become_worker(order)


if __name__ == "__main__":
    main()
