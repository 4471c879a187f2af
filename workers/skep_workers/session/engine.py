"""Runs cells: translate, compile, route, execute in the one namespace, say what came of it.

`prepare` decides how a cell runs. A cell for the loop is started as a task (`spawn`); a blocking one is run by the main
thread outside of the loop (`run_outside`). Both end in `_finish`, which sends what the cell left together with Done.
"""

import asyncio
from asyncio import CancelledError, Task, current_task, set_event_loop  # bound early: user code may patch asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

from skep_shared.frames import Done, Execute, Failure, Frame, Notice, Result
from skep_shared.originals import os
from skep_shared.states import CellStatus
from skep_shared.values import decode_value
from skep_workers.session.analysis import CodeAnalyzer
from skep_workers.session.async_executor import AsyncExecutor
from skep_workers.session.capturing import Capturing
from skep_workers.session.checkpoint.checkpointer import Keeper
from skep_workers.session.clock import perf_counter_ns
from skep_workers.session.company import has_threads
from skep_workers.session.compiling import CellCompiler, CompiledCell, cell_filename
from skep_workers.session.detection import DEFAULT_POLICY, ExecutionMode
from skep_workers.session.display.publisher import DisplayPublisher, FiguresAtEnd
from skep_workers.session.display.rendering import mime_bundle, value_as_data
from skep_workers.session.display.representations import shows_itself
from skep_workers.session.interrupts import Interrupter, Reason
from skep_workers.session.link import CellLink
from skep_workers.session.loop import SessionLoop
from skep_workers.session.magics.calls import MagicCalls
from skep_workers.session.magics.pasted import with_plain_line_ends
from skep_workers.session.magics.syntax import translate
from skep_workers.session.namespace import NamespaceManager
from skep_workers.session.original_builtins import OriginalBuiltins
from skep_workers.session.prepared import Ending, Prepared, failed_ending
from skep_workers.session.routing import Route, Router
from skep_workers.session.shield import Shield
from skep_workers.session.signal_hold import SignalHold
from skep_workers.session.sources import register_source
from skep_workers.session.threaded_executor import ThreadedExecutor
from skep_workers.session.uses import Uses
from skep_workers.session.writer import Writer, current_writer

_ENDINGS: Final = {Reason.INTERRUPT: CellStatus.INTERRUPTED, Reason.TIMEOUT: CellStatus.TIMED_OUT}


class Guards(NamedTuple):
    """What stands between user code and the engine on the main thread: interrupts, and signals that cells handle."""

    interrupter: Interrupter
    shield: Shield
    hold: SignalHold


class Engine:
    """The executor of one session."""

    def __init__(
        self,
        loop: SessionLoop,
        link: CellLink,
        guards: Guards,
        publisher: DisplayPublisher,
        drain: Callable[[], None],
    ) -> None:
        """`drain` takes what was written to the pipes of descriptors 1 and 2."""
        self._loop = loop
        self._link = link
        self._interrupter, shield, self._hold = guards
        self._builtins = OriginalBuiltins()
        self._stray: BaseException | None = None  # what a signal's handler has raised while the running cell awaited
        self._publisher = publisher
        self._drain = drain
        self.namespace = NamespaceManager()
        self._compiler = CellCompiler()
        self._router = Router(DEFAULT_POLICY, self.namespace.names)
        self._async = AsyncExecutor(self.namespace, loop=loop)
        self._threaded = ThreadedExecutor(self.namespace, loop, shield=shield, drain=lambda _seconds: drain())
        self._magics = MagicCalls(self.namespace, publisher)
        self._capturing = Capturing(link, shield, drain, self.namespace.names)
        self._keeper: Keeper | None = None
        self._finished: Writer | None = None

    def keep_with(self, keeper: Keeper) -> None:
        """Save the namespace after each cell with this keeper."""
        self._keeper = keeper
        keeper.follow(lambda: self._compiler.future_flags, self._async.context, self._is_quiet, self._loop)

    @property
    def future_flags(self) -> int:
        """The compiler flags of the future imports that cells have made."""
        return self._compiler.future_flags

    @future_flags.setter
    def future_flags(self, flags: int) -> None:
        self._compiler.future_flags = flags

    def install(self) -> None:
        """Take the process's `__main__` and the built-in names."""
        self.namespace.install()
        self._magics.install()

    def configure(self, detection: dict[str, Any], tla_timeout: float | None, cache_size: int | None) -> None:
        """Take the session's options."""
        self._compiler.analyzer = CodeAnalyzer(cache_size)
        self._router.policy = DEFAULT_POLICY.changed(detection)
        self._async.tla_timeout = tla_timeout

    def prepare(self, cell: Execute) -> Prepared:
        """Translate, compile and route a cell; from here on its time runs."""
        writer = Writer(cell.seq, cell.attempt)
        started = perf_counter_ns()
        self._interrupter.start(writer, None, cell.timeout_seconds)
        if cell.timeout_seconds is not None or self._interrupter.requested:
            self._link.wake()  # the control thread has a deadline to keep
        filename = cell_filename(cell.seq)
        code = with_plain_line_ends(cell.code)
        register_source(code, filename)
        token = current_writer.set(writer)  # warnings of the compiler are the cell's output
        try:
            with self._builtins:
                translated = translate(code, filename)
                compiled = self._compiler.compile(translated.source, filename)
                route = self._router.route(compiled.analysis)
                if cell.inputs is not None:
                    self.namespace.merge(decode_value(cell.inputs))
                if self._keeper is not None:
                    self._keeper.before_cell(compiled)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            exc.__traceback__ = None  # all of it is the engine's
            return Prepared(cell, writer, started, ending=failed_ending(cell, exc, CellStatus.FAILED))
        finally:
            current_writer.reset(token)
        if compiled.awaits:  # the compiler knows best
            route = Route(ExecutionMode.TOP_LEVEL_AWAIT)
        return Prepared(cell, writer, started, compiled, route, translated.is_timed, translated.capture)

    def spawn(self, prepared: Prepared, on_done: Callable[[asyncio.Task[None]], object]) -> None:
        """Run the cell as a task of the loop, which is done when the cell's last frame has been sent.

        The task's first step is taken at once, which is all of a cell that doesn't await: a turn of the loop costs as
        much as a short cell.
        """
        # Not by the loop's task factory, which user code may set.
        name = f"cell {prepared.cell.seq}"
        task = Task(self._run_inside(prepared), loop=self._loop, name=name, context=self._async.context)
        task.add_done_callback(on_done)
        self._loop.run_latest()

    def run_outside(self, prepared: Prepared) -> None:
        """Run the cell here, where no loop runs."""
        set_event_loop(self._loop)  # asyncio.run in an earlier cell has taken it away
        self._async.context.run(current_writer.set, prepared.writer)
        self._finish(prepared, self._async.context.run(self._execute_outside, prepared))

    def take_stray(self, exc: BaseException) -> bool:
        """Have what a signal's handler has raised in the loop be raised by the cell that awaits; False if none does."""
        running = self._interrupter.running
        if running is None or running.task is None or not self._interrupter.is_in_user_code:
            return False
        self._stray = exc
        running.task.cancel()
        return True

    def _raised_by_signal(self, exc: BaseException) -> BaseException:
        """Give what has ended a cell: where a signal's handler has had it cancelled, what that raised."""
        stray, self._stray = self._stray, None
        return stray if stray is not None and isinstance(exc, CancelledError) else exc

    def finish_unstarted(self, prepared: Prepared, ending: Ending) -> None:
        """Send the end of a cell whose code does not run."""
        self._finish(prepared, ending)

    def finish_cancelled(self, prepared: Prepared) -> None:
        """Send the end of a cell whose task user code has cancelled before it began.

        A task that is cancelled in its very last step counts as cancelled too; the end of its cell has been sent.
        """
        if self._finished == prepared.writer:
            return
        self._finish(prepared, self._fault(prepared, CancelledError("the cell's task was cancelled before it began")))

    def begin_as_twin(self) -> None:
        """Go on in a fork, as the engine of a session that has run no cell."""
        self.namespace.renew_lock()
        self._finished = None
        self._router.counters = Counter()

    def _is_quiet(self) -> bool:
        """Tell whether nothing is left that could change the state before the next cell."""
        return not has_threads() and self._loop.is_quiet

    def close(self) -> None:
        """Close what the namespace left open."""
        self._async.close()

    async def _run_inside(self, prepared: Prepared) -> None:
        current_writer.set(prepared.writer)
        task = current_task()
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
                    self._link.is_alone = not compiled.awaits
                    with self._around(prepared):
                        if compiled.awaits:
                            value = await self._async.execute(compiled)
                        else:
                            value = self._async.execute_now(compiled)
                        frame = self._after(prepared, compiled, value)
                    self._interrupter.check()
                finally:
                    self._interrupter.is_in_user_code = False
                    self._hold.take_after(compiled.analysis.uses)
                    self._link.is_alone = False
                ending = Ending(CellStatus.FINISHED, frame)
            except BaseException as exc:  # noqa: BLE001 - user code may raise anything, and nothing ends the session
                self._hold.take_after(compiled.analysis.uses)
                ending = self._fault(prepared, self._raised_by_signal(exc))
        self._finish(prepared, ending or Ending(CellStatus.FAILED))

    def _execute_outside(self, prepared: Prepared) -> Ending:
        compiled = prepared.compiled
        assert compiled is not None  # noqa: S101 - only compiled cells are routed
        carries_loop = self._loop.has_work and not prepared.route.runs_loop
        try:
            try:
                self._hold.release()
                self._interrupter.enter()
                if prepared.is_timed:
                    self._magics.start_timer()
                self._link.is_alone = not carries_loop
                with self._around(prepared):
                    value = self._threaded.execute(compiled, carries_loop=carries_loop)
                    frame = self._after(prepared, compiled, value)
                self._interrupter.check()
            finally:
                self._interrupter.is_in_user_code = False
                self._hold.take_after(compiled.analysis.uses)
                self._link.is_alone = False
        except BaseException as exc:  # noqa: BLE001 - see above
            self._hold.take_after(compiled.analysis.uses)
            return self._fault(prepared, exc)
        return Ending(CellStatus.FINISHED, frame)

    def _around(self, prepared: Prepared) -> AbstractContextManager[None]:
        """Give what surrounds a cell's code."""
        around: AbstractContextManager[None] = FiguresAtEnd(self._publisher)
        if prepared.capture is not None:
            around = self._capturing.around(prepared.capture, prepared.writer, around)
        return self._magics.reloading(around) if self._magics.is_reloading else around

    def _after(self, prepared: Prepared, compiled: CompiledCell, value: object) -> Frame | None:
        """Show what the cell leaves to be shown; still part of the cell, since user code runs in it."""
        frame = None
        cell = prepared.cell
        if prepared.is_timed:
            self._magics.stop_timer()
        if compiled.shows_value and value is not None:
            if not shows_itself(value, self._publisher.report):
                shown, diversion = mime_bundle(value, self._publisher.report), self._link.diversion
                if diversion is None or not diversion.takes_bundle(prepared.writer, shown.bundle):
                    data, remark = value_as_data(value)
                    if remark or shown.cut:
                        self._tell_of_limits(cell, remark, shown.cut)
                    frame = Result(cell.seq, cell.attempt, shown.bundle, data)
            self.namespace.push_result(value)
        for change in compiled.rewrites:
            self._link.put(Notice(cell.seq, cell.attempt, "rewritten", change))
        return frame

    def _tell_of_limits(self, cell: Execute, remark: str, cut: tuple[str, ...]) -> None:
        if remark:
            self._link.put(Notice(cell.seq, cell.attempt, "value.changed", remark))
        for each in cut:
            self._link.put(Notice(cell.seq, cell.attempt, "result.cut", f"the result is not whole: {each}"))

    def _fault(self, prepared: Prepared, exc: BaseException) -> Ending:
        cell = prepared.cell
        self.namespace.names["_exception"] = exc
        self._magics.drop_timers()
        if self._keeper is not None:
            self._keeper.lost.explain(exc)
        reason = self._interrupter.reason(prepared.writer)
        status = CellStatus.FAILED
        if reason is not None and isinstance(exc, KeyboardInterrupt | CancelledError):
            status = _ENDINGS[reason]
            if reason is Reason.TIMEOUT:
                exc.add_note(f"the cell ran into its timeout of {cell.timeout_seconds:g} s")
        elif isinstance(exc, TimeoutError) and prepared.compiled is not None and prepared.compiled.awaits:
            limit = self._async.tla_timeout
            if limit is not None and perf_counter_ns() - prepared.started_ns >= limit * 1e9:
                status = CellStatus.TIMED_OUT
                exc.add_note(f"cell {cell.cell_id} awaited for longer than its tla_timeout of {limit:g} s")
        return self._described(prepared, exc, status)

    def _described(self, prepared: Prepared, exc: BaseException, status: CellStatus) -> Ending:
        """Give the end of a cell with its exception, whose `__str__` is user code once more: it can be interrupted."""
        cell, before = prepared.cell, self._interrupter.reason(prepared.writer)
        self._interrupter.is_in_user_code = True
        try:
            try:
                with self._builtins:
                    ending = failed_ending(cell, exc, status)
            finally:
                self._interrupter.is_in_user_code = False
        except KeyboardInterrupt:
            name = type(exc).__qualname__
            text = f"{name}\n(it was interrupted while its text was made)\n"
            ending = Ending(status, Failure(cell.seq, cell.attempt, name, "", text))
        reason = self._interrupter.reason(prepared.writer)
        if before is None and reason is not None:  # the text was asked to end, whether or not something has caught that
            return ending._replace(status=_ENDINGS[reason])
        return ending

    def _finish(self, prepared: Prepared, ending: Ending) -> None:
        if self._link.is_forked_copy:
            self._link.flush()
            os._exit(0)  # a child that user code forked and let run on: it is no session
        self._finished = prepared.writer
        self._drain()
        self._interrupter.forget(prepared.writer)
        if self._interrupter.requested:
            self._link.wake()  # it is another cell's turn to end
        run_us = (perf_counter_ns() - prepared.started_ns) // 1000
        cell = prepared.cell
        mode = prepared.route.mode
        detected, self._router.counters = dict(self._router.counters), Counter()
        done = Done(cell.seq, cell.attempt, ending.status, run_us, mode, detected)
        said: tuple[Frame, ...] = () if ending.frame is None else (ending.frame,)
        if ending.cut:
            said = (*said, Notice(cell.seq, cell.attempt, "error.cut", f"the error is not whole: {ending.cut}"))
        self._link.begin_end(*said, done)
        changes_more = self.namespace.note_own_results() or self._magics.is_reloading
        uses = None if changes_more else _uses(prepared, ending)
        saved = self._keeper.after_cell(cell.seq, uses) if self._keeper is not None else []
        lost = self._keeper.files_not_saved() if self._keeper is not None else ""
        if lost:
            self._link.add_to_end(Notice(cell.seq, cell.attempt, "files.not_saved", lost))
        self._link.send(*saved)
        self._link.end_cell()


def _uses(prepared: Prepared, ending: Ending) -> Uses | None:
    """Return what a cell can have changed, where that is known."""
    compiled = prepared.compiled
    if compiled is None or compiled.rewrites or ending.status is not CellStatus.FINISHED:
        return None
    if prepared.cell.inputs is not None or prepared.is_timed or prepared.capture is not None:
        return None
    return compiled.analysis.uses
