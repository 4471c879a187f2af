"""The parts of a session process and how they are joined: once in the zygote, and again in a twin.

A session process begins with the parts that its zygote has made. A twin keeps the part objects of its parent, since
user code may hold references to them, and makes them again in place (see reinit.py). Both put their own descriptors in
the places of those they have found.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any

from skep_shared.isolation.network import GrantedNetwork, Network
from skep_shared.originals import os
from skep_shared.protocol.frames import Shutdown
from skep_shared.protocol.orphans import adopt_orphans
from skep_shared.session_directories import private_path
from skep_workers.session.attribution.threads import install_thread_hook
from skep_workers.session.attribution.writer import NO_CELL, Writer
from skep_workers.session.checkpoint.checkpointer import Checkpointer
from skep_workers.session.checkpoint.reducers.language.weak_references import ends_what_is_outside
from skep_workers.session.control_parts import ControlParts
from skep_workers.session.display.library_hooks import install_library_hooks
from skep_workers.session.display.publisher import DisplayPublisher, install_publisher
from skep_workers.session.errors.sources import install_class_sources
from skep_workers.session.errors.uncaught import install_hooks
from skep_workers.session.execution.engine import Engine, Guards
from skep_workers.session.interrupt.debuggers import install_debuggers
from skep_workers.session.interrupt.interrupt_main import install_interrupt_main
from skep_workers.session.interrupt.interrupts import INTERRUPTER, Interrupter
from skep_workers.session.interrupt.signal_hold import SignalHold
from skep_workers.session.leaving import ProcessExit
from skep_workers.session.magics.syntax import translate
from skep_workers.session.output.c_stdout import write_line_by_line
from skep_workers.session.output.link import CellLink
from skep_workers.session.output.output_limit import DEFAULT_OUTPUT_LIMIT_BYTES
from skep_workers.session.output.replaced_streams import ReplacedStreams
from skep_workers.session.output.streams import STREAMS, CellStream, PipeReader, install_streams
from skep_workers.session.packages.session_packages import SessionPackages
from skep_workers.session.runtime.fork_safety import InitialHooks, imports_from, reason_not_to_fork
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.runtime.main_thread import main_thread
from skep_workers.session.runtime.process_state import renew_process_state, set_original_directory
from skep_workers.session.runtime.running_loop import questions
from skep_workers.session.runtime.silent_servers import refuse_servers_without_sockets
from skep_workers.session.runtime.stale_bytecode import install_bytecode_check
from skep_workers.session.safeguards.descriptors import Descriptors, make_ends
from skep_workers.session.safeguards.reinit import renew
from skep_workers.session.safeguards.resource_reserve import relief
from skep_workers.session.safeguards.sandbox import Sandbox
from skep_workers.session.safeguards.shield import Shield
from skep_workers.session.twin import TwinEnds


class SessionParts:
    """All parts of a session process, except the order in which cells run."""

    def __init__(self, on_snapshot_done: Callable[[], None], environment: str, sandbox: Sandbox | None = None) -> None:
        """`environment`: see `make_environment`, by the path at which the session process finds it."""
        self._sandbox = sandbox
        self.ends = ends = make_ends()
        self._shield = shield = Shield()
        self.hold = hold = SignalHold()
        self.loop = SessionLoop(shield)
        self.link = CellLink(ends.cells, shield, ends.flushed)
        self.reader = PipeReader(self.link, shield, *ends.pipes)
        self._streams = [CellStream(name, fd, self.link, self.reader) for fd, name in enumerate(STREAMS, start=1)]
        self._interrupter = Interrupter(self.loop, shield, ends.page.has)
        self._publisher = DisplayPublisher(self.link)
        self.packages = SessionPackages(environment, self._publisher.warn)
        guards = Guards(self._interrupter, shield, hold)
        streams = ReplacedStreams(self._streams)
        self.engine = Engine(self.loop, self.link, guards, self._publisher, self.reader.drain, streams)
        self.engine.install_with(self.packages)
        self._join_interrupter()
        namespace = self.engine.namespace
        self.checkpointer = Checkpointer(namespace, ends.snapshots, on_snapshot_done, self.packages)
        self.engine.save_with(self.checkpointer)
        self.control = ControlParts(
            ends.control, self.link, self.reader, self._interrupter, namespace, self.checkpointer
        )
        self._directory = ""
        self._exit = ProcessExit(
            self.loop, self.link, self.checkpointer, namespace, self.reader.drain, self.engine.close
        )

    def _join_interrupter(self) -> None:
        self._interrupter.pass_to_cell = self.engine.strays.cancel_awaiting
        self._interrupter.wake_control_thread = self.link.wake

    def begin(
        self, descriptors: Descriptors, directory: str, private: str, network: Sequence[Any], supply: int
    ) -> None:
        """Begin in a fork of the process that has made the parts, on its own descriptors and in its own directory.

        `private`: the session's directory for its packages and, in a sandbox, its temporary files. `network`, `supply`:
        see `Sandbox.enter`.
        """
        self.ends.connect(descriptors)  # first: later errors are reported in the session
        self.loop.begin_in_fork()
        self.link.begin_in_fork()
        os.chdir(directory)
        self._directory = absolute = os.getcwd()
        renew_process_state(absolute)
        self.checkpointer.begin(absolute)
        self.control.begin(absolute)
        granted = Network.HOST if self._sandbox is None else GrantedNetwork.unpack(network).network
        self.packages.begin(private, absolute, granted)
        self.engine.explain_network(granted)
        if granted is not Network.HOST:
            refuse_servers_without_sockets(asyncio.BaseEventLoop)
        if self._sandbox is not None:
            self._sandbox.enter(absolute, private, self._own_descriptors, network, supply)

    def configure(self, options: dict[str, Any]) -> None:
        """Set the session's options, by name."""
        self.engine.configure(
            options.get("detection") or {},
            options.get("tla_timeout"),
            options.get("ast_cache_size"),
            tasks_pause=options.get("background_tasks") == "pause",
        )
        self.engine.apply_limits(options.get("limits") or {})
        self.checkpointer.configure(options)
        if start := options.get("cwd"):
            set_original_directory(os.path.join(self._directory, start))
        self.control.configure(options)
        self.link.output_limit.limit_bytes = int(options.get("output_limit") or DEFAULT_OUTPUT_LIMIT_BYTES)

    def prepare(self) -> None:
        """Install in the zygote what every process that is forked from it needs."""
        relief.prepare()
        write_line_by_line()
        install_thread_hook(self.link.close_fast_path)
        install_interrupt_main()
        install_debuggers()
        install_hooks()
        install_bytecode_check()
        install_class_sources(lambda source, filename: translate(source, filename).source)
        install_publisher(self._publisher)
        install_library_hooks(self._publisher)
        self._install_names()
        self.checkpointer.prepare()
        self.packages.prepare()

    def rehearse(self) -> None:
        """Do what a session process does at its start, except what would change the process."""
        self.loop.begin_in_fork()
        self.link.begin_in_fork()
        self._directory = directory = os.getcwd()
        self.checkpointer.begin(directory)
        self.control.begin(directory)
        self.checkpointer.prepare()
        self.packages.rehearse(directory, self.checkpointer.use_packages)
        self.hold.begin()
        self._hooks = InitialHooks()
        self.checkpointer.note_start()

    def take_over_process(self) -> None:
        """Install what only a session process has: its streams, and its handlers of signals and forks."""
        os.register_at_fork(after_in_child=self.link.become_forked_copy)
        os.register_at_fork(after_in_child=self.reader.become_forked_copy)
        self._install_streams_and_signals()
        self.checkpointer.note_start()

    def _install_streams_and_signals(self) -> None:
        install_streams(self._streams)
        self._interrupter.install()
        main_thread.install()
        questions.bind(self.loop)
        self.reader.watch()
        self.hold.begin()
        self._hooks = InitialHooks()
        self._exit.handlers.forget_inherited()

    def _install_names(self) -> None:
        """Install the names that user code finds, and may replace."""
        for name in ("display", "update_display", "clear_output"):
            setattr(sys.modules["builtins"], name, getattr(self._publisher, name))
        # A variable may hold a handler (`before = signal.signal(…)`), which checkpoints save by this name.
        setattr(sys.modules["builtins"], INTERRUPTER, self._interrupter)
        self.control.install_input()
        self.engine.install()
        self.checkpointer.install()
        self.control.install_files()

    def listen(self, withdraw: Callable[[Writer], None], shut_down: Callable[[Shutdown], None]) -> None:
        """Start to receive the host's requests while cells run."""
        self.control.listen(self.loop, withdraw, shut_down)

    def leave(self, order: Shutdown) -> None:
        """Do the last steps of a process that ends in order."""
        self._exit.leave(order, self._own_descriptors)

    def catch_up(self) -> None:
        """After an interrupted cell, receive what was sent before the interrupt: the next cell may be withdrawn."""
        delivered = self._interrupter.delivered
        if delivered is not NO_CELL and delivered == self.link.running:
            self.control.catch_up()

    def close(self) -> None:
        """Close what the end of the process would not close; after a rehearsal."""
        asyncio.SelectorEventLoop.close(self.loop)
        os.close(self.link.wake_fd)
        self.ends.close()

    def reason_against_twin(self, manifest: bytes, ends: TwinEnds) -> str:
        """Return the reason why no twin can begin at this checkpoint, or an empty string."""
        if self._sandbox is not None:
            return "its sandbox admits it to its own directory only, and can't be changed"
        if reason := self.checkpointer.reason_against(manifest) or self.packages.reason_against_twin:
            return reason
        if imports_from(self._directory):
            return "modules that lie in its directory are imported"
        return reason_not_to_fork(self.loop, self._hooks, self._own_descriptors | {*ends.all})

    @property
    def _own_descriptors(self) -> set[int]:
        sockets = {sock.fileno() for sock in (self.ends.cells, self.ends.control, self.ends.snapshots)}
        others = {self.link.wake_fd, *self.reader.streams, *self.loop.descriptors, *self.checkpointer.descriptors}
        others |= relief.descriptors
        return {0, 1, 2} | sockets | others

    def begin_as_twin(self, given: TwinEnds) -> None:
        """Release what is the parent's, and make every part again on the twin's own descriptors."""
        os.setsid()
        os.close(self.link.wake_fd)
        self.ends.close()
        self.ends = ends = make_ends()  # new ones: a fork has closed its socket for cells (`become_forked_copy`)
        ends.connect(given.own)
        os.fchdir(given.directory)
        for fd in (given.directory, given.adopted):
            os.close(fd)
        adopt_orphans()
        self.loop.renew()
        asyncio.set_event_loop(self.loop)
        renew(self._shield)
        renew(self.link, ends.cells, self._shield, ends.flushed)
        renew(self.reader, self.link, self._shield, *ends.pipes)
        for fd, (name, stream) in enumerate(zip(STREAMS, self._streams, strict=True), start=1):
            renew(stream, name, fd, self.link, self.reader)
        sys.unraisablehook = sys.__unraisablehook__  # the interrupter installs its own in front of this
        renew(self._interrupter, self.loop, self._shield, ends.page.has)
        self._join_interrupter()
        self.control.begin_as_twin(ends.control, self.link, self.reader, self._interrupter)
        self._directory = directory = os.getcwd()
        renew_process_state(directory)
        self.engine.begin_as_twin()
        self.packages.begin(private_path(directory), directory)
        self.checkpointer.begin_as_twin(ends.snapshots, directory)
        self.control.begin(directory)
        self._hooks.drop_new_finalizers(ends_what_is_outside)
        self._install_names()
        self._install_streams_and_signals()
        self.checkpointer.note_start_as_twin()
