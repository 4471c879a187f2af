"""The zygote: a warm, single-threaded process that session processes are forked from.

It is started with an environment that is an allow-list, no connection to Redis, no secret and no open file but its
control socket: nothing that it holds could be kept from its children. It imports what sessions need, makes the parts
of one (on descriptors that lead nowhere, see descriptors.py), freezes the garbage collector's generations (a collection
in a child would otherwise touch, and so copy, every page), and waits.

Messages, each one packet of msgpack on a SOCK_SEQPACKET socket:
    host to zygote   ["fork", request, directory] with eight descriptors (see descriptors.Descriptors)
                     ["adopt", request, pid, source]
                     ["stop"]
    zygote to host   ["ready", pid]   ["forked", request, pid]   ["exited", pid, wait status]
                     ["adopted", request, whether it is]
The zygote leaves when it is told to, or its socket ends. If it ended because the host was killed, the zygote removes
the host's scratch directory and the directories of its sessions, except those that another worker uses by now.

A session that was forked from another one's process, `source` (see twinning.py), is the zygote's to adopt: it falls to
it as an orphan, and counts as a session from the "adopt" before that on.

What a session has started and let go of, a daemon with a session of its own for instance, belongs to the session's
process until that ends, and falls to the zygote then, which kills it: whoever is its child and no session is such an
orphan. When the host has gone, all of its children go.
"""

import contextlib
import errno
import importlib
import shutil
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any, Final

import msgpack

from skep_shared.originals import gc, os, select, signal, socket
from skep_shared.orphans import adopt_orphans, children_of
from skep_shared.process_trees import kill_tree, process_id
from skep_shared.session_directories import SessionDirectories
from skep_workers.session.children import is_below
from skep_workers.session.control import CLOSED_EXIT, START_FAILED_EXIT
from skep_workers.session.descriptors import Descriptors
from skep_workers.session.process import SessionMain
from skep_workers.session.process_state import end_helper_processes
from skep_workers.session.rehearsal import rehearse

PACKET_BYTES: Final = 64 * 1024
DESCRIPTORS: Final = 8
HOST_SECONDS: Final = 10.0  # a host that lives and has let go of its zygote kills it before


class Zygote:
    """Serves fork requests until the host has gone."""

    def __init__(self, sock: socket.socket, session: SessionMain) -> None:
        self._socket = sock
        self._session = session
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._sessions: set[int] = set()

    def serve(self) -> bool:
        """Fork on request, and report children that ended; tells whether the host has said that it is the end."""
        adopt_orphans()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._tell("ready", os.getpid())
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._socket.fileno() in ready:
                data, fds, _, _ = socket.recv_fds(self._socket, PACKET_BYTES, DESCRIPTORS)
                match msgpack.unpackb(data) if data else None:
                    case ["fork", request, directory]:
                        self._fork(request, directory, fds)
                    case ["adopt", request, pid, source]:
                        self._tell("adopted", request, self._adopt(pid, source))
                    case last:
                        return last is not None

    def _fork(self, request: int, directory: str, fds: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_session(fds, directory)
        self._sessions.add(pid)
        for fd in fds:
            os.close(fd)
        self._tell("forked", request, pid)

    def _adopt(self, pid: int, source: int) -> bool:
        """Count a process as a session. Only one that the source has forked: whose pid it is, only its word says."""
        is_its = source in self._sessions and pid not in self._sessions and is_below(pid, source)
        if is_its:
            self._sessions.add(pid)
        return is_its

    def _become_session(self, fds: list[int], directory: str) -> None:
        status = START_FAILED_EXIT
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._socket.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._session.run(Descriptors(*fds), directory)
            status = 0
        except OSError as exc:
            # Once it runs, only user code that closes descriptors takes them away from the loop.
            status = CLOSED_EXIT if exc.errno in {errno.EBADF, errno.ENOTSOCK} else START_FAILED_EXIT
            traceback.print_exc(file=sys.__stderr__)
        except BaseException:  # noqa: BLE001 - the process ends here; its last words go to the session's stderr
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
                if pid in self._sessions:
                    self._sessions.discard(pid)
                    ended.append((pid, status))
        self._bury_orphans()  # first: the next process of the session is to have its directory for itself
        for pid, status in ended:
            self._tell("exited", pid, status)

    def _bury_orphans(self) -> None:
        """Kill what ended sessions have left, with all below it."""
        for pid in children_of(os.getpid()):
            if pid not in self._sessions and (orphan := process_id(pid)) is not None:
                for handle in kill_tree(orphan):
                    os.close(handle)

    def leave(self) -> None:
        """Kill every child there is, and theirs; there is nobody to talk to."""
        self._sessions.clear()
        with contextlib.suppress(ChildProcessError):
            while True:
                self._bury_orphans()
                os.waitpid(-1, 0)

    def _tell(self, *message: Any) -> None:
        self._socket.send(msgpack.packb(message))


def has_died(host: int, within_seconds: float) -> bool:
    """Wait for the end of our parent, `host`; its sockets are closed a little before."""
    # Asked again with the handle in hand: before that it could be one of another process, with the number of the dead.
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
    """Hide the shard's hash seed from the environment, which is for this interpreter alone.

    A Python that a cell starts draws a seed of its own, as it would anywhere.
    """
    os.environ.pop("PYTHONHASHSEED", None)
    if passed:
        os.environ["PYTHONHASHSEED"] = passed


def main() -> None:
    """Run `python -P -m skep_workers.session.zygote FD HOST_PID SCRATCH PLACE HASH_SEED [MODULE …]`.

    SCRATCH, PLACE: the host's own directory, and where the directories of sessions are.

    HASH_SEED: what sessions find as PYTHONHASHSEED in their environment; empty: nothing.
    """
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    host, scratch, place = int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    set_hash_seed_variable(sys.argv[5])
    for name in sys.argv[6:]:
        importlib.import_module(name)
    end_helper_processes()
    # Python 3.12 warns cells of forking beside a thread. There is one beside them always, the control thread, which the
    # child of a fork does without.
    warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)
    rehearse(scratch)
    session = SessionMain()
    session.prepare()
    gc.collect()
    gc.freeze()
    zygote = Zygote(sock, session)
    is_stopped = False
    with contextlib.suppress(ConnectionError):  # the host was killed, with something unread between us
        is_stopped = zygote.serve()
    zygote.leave()
    if not is_stopped and has_died(host, HOST_SECONDS):
        shutil.rmtree(scratch, ignore_errors=True)  # follows no symlink, and is none itself: it would be left
        directories = SessionDirectories(place)
        directories.remove_abandoned()
        directories.leave()


if __name__ == "__main__":
    main()
