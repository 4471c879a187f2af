"""Runs cells: prepare, execute in the one namespace, report how each ended.

`prepare` decides how a cell runs. A cell that awaits is started as a task of the loop (`spawn`). Any other cell is run
by the main thread outside of the loop (`run_outside`). Both end in `_finish`, which sends the cell's result together
with Done.
"""

import asyncio
from asyncio import CancelledError, Task, current_task, set_event_loop  # bound early: user code may patch asyncio
from collections.abc import Callable, Mapping
from sys import gettrace  # bound early: user code may patch sys
from typing import Any, NamedTuple

from skep_shared.isolation.network import Network
from skep_shared.originals import os
from skep_shared.protocol.frames import Done, Execute, Frame, Notice
from skep_shared.states import CellStatus
from skep_workers.session.attribution.writer import Writer, current_writer
from skep_workers.session.checkpoint.checkpointer import Checkpointer
from skep_workers.session.compilation.plain_cells import Uses
from skep_workers.session.display.publisher import DisplayPublisher
from skep_workers.session.execution.async_executor import AsyncExecutor
from skep_workers.session.execution.cell_steps import CellSteps
from skep_workers.session.execution.failures import CellFailures
from skep_workers.session.execution.preparation import CellPreparer
from skep_workers.session.execution.prepared import Ending, Prepared
from skep_workers.session.execution.stray_exceptions import StrayExceptions
from skep_workers.session.execution.threaded_executor import ThreadedExecutor
from skep_workers.session.interrupt.debuggers import end_tracing
from skep_workers.session.interrupt.interrupts import Interrupter
from skep_workers.session.interrupt.signal_hold import SignalHold
from skep_workers.session.output.link import CellLink
from skep_workers.session.output.replaced_streams import ReplacedStreams
from skep_workers.session.packages.session_packages import SessionPackages
from skep_workers.session.runtime.fork_safety import has_threads
from skep_workers.session.runtime.loop import SessionLoop
from skep_workers.session.runtime.namespace import NamespaceManager
from skep_workers.session.runtime.running_loop import questions
from skep_workers.session.safeguards.clock import perf_counter_ns
from skep_workers.session.safeguards.shield import Shield


class Guards(NamedTuple):
    """What separates user code and engine on the main thread: interrupts, and the hold on signals that cells handle."""

    interrupter: Interrupter
    shield: Shield
    hold: SignalHold


class Engine:
    """Executes the cells of one session. Only the main thread uses it."""

    def __init__(
        self,
        loop: SessionLoop,
        link: CellLink,
        guards: Guards,
        publisher: DisplayPublisher,
        drain: Callable[[], None],
        streams: ReplacedStreams,
    ) -> None:
        """`drain` reads what was written to the pipes of descriptors 1 and 2."""
        self._loop = loop
        self._link = link
        self._interrupter, shield, self._hold = guards
        self._drain = drain
        self.namespace = NamespaceManager()
        self._preparer = CellPreparer(self.namespace)
        self._async = AsyncExecutor(self.namespace, loop=loop)
        self.strays = StrayExceptions(self._interrupter, self._async.signals, loop)
        self._async.signals.connect(self._hold, loop, self.strays.raise_in_cell)
        self._threaded = ThreadedExecutor(
            self.namespace, loop, shield=shield, drain=lambda _seconds: drain(), on_loop_thread=link.end_sole_writer
        )
        self._steps = CellSteps(link, self.namespace, publisher, streams, shield, drain)
        self._magics = self._steps.magics
        self._failures = CellFailures(self.namespace, self._interrupter, self._magics)
        self._checkpointer: Checkpointer | None = None
        self._finished: Writer | None = None

    def save_with(self, checkpointer: Checkpointer) -> None:
        """Save the namespace after each cell with this checkpointer."""
        self._checkpointer = checkpointer
        checkpointer.connect(lambda: self._preparer.future_flags, self._async.context, self._is_quiet, self._loop)

    def install_with(self, packages: SessionPackages) -> None:
        """Install packages for magics, and those of the session's options before its first cell."""
        self._steps.install_with(packages)

    def set_future_flags(self, flags: int) -> None:
        """Set the compiler flags of the future imports that cells have made, after a restore."""
        self._preparer.future_flags = flags

    def install(self) -> None:
        """Install the process's `__main__` and the built-in names."""
        self.namespace.install()
        self._steps.install()

    def configure(
        self, detection: dict[str, Any], tla_timeout: float | None, cache_size: int | None, *, tasks_pause: bool
    ) -> None:
        """Set the session's options. `tasks_pause`: background tasks pause while a cell blocks."""
        self._preparer.configure(detection, cache_size)
        self._async.tla_timeout = tla_timeout
        self._threaded.carrier.pauses = tasks_pause

    def apply_limits(self, limits: Mapping[str, float]) -> None:
        """Set the limits of the session, by name, that concern this process."""
        self._failures.limits.apply(limits)

    def explain_network(self, network: Network) -> None:
        """Name the session's network in errors of cells that need a wider one."""
        self._failures.network = network

    def prepare(self, cell: Execute) -> Prepared:
        """Translate, compile and route a cell. Its timeout counts from here on."""
        writer = Writer(cell.seq, cell.attempt)
        started_ns = perf_counter_ns()
        deadline = self._interrupter.start(writer, None, cell.timeout_seconds)
        if self._interrupter.requests.by_cell:
            self._link.wake()
        elif deadline is not None:
            self._link.wake_by(deadline)  # the control thread has to keep it
        return self._preparer.prepare(cell, writer, started_ns, self._checkpointer)

    def spawn(self, prepared: Prepared, on_done: Callable[[asyncio.Task[None]], object]) -> None:
        """Run the cell as a task of the loop, which is done when the cell's last frame has been sent.

        The task's first step runs at once. It is all of a cell that doesn't await, and a turn of the loop costs as much
        as a short cell.
        """
        # Not by the loop's task factory, which user code may set.
        name = f"cell {prepared.cell.seq}"
        task = Task(self._run_inside(prepared), loop=self._loop, name=name, context=self._async.context)
        task.add_done_callback(on_done)
        self._loop.run_latest()

    def run_outside(self, prepared: Prepared) -> None:
        """Run the cell on the calling thread, where no loop is running."""
        set_event_loop(self._loop)  # an earlier cell may have set another one
        self._async.context.run(current_writer.set, prepared.writer)
        self._finish(prepared, self._async.context.run(self._execute_outside, prepared))

    def finish_unstarted(self, prepared: Prepared, ending: Ending) -> None:
        """Send the end of a cell whose code does not run."""
        self._finish(prepared, ending)

    def finish_cancelled(self, prepared: Prepared) -> None:
        """Send the end of a cell whose task user code has cancelled before it began.

        A task that is cancelled in its very last step counts as cancelled too; the end of its cell has been sent.
        """
        if self._finished == prepared.writer:
            return
        cancelled = CancelledError("the cell's task was cancelled before it began")
        self._finish(prepared, self._failed(prepared, cancelled))

    def begin_as_twin(self) -> None:
        """Continue in a fork, as the engine of a session that has run no cell."""
        self.namespace.renew_lock()
        self._finished = None
        self._preparer.remove_detected()

    def _is_quiet(self) -> bool:
        """Return whether nothing is left that could change the state before the next cell."""
        return not has_threads() and self._loop.is_quiet

    def close(self) -> None:
        """Close what cells have left open in the namespace."""
        self._async.close()

    async def _run_inside(self, prepared: Prepared) -> None:
        current_writer.set(prepared.writer)
        task = questions.cell_task = current_task(self._loop)
        questions.cell_code = None
        self.strays.forget()
        self._interrupter.start(prepared.writer, task, prepared.cell.timeout_seconds)
        ending = prepared.ending
        compiled = prepared.compiled
        if compiled is not None:
            try:
                try:
                    self._hold.release()
                    self._interrupter.enter()
                    if prepared.is_timed:
                        self._magics.start_timer()
                    with self._steps.around(prepared):
                        # No variable holds the value: one that isn't shown is released here, inside the cell.
                        frame = self._steps.show_value(prepared, compiled, await self._async.execute(compiled))
                    self._interrupter.check()
                finally:
                    self._interrupter.is_in_user_code = False
                    if gettrace() is not None:
                        end_tracing()
                    self._hold.block_after(compiled.analysis.uses)
                ending = Ending(CellStatus.FINISHED, frame)
            except BaseException as exc:  # noqa: BLE001 - user code may raise anything, and nothing ends the session
                self._hold.block_after(compiled.analysis.uses)
                ending = self._failed(prepared, self.strays.cause(exc))
        elif prepared.error is not None:
            ending = self._failures.ending_of_uncompiled(prepared, prepared.error)
        self._finish(prepared, ending or Ending(CellStatus.FAILED))

    def _execute_outside(self, prepared: Prepared) -> Ending:
        compiled = prepared.compiled
        assert compiled is not None  # noqa: S101 - only compiled cells are routed
        blocks = prepared.route.blocks
        carries_loop = blocks and self._loop.has_work
        try:
            try:
                self._hold.release()
                self._interrupter.enter()
                if prepared.is_timed:
                    self._magics.start_timer()
                self._link.is_sole_writer = True
                with self._steps.around(prepared):
                    frame = self._steps.show_value(
                        prepared,
                        compiled,
                        self._threaded.execute(compiled, carries_loop=carries_loop, blocks=blocks),
                    )
                self._interrupter.check()
            finally:
                self._interrupter.is_in_user_code = False
                if gettrace() is not None:
                    end_tracing()
                self._hold.block_after(compiled.analysis.uses)
                self._link.is_sole_writer = False
        except BaseException as exc:  # noqa: BLE001 - see above
            self._hold.block_after(compiled.analysis.uses)
            return self._failed(prepared, exc)
        return Ending(CellStatus.FINISHED, frame)

    def _failed(self, prepared: Prepared, exc: BaseException) -> Ending:
        return self._failures.ending(prepared, exc, self._async.tla_timeout, self._checkpointer)

    def _finish(self, prepared: Prepared, ending: Ending) -> None:
        if self._link.is_forked_copy:
            self._link.flush()
            os._exit(0)  # a child that user code forked has returned into the engine: it is no session
        self._finished = prepared.writer
        self._drain()
        self._interrupter.forget(prepared.writer)
        if self._interrupter.requests.by_cell:
            self._link.wake()  # another cell may have to end now
        run_us = (perf_counter_ns() - prepared.started_ns) // 1000 if prepared.started_ns else 0
        cell = prepared.cell
        detected = self._preparer.remove_detected()
        done = Done(cell.seq, cell.attempt, ending.status, run_us, prepared.route.mode, detected)
        before: tuple[Frame, ...] = () if ending.frame is None else (ending.frame,)
        if ending.cut:
            before = (*before, Notice(cell.seq, cell.attempt, "error.cut", f"the error is not whole: {ending.cut}"))
        if ending.limit:
            before = (*before, Notice(cell.seq, cell.attempt, "limit.exceeded", ending.limit))
        self._link.set_last_frames(*before, done)
        changes_more = self.namespace.note_own_results() or self._magics.is_reloading
        uses = None if changes_more else _uses(prepared, ending)
        saved = self._checkpointer.after_cell(cell.seq, uses) if self._checkpointer is not None else []
        lost = self._checkpointer.files_not_saved() if self._checkpointer is not None else ""
        if lost:
            self._link.send_before_last(Notice(cell.seq, cell.attempt, "files.not_saved", lost))
        unsaved = self._checkpointer.packages_not_saved() if self._checkpointer is not None else ""
        if unsaved:
            self._link.send_before_last(Notice(cell.seq, cell.attempt, "packages.not_saved", unsaved))
        self._link.send(*saved)
        self._link.output_limit.forget_early_cells()


def _uses(prepared: Prepared, ending: Ending) -> Uses | None:
    """Return what a cell can have changed; None means anything."""
    compiled = prepared.compiled
    if compiled is None or compiled.rewrites or ending.status is not CellStatus.FINISHED:
        return None
    if prepared.cell.inputs is not None or prepared.is_timed or prepared.capture is not None:
        return None
    return compiled.analysis.uses
