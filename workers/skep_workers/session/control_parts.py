"""What serves the host's requests while a cell runs, and how it is joined: interrupts, input, operations, files."""

from collections.abc import Callable, Mapping
from typing import Any

from skep_shared.originals import socket
from skep_shared.protocol.frames import Shutdown, Work
from skep_workers.session.attribution.writer import Writer
from skep_workers.session.checkpoint.checkpointer import Checkpointer
from skep_workers.session.checkpoint.surroundings.file_operations import WorkspaceCalls
from skep_workers.session.control.inspection import Inspector
from skep_workers.session.control.operations import OperationQueue
from skep_workers.session.control.thread import Controls, ControlThread
from skep_workers.session.interrupt.escalation import DEFAULT_GRACE_SECONDS, Escalation
from skep_workers.session.interrupt.interrupts import Interrupter
from skep_workers.session.magics.completeness import completeness
from skep_workers.session.output.link import CellLink
from skep_workers.session.output.streams import PipeReader
from skep_workers.session.output.user_input import DEFAULT_DEADLINE_SECONDS, UserInput
from skep_workers.session.runtime.activity import children_at_work, tasks_at_work, threads_at_work
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.runtime.namespace import NamespaceManager
from skep_workers.session.safeguards.reinit import renew


class ControlParts:
    """The parts that the control thread uses."""

    def __init__(
        self,
        sock: socket.socket,
        link: CellLink,
        reader: PipeReader,
        interrupter: Interrupter,
        namespace: NamespaceManager,
        checkpointer: Checkpointer,
    ) -> None:
        self._checkpointer = checkpointer
        self._escalation = Escalation(interrupter)
        self._user_input = UserInput(link)
        self._thread = ControlThread(sock, link, reader)
        self._files = WorkspaceCalls(namespace)
        self._files.on_placed = checkpointer.note_placed_file
        self._handlers = {
            **Inspector(namespace).handlers,
            "is_complete": lambda question: completeness(str(question["code"])),
            **self._files.handlers,
        }
        self._operations = OperationQueue(self._handlers, self._thread.send)

    def begin(self, directory: str) -> None:
        """Begin, or begin again as a twin, in this directory."""
        self._files.begin(directory)

    def configure(self, options: Mapping[str, Any]) -> None:
        """Set the session's options. The checkpointer has been configured before."""
        self._user_input.allow_input = bool(options.get("allow_input", True))
        self._user_input.deadline_seconds = float(options.get("input_timeout") or DEFAULT_DEADLINE_SECONDS)
        self._escalation.grace_seconds = float(options.get("interrupt_grace") or DEFAULT_GRACE_SECONDS)
        self._files.quota_bytes = self._checkpointer.quota_bytes

    def install_input(self) -> None:
        """Replace input() and getpass.getpass()."""
        self._user_input.install()

    def install_files(self) -> None:
        """Install the built-in name of the file operations."""
        self._files.install()

    @property
    def is_idle(self) -> bool:
        """Return whether no operation is open."""
        return self._operations.is_idle

    def listen(
        self, loop: SessionLoop, withdraw: Callable[[Writer], None], shut_down: Callable[[Shutdown], None]
    ) -> None:
        """Start the control thread."""

        def list_work(number: int) -> Work:
            """Return what user code runs or waits for; the control thread calls this."""
            try:
                children = children_at_work(self._checkpointer.child_pid)
                return Work(number, tasks_at_work(loop), threads_at_work(), children)
            except Exception as exc:  # noqa: BLE001 - user code may break tasks and threads
                return Work(number, [f"the list of running work is not available: {type(exc).__name__}"], [], [])

        self._thread.start(
            Controls(
                self._escalation,
                self._user_input,
                self._operations,
                withdraw,
                shut_down,
                list_work,
                self._checkpointer.resend,
            )
        )

    def catch_up(self) -> None:
        """Wait until the control thread has received what the host has sent by now; the main thread calls this."""
        self._thread.catch_up()

    def begin_as_twin(self, sock: socket.socket, link: CellLink, reader: PipeReader, interrupter: Interrupter) -> None:
        """Make the parts again in place, on the twin's socket."""
        renew(self._escalation, interrupter)
        renew(self._user_input, link)
        renew(self._thread, sock, link, reader)
        renew(self._operations, self._handlers, self._thread.send)
