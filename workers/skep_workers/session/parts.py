"""The parts of a session process and how they are joined: once in the zygote, and anew in a twin.

A session process begins with the parts that its zygote has made. A twin keeps those of its parent, of which user code
may hold one, see renewal.py: they are made anew in place. Each puts its own ends in the places of those it has found.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from skep_shared.frames import Shutdown, Work
from skep_shared.originals import os
from skep_shared.orphans import adopt_orphans
from skep_workers.session.activity import children_at_work, tasks_at_work, threads_at_work
from skep_workers.session.asking import DEFAULT_DEADLINE_SECONDS, Asker
from skep_workers.session.attribution import install_thread_hook
from skep_workers.session.capture import STREAMS, CellStream, PipeReader, install_streams
from skep_workers.session.checkpoint.checkpointer import Keeper
from skep_workers.session.company import Hooks, imports_from, reason_to_stay
from skep_workers.session.control import Controls, ControlThread
from skep_workers.session.descriptors import Descriptors, make_ends
from skep_workers.session.displays import DisplayPublisher, install_publisher
from skep_workers.session.engine import Engine, Guards
from skep_workers.session.inspection import Inspector
from skep_workers.session.interrupts import Interrupter
from skep_workers.session.ladder import DEFAULT_GRACE_SECONDS, Ladder
from skep_workers.session.leaving import LeaveTaking
from skep_workers.session.link import DEFAULT_OUTPUT_LIMIT_BYTES, CellLink
from skep_workers.session.loop import SessionLoop
from skep_workers.session.operations import Operations
from skep_workers.session.process_state import renew_process_state
from skep_workers.session.relief import relief
from skep_workers.session.renewal import renew
from skep_workers.session.shield import Shield
from skep_workers.session.signal_hold import SignalHold
from skep_workers.session.sources import install_class_sources
from skep_workers.session.twinning import Given
from skep_workers.session.workspace_calls import WorkspaceCalls
from skep_workers.session.writer import NOBODY, Writer


class Parts:
    """All of a session process but the order in which cells run."""

    def __init__(self, on_snapshot_done: Callable[[], None]) -> None:
        self.ends = ends = make_ends()
        self._shield = shield = Shield()
        self.hold = hold = SignalHold()
        self.loop = SessionLoop(shield)
        self.link = CellLink(ends.cells, shield, ends.flushed)
        self.reader = PipeReader(self.link, shield, *ends.pipes)
        self._streams = [CellStream(name, fd, self.link, self.reader) for fd, name in enumerate(STREAMS, start=1)]
        self._interrupter = Interrupter(self.loop, shield, ends.page.read)
        self._ladder = Ladder(self._interrupter)
        self._asker = Asker(self.link)
        self._publisher = DisplayPublisher(self.link)
        guards = Guards(self._interrupter, shield, hold)
        self.engine = Engine(self.loop, self.link, guards, self._publisher, self.reader.drain)
        self.keeper = Keeper(self.engine.namespace, ends.snapshots, on_snapshot_done)
        self.engine.keep_with(self.keeper)
        self._control = ControlThread(ends.control, self.link, self.reader)
        self._files = WorkspaceCalls(self.engine.namespace)
        self._handlers = {**Inspector(self.engine.namespace).handlers, **self._files.handlers}
        self.operations = Operations(self._handlers, self._control.answer)
        self._directory = ""
        self._leaving = LeaveTaking(
            self.loop, self.link, self.keeper, self.engine.namespace, self.reader.drain, self.engine.close
        )

    def begin(self, given: Descriptors, place: str) -> None:
        """Start in a fork of the process that has made the parts, on descriptors and in a directory of its own."""
        self.ends.take(given)  # first: what goes wrong from here on is told in the session
        self.loop.begin_in_fork()
        self.link.begin_in_fork()
        os.chdir(place)
        self._directory = directory = os.getcwd()  # noqa: PTH109 - compared as text
        renew_process_state(directory)
        self.keeper.begin(directory)
        self._files.begin(directory)

    def configure(self, options: dict[str, Any]) -> None:
        """Take the session's options, by name."""
        self.engine.configure(options.get("detection") or {}, options.get("tla_timeout"), options.get("ast_cache_size"))
        self._asker.allow_input = bool(options.get("allow_input", True))
        self._asker.deadline_seconds = float(options.get("input_timeout") or DEFAULT_DEADLINE_SECONDS)
        self._ladder.grace_seconds = float(options.get("interrupt_grace") or DEFAULT_GRACE_SECONDS)
        self.keeper.configure(options)
        self.link.output_limit_bytes = int(options.get("output_limit") or DEFAULT_OUTPUT_LIMIT_BYTES)

    def prepare(self) -> None:
        """Put in place, in the zygote, what every process that is forked from it is to have."""
        relief.prepare()
        install_thread_hook(self.link.close_short_way)
        install_class_sources()
        install_publisher(self._publisher)
        self._install_names()
        self.keeper.prepare()

    def take_over_process(self) -> None:
        """Put in place what only a session process has: its streams, and what signals and forks do."""
        os.register_at_fork(after_in_child=self.link.become_forked_copy)
        os.register_at_fork(after_in_child=self.reader.become_forked_copy)
        self._take_streams_and_signals()
        self.keeper.note_start()

    def _take_streams_and_signals(self) -> None:
        install_streams(self._streams)
        self._interrupter.install()
        self.reader.watch()
        self.hold.begin()
        self._hooks = Hooks()
        self._leaving.exits.begin()

    def _install_names(self) -> None:
        """Put in place what user code finds, and may replace."""
        for name in ("display", "update_display", "clear_output"):
            setattr(sys.modules["builtins"], name, getattr(self._publisher, name))
        self._asker.install()
        self.engine.install()
        self.keeper.install()
        self._files.install()

    def listen(self, withdraw: Callable[[Writer], None], leave: Callable[[Shutdown], None]) -> None:
        """Hear what the host asks for while a cell runs."""
        controls = Controls(self._ladder, self._asker, self.operations, withdraw, leave, self._work, self.keeper.resend)
        self._control.start(controls)

    def _work(self, number: int) -> Work:
        """Say what of user code runs or waits; the control thread asks."""
        try:
            children = children_at_work(self.keeper.child_pid)
            return Work(number, tasks_at_work(self.loop), threads_at_work(), children)
        except Exception as exc:  # noqa: BLE001 - user code has a hand in tasks and threads; the control thread lives on
            return Work(number, [f"what works can't be told: {type(exc).__name__}"], [], [])

    def leave(self, order: Shutdown) -> None:
        """Do what comes last in a process that leaves in order."""
        self._leaving.leave(order, self._own_descriptors)

    def catch_up(self) -> None:
        """After a cell that was interrupted, hear what was asked before that: the next one may have been withdrawn."""
        delivered = self._interrupter.delivered
        if delivered is not NOBODY and delivered == self.link.running:
            self._control.catch_up()

    def forget(self) -> None:
        """Close what no end of the process closes."""
        asyncio.SelectorEventLoop.close(self.loop)
        os.close(self.link.wake_fd)
        self.ends.close()

    def reason_to_stay(self, manifest: bytes, given: Given) -> str:
        """Say what stands against a twin that begins at this checkpoint; '' if nothing does."""
        if reason := self.keeper.reason_against(manifest):
            return reason
        if imports_from(self._directory):
            return "modules that lie in its directory are imported"
        return reason_to_stay(self.loop, self._hooks, self._own_descriptors | {*given.all})

    @property
    def _own_descriptors(self) -> set[int]:
        sockets = {sock.fileno() for sock in (self.ends.cells, self.ends.control, self.ends.snapshots)}
        others = {self.link.wake_fd, *self.reader.streams, *self.loop.descriptors, *self.keeper.descriptors}
        others |= relief.descriptors
        return {0, 1, 2} | sockets | others

    def begin_as_twin(self, given: Given) -> None:
        """Let go of what is the parent's, and make every part anew on ends of its own."""
        os.setsid()
        os.close(self.link.wake_fd)
        self.ends.close()
        self.ends = ends = make_ends()  # others: a fork has closed its socket for cells (`become_forked_copy`)
        ends.take(given.own)
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
        sys.unraisablehook = sys.__unraisablehook__  # the interrupter's comes before it
        renew(self._interrupter, self.loop, self._shield, ends.page.read)
        renew(self._ladder, self._interrupter)
        renew(self._asker, self.link)
        renew(self._control, ends.control, self.link, self.reader)
        renew(self.operations, self._handlers, self._control.answer)
        self._directory = directory = os.getcwd()  # noqa: PTH109 - compared as text
        renew_process_state(directory)
        self.engine.begin_as_twin()
        self.keeper.begin_as_twin(ends.snapshots, directory)
        self._files.begin(directory)
        self._hooks.drop_new_finalizers()
        self._install_names()
        self._take_streams_and_signals()
        self.keeper.note_start_as_twin()
