"""The zygote: a warm, single-threaded process that session processes are forked from.

It is started with an allow-list of environment variables, without a connection to Redis, without secrets, and with no
open file except its control socket (and, for a sandbox, the paths that its rules name): its children inherit everything
that it holds. It imports what sessions need, makes
the parts of one (on descriptors that lead nowhere, see safeguards/descriptors.py), freezes the garbage collector's
generations (otherwise a collection in a child would touch, and so copy, every page), and waits.

Messages, each one packet of msgpack on a SOCK_SEQPACKET socket:
    host to zygote   ["fork", request, directory, private directory, network, groups] with eight descriptors
                     (descriptors.Descriptors), one more for a network that needs it (`Sandbox.enter`), and one for
                     each of so many control groups that the session process is to enter
                     ["adopt", request, pid, source]
                     ["packages", index, mode]   the first one: where sessions install packages from
                     ["groups", directory …]   the control groups of the host
                     ["stop"]
    zygote to host   ["ready", pid]   ["forked", request, pid]   ["refused", request, reason]
                     ["exited", pid, wait status]
                     ["adopted", request, whether it is]
The zygote ends on "stop", or when its socket ends. If the socket has ended because the host was killed, the zygote
removes the host's scratch directory, its control groups, and the directories of its sessions, except those that another
worker uses by now.

The zygote adopts a session that was forked from another session's process, `source` (see twin.py). It counts as a
session from the "adopt" message on, and becomes the zygote's child when its intermediate parent ends.

A process that a session has started and detached, such as a daemon, is the session process's child until that ends,
and the zygote's after that. The zygote kills it: a child of the zygote that is no session is such an orphan. When the
host has ended, the zygote kills all of its children.

Things that don't work:
- Making the parts of a session after the fork: until the end of its first cell a session process wrote to some 1,300
  pages of memory, each of which the kernel copied. That was half of the time until its first outcome. Made in the
  zygote, the first cell took 11.8 ms instead of 14.2, and a session 4.7 MB of its own memory instead of 5.3.
- Forking without a rehearsal: see warmup.py.
- Leaving what preloaded modules have drawn at import: torch's generator was seeded once, so all sessions drew the same
  numbers, and multiprocessing's authentication key was the same in all of them. See runtime/process_state.py.
"""

import contextlib
import errno
import importlib
import linecache
import shutil
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any, Final

import msgpack

from skep_shared.originals import gc, os, select, signal, socket
from skep_shared.packages import PackageMode
from skep_shared.process_trees import kill_tree, process_id
from skep_shared.protocol.orphans import adopt_orphans, children_of
from skep_shared.session_directories import SessionDirectories
from skep_workers.session.control.thread import CLOSED_EXIT, START_FAILED_EXIT
from skep_workers.session.main import SessionMain
from skep_workers.session.packages.environment import make_environment
from skep_workers.session.packages.session_packages import OFF
from skep_workers.session.runtime.children import is_below
from skep_workers.session.runtime.process_state import end_helper_processes
from skep_workers.session.runtime.running_loop import install_loop_questions
from skep_workers.session.safeguards.descriptors import Descriptors
from skep_workers.session.safeguards.private_names import report_of_missing
from skep_workers.session.safeguards.sandbox import Sandbox, make_sandbox
from skep_workers.session.warmup import warm_up

PACKET_BYTES: Final = 64 * 1024
DESCRIPTORS: Final = 8
ENVIRONMENT: Final = "environment"  # in the scratch directory
MOST_GROUPS: Final = 8
HOST_SECONDS: Final = 10.0  # a living host that has dropped its zygote kills it sooner


class ZygoteServer:
    """Serves fork requests until the host has ended."""

    def __init__(self, sock: socket.socket, session: SessionMain, sandbox: Sandbox | None) -> None:
        self._socket = sock
        self._session = session
        self._sandbox = sandbox
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._sessions: set[int] = set()
        self._groups: list[str] = []

    def serve(self) -> bool:
        """Fork on request and report the ends of children; return True after "stop", False if the host has ended."""
        adopt_orphans()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._prepare_next()
        self._send("ready", os.getpid())
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._socket.fileno() in ready:
                data, fds, _, _ = socket.recv_fds(self._socket, PACKET_BYTES, DESCRIPTORS + 1 + MOST_GROUPS)
                match msgpack.unpackb(data) if data else None:
                    case ["fork", request, directory, private, network, groups]:
                        self._fork(request, directory, private, network, groups, fds)
                    case ["adopt", request, pid, source]:
                        self._send("adopted", request, self._adopt(pid, source))
                    case ["groups", *directories]:
                        self._groups = directories
                    case last:
                        return last is not None

    def _fork(
        self, request: int, directory: str, private: str, network: list[Any], groups: int, fds: list[int]
    ) -> None:
        try:
            pid = os.fork() if self._sandbox is None else self._sandbox.fork()
        except OSError as exc:  # too many processes, or namespaces: the sessions that are there continue
            answer = ["refused", request, str(exc)]
        else:
            if pid == 0:
                self._become_session(fds, directory, private, network, groups)
            self._sessions.add(pid)
            answer = ["forked", request, pid]
        for fd in fds:
            os.close(fd)
        self._send(*answer)
        self._prepare_next()

    def _prepare_next(self) -> None:
        """Do in advance what the next fork needs. If that fails, the fork tries it again, and reports it."""
        if self._sandbox is not None:
            with contextlib.suppress(OSError):
                self._sandbox.prepare_next()

    def _adopt(self, pid: int, source: int) -> bool:
        """Count a process as a session, if it descends from the source: the pid is only the source's claim."""
        is_descendant = source in self._sessions and pid not in self._sessions and is_below(pid, source)
        if is_descendant:
            self._sessions.add(pid)
        return is_descendant

    def _become_session(self, fds: list[int], directory: str, private: str, network: list[Any], groups: int) -> None:
        status = START_FAILED_EXIT
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._socket.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            count = len(fds) - groups
            _enter_groups(fds[count:])  # first: what the process uses from now on is its own
            supply = fds[DESCRIPTORS] if count > DESCRIPTORS else -1
            self._session.run(Descriptors(*fds[:DESCRIPTORS]), directory, private, network, supply)
            status = 0
        except OSError as exc:
            # In a running session only user code that closes descriptors causes these errors.
            status = CLOSED_EXIT if exc.errno in {errno.EBADF, errno.ENOTSOCK} else START_FAILED_EXIT
            traceback.print_exc(file=sys.__stderr__)
        except BaseException:  # noqa: BLE001 - the process ends here; the session's stderr gets the error
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(status)

    def _reap(self) -> None:
        ended: list[tuple[int, int]] = []
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if self._sandbox is not None:
                    self._sandbox.note_end(pid)
                if pid in self._sessions:
                    self._sessions.discard(pid)
                    ended.append((pid, status))
        self._kill_orphans()  # first: the session's next process must have the directory to itself
        for pid, status in ended:
            self._send("exited", pid, status)

    def _kill_orphans(self) -> None:
        """Kill the processes that ended sessions have left, with all of their descendants."""
        spared = self._sessions if self._sandbox is None else self._sessions | self._sandbox.own_processes
        for pid in children_of(os.getpid()):
            if pid not in spared and (orphan := process_id(pid)) is not None:
                for handle in kill_tree(orphan):
                    os.close(handle)

    def kill_all(self) -> None:
        """Kill all children and their descendants. The host does not receive anything any more."""
        self._sessions.clear()
        self._sandbox = None
        with contextlib.suppress(ChildProcessError):
            while True:
                self._kill_orphans()
                os.waitpid(-1, 0)

    def remove_groups(self) -> None:
        """Remove the host's control groups, which have no processes any more. Another worker removes what remains."""
        for directory in self._groups:
            with contextlib.suppress(OSError):
                for entry in os.scandir(directory):
                    if entry.is_dir():
                        os.rmdir(entry.path)
                os.rmdir(directory)

    def _send(self, *message: Any) -> None:
        self._socket.send(msgpack.packb(message))


def _enter_groups(entries: list[int]) -> None:
    """Enter the control groups that these descriptors lead to. Raises OSError."""
    for entry in entries:
        os.write(entry, b"0")  # this process, which has one thread
        os.close(entry)


def has_died(host: int, within_seconds: float) -> bool:
    """Return whether our parent, `host`, ends within this time; its sockets are closed a little earlier."""
    # The parent is read again after the handle is open: the handle may be that of a new process with the host's number.
    try:
        handle = os.pidfd_open(host)
    except ProcessLookupError:
        return True
    try:
        if os.getppid() != host:
            return True
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(within_seconds * 1000))
    finally:
        os.close(handle)


def set_hash_seed_variable(passed: str) -> None:
    """Hide the shard's hash seed from the environment: it is for this interpreter alone.

    A Python interpreter that a cell starts draws its own seed, as in any program.
    """
    os.environ.pop("PYTHONHASHSEED", None)
    if passed:
        os.environ["PYTHONHASHSEED"] = passed


def make_first_environment(sock: socket.socket, root: str) -> None:
    """Make the environment that sessions begin with, as the host's first message says. Raises OSError."""
    match msgpack.unpackb(sock.recv(PACKET_BYTES)):
        case ["packages", index, mode]:
            make_environment(root, index, OFF if mode == PackageMode.OFF else "")


def main() -> None:
    """Run the zygote: `python -c START FD HOST_PID SCRATCH PLACE HASH_SEED SANDBOX [MODULE …]`.

    The host's zygote.py starts it.

    SCRATCH is the host's own directory, and PLACE contains the directories of sessions.

    HASH_SEED is the PYTHONHASHSEED in the environment of sessions; if it is empty, they have none. SANDBOX is
    a policy of skep_workers.sandbox as text; if it is empty, sessions have no sandbox.
    """
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    host, scratch, place = int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    set_hash_seed_variable(sys.argv[5])
    linecache.cache.pop("<string>", None)  # of the -c above, from Python 3.13 on: tracebacks of exec() would show it
    install_loop_questions()
    environment = f"{scratch}/{ENVIRONMENT}"
    make_first_environment(sock, environment)
    # Before modules are imported, which may start threads.
    sandbox = make_sandbox(sys.argv[6], str(place), [scratch, str(place)], environment)
    for name in sys.argv[7:]:
        importlib.import_module(name)
    end_helper_processes()
    # Python 3.12 warns when a process with several threads forks. A session always has a second one, the control
    # thread, which the child of a fork doesn't need.
    warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)
    sys.stderr.write(report_of_missing())
    # Before the warm-up: importing it afterwards undoes much of that, and each session wrote to 3.6 MB more.
    if sandbox is not None:
        sandbox.prepare()
    warm_up(scratch, environment)
    session = SessionMain(environment if sandbox is None else sandbox.environment, sandbox)
    session.prepare()
    gc.collect()
    gc.freeze()
    zygote = ZygoteServer(sock, session, sandbox)
    is_stopped = False
    with contextlib.suppress(ConnectionError):  # the host was killed, with something unread between us
        is_stopped = zygote.serve()
    zygote.kill_all()
    if not is_stopped and has_died(host, HOST_SECONDS):
        zygote.remove_groups()
        shutil.rmtree(scratch, ignore_errors=True)  # follows no symlink, and does nothing if it is one itself
        directories = SessionDirectories(place)
        directories.remove_abandoned()
        directories.leave()
