"""Run commands of `skep` in forks of a process that has imported the command line.

A command spends most of its time importing, and the tests run some three hundred. They start stand_in.py in place of
the interpreter, so they use `subprocess` and terminals as usual; it asks this server to fork. A command starts its own
workers in the same way. What differs from a real start is listed in fork_server.py. Tests of starts, ends and signals
are marked `real_start`, and SKEP_TEST_REAL_START=1 executes every command.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from ..fork_server import MOST_DESCRIPTORS, PACKET_BYTES, run_program, take_over

TOP: Final = Path(__file__).parents[3]
COMMANDS: Final = "skep.cli"
PROGRAMS: Final = (COMMANDS, "skep_workers")
START: Final = f"import sys; sys.path.insert(0, sys.argv[1]); from {__name__} import main; main()"


class CommandServer:
    """The server as the tests see it. `interpreter` runs `-P -m skep.cli` and `-P -m skep_workers`."""

    def __init__(self, directory: Path) -> None:
        """`directory` is empty, and its path short enough for a socket."""
        self.interpreter = directory / "python"
        self._socket = directory / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it. It ends with this process, and kills the commands that still run."""
        source = Path(__file__).with_name("stand_in.py").read_text()
        self.interpreter.write_text(f"#!{sys.executable} -IS\n{source}")
        self.interpreter.chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self._socket))
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, str(TOP), str(listener.fileno()), str(self.interpreter)],
                pass_fds=[listener.fileno()], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment,
                start_new_session=True,
            )  # fmt: skip
        return self

    def stop(self) -> None:
        """Stop it."""
        assert self._process is not None
        self._process.communicate()


class Commands:
    """The commands that run: forks when asked, passes on signals, and reports ends."""

    def __init__(self, listener: socket.socket, owner: int) -> None:
        """`owner` is a descriptor that ends with the tests."""
        self._listener = listener
        self._owner = owner
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(owner, select.POLLIN)
        self._pids: dict[int, int] = {}  # by pidfd
        self._stand_ins: dict[int, socket.socket] = {}  # by pidfd
        self._handles: dict[int, int] = {}  # pidfd by the stand-in's descriptor

    def serve(self) -> dict[str, Any] | None:
        """Return the order in each fork, with `fds`; return None in the server when the tests have ended."""
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._owner:
                    for handle in self._pids:
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                    return None
                if fd == self._listener.fileno():
                    if (order := self._fork()) is not None:
                        return order
                elif fd in self._handles:
                    self._pass_on(fd)
                elif fd in self._pids:
                    self._report_end(fd)

    def _fork(self) -> dict[str, Any] | None:
        stand_in, _ = self._listener.accept()
        data, fds, _, _ = socket.recv_fds(stand_in, PACKET_BYTES, MOST_DESCRIPTORS)
        if not data:  # it was killed already
            stand_in.close()
            return None
        pid = os.fork()
        if pid == 0:
            return json.loads(data) | {"fds": fds}
        for fd in fds:
            os.close(fd)
        handle = os.pidfd_open(pid)
        self._pids[handle], self._stand_ins[handle], self._handles[stand_in.fileno()] = pid, stand_in, handle
        self._poll.register(handle, select.POLLIN)
        self._poll.register(stand_in, select.POLLIN)
        return None

    def _pass_on(self, fd: int) -> None:
        """Pass on a signal that the stand-in got, or its death."""
        handle = self._handles[fd]
        data = b""
        with contextlib.suppress(ConnectionError):
            data = self._stand_ins[handle].recv(PACKET_BYTES)
        if not data:
            self._poll.unregister(fd)  # the command's end closes it
        signal.pidfd_send_signal(handle, int(data) if data else signal.SIGKILL)

    def _report_end(self, handle: int) -> None:
        _, status = os.waitpid(self._pids.pop(handle), 0)
        self._poll.unregister(handle)
        os.close(handle)
        with self._stand_ins.pop(handle) as stand_in:
            del self._handles[stand_in.fileno()]
            with contextlib.suppress(KeyError):
                self._poll.unregister(stand_in)
            with contextlib.suppress(ConnectionError):
                stand_in.send(str(os.waitstatus_to_exitcode(status)).encode())


def open_standard_streams() -> None:
    """Open them as an interpreter does at its start, which looks whether they are terminals."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        old = getattr(sys, name)
        is_by_line = name == "stderr" or (mode == "w" and os.isatty(old.fileno()))
        stream = open(old.fileno(), mode, 1 if is_by_line else -1, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def become_command(order: dict[str, Any], interpreter: str) -> NoReturn:
    """Become the command that was ordered."""
    options, [program, *arguments] = order["arguments"][:2], order["arguments"][2:]
    assert options == ["-P", "-m"]
    assert program in PROGRAMS
    take_over(order)
    open_standard_streams()
    importlib.import_module("skep.local.worker_process").WorkerProcess.python = interpreter
    run_program(program, arguments)


def main() -> None:
    """Import the programs, and serve."""
    _, top, listener, interpreter = sys.argv
    sys.path.remove(top)
    for module in pkgutil.walk_packages(importlib.import_module(COMMANDS).__path__, f"{COMMANDS}."):
        importlib.import_module(module.name)
    importlib.import_module("skep.local.embedded")
    for program in PROGRAMS:
        importlib.import_module(f"{program}.__main__")
        del sys.modules[f"{program}.__main__"]  # it runs as __main__ in each fork
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, every page
    with socket.socket(fileno=int(listener)) as sock:
        sock.set_inheritable(False)
        order = Commands(sock, sys.stdin.fileno()).serve()
    if order is not None:
        become_command(order, interpreter)
