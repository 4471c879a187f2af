"""How the failure of a cell is reported: its status, its error and the text of that."""

from asyncio import CancelledError  # bound early: user code may patch asyncio
from typing import Final

from skep_shared.isolation.network import Network
from skep_shared.protocol.frames import Failure
from skep_shared.states import CellStatus
from skep_workers.session.checkpoint.checkpointer import Checkpointer
from skep_workers.session.errors.last_error import ErrorHook, set_last_error, without_engine_frames
from skep_workers.session.errors.network_hint import add_network_hint
from skep_workers.session.errors.notes import add_note
from skep_workers.session.execution.prepared import Ending, Prepared, failed_ending
from skep_workers.session.interrupt.interrupts import Interrupter
from skep_workers.session.interrupt.requests import Reason
from skep_workers.session.magics.calls import MagicCalls
from skep_workers.session.runtime.namespace import NamespaceManager
from skep_workers.session.runtime.thread_bound import add_thread_hint
from skep_workers.session.safeguards.clock import perf_counter_ns
from skep_workers.session.safeguards.original_builtins import OriginalBuiltins
from skep_workers.session.safeguards.resource_limits import ResourceLimits

_STATUSES: Final = {Reason.INTERRUPT: CellStatus.INTERRUPTED, Reason.TIMEOUT: CellStatus.TIMED_OUT}


class CellFailures:
    """Describes the failures of one session's cells."""

    def __init__(self, namespace: NamespaceManager, interrupter: Interrupter, magics: MagicCalls) -> None:
        self._namespace = namespace
        self._interrupter = interrupter
        self._magics = magics
        self._builtins = OriginalBuiltins()
        self._hook = ErrorHook()
        self.limits = ResourceLimits()
        self.network = Network.HOST

    def ending_of_uncompiled(self, prepared: Prepared, error: BaseException) -> Ending:
        """Return the end of a cell whose code could not be compiled."""
        set_last_error(error)
        return self._described(prepared, error, CellStatus.FAILED)

    def ending(
        self, prepared: Prepared, exc: BaseException, tla_timeout: float | None, checkpointer: Checkpointer | None
    ) -> Ending:
        """Return the end of a cell whose code has raised this. Keep the error for later cells and debuggers."""
        BaseException.with_traceback(exc, without_engine_frames(exc.__traceback__))  # its own may be user code
        self._namespace.names["_exception"] = exc
        set_last_error(exc)
        self._magics.discard_timers()
        add_thread_hint(exc)
        add_network_hint(exc, self.network)
        if checkpointer is not None:
            checkpointer.restorer.lost.explain(exc)
        status, timeout = self._status(prepared, exc, tla_timeout)
        if timeout:
            add_note(exc, timeout)
        limit = self._limit_of(prepared, exc, status)
        ending = self._described(prepared, exc, status)
        if timeout and isinstance(ending.frame, Failure) and not ending.frame.evalue:
            ending = ending._replace(frame=ending.frame._replace(evalue=timeout))  # who reads only that learns it too
        return ending._replace(limit=limit) if limit else ending

    def _limit_of(self, prepared: Prepared, exc: BaseException, status: CellStatus) -> str:
        """Return the limit of the session that the cell ran into, also as a note on the exception; "" if none."""
        if status is CellStatus.TIMED_OUT:
            return self.limits.explain_timeout(prepared.cell.timeout_seconds)
        if limit := self.limits.explain(exc):
            add_note(exc, limit)
        return limit

    def _status(self, prepared: Prepared, exc: BaseException, tla_timeout: float | None) -> tuple[CellStatus, str]:
        """Return the cell's status, and a sentence about the timeout that the cell ran into; "" if none."""
        cell = prepared.cell
        reason = self._interrupter.reason(prepared.writer)
        if reason is not None and isinstance(exc, KeyboardInterrupt | CancelledError):
            if reason is not Reason.TIMEOUT:
                return _STATUSES[reason], ""
            whose = "limit wall_seconds" if self.limits.explain_timeout(cell.timeout_seconds) else "timeout"
            return _STATUSES[reason], f"the cell ran into its {whose} of {cell.timeout_seconds:g} s"
        if (
            isinstance(exc, TimeoutError)
            and prepared.compiled is not None
            and prepared.compiled.awaits
            and tla_timeout is not None
            and perf_counter_ns() - prepared.started_ns >= tla_timeout * 1e9
        ):
            timeout = f"cell {cell.cell_id} awaited for longer than its tla_timeout of {tla_timeout:g} s"
            return CellStatus.TIMED_OUT, timeout
        return CellStatus.FAILED, ""

    def _described(self, prepared: Prepared, exc: BaseException, status: CellStatus) -> Ending:
        """Return the end of a cell with its exception, whose `__str__` is user code again and can be interrupted."""
        cell, before = prepared.cell, self._interrupter.reason(prepared.writer)
        ending = None
        self._interrupter.is_in_user_code = True
        try:
            try:
                with self._builtins:
                    ending = failed_ending(cell, exc, status)
                self._hook.call(exc)
            finally:
                self._interrupter.is_in_user_code = False
        except KeyboardInterrupt:
            name = type(exc).__qualname__
            text = f"{name}\n(it was interrupted while its text was made)\n"
            ending = ending or Ending(status, Failure(cell.seq, cell.attempt, name, "", text))
        reason = self._interrupter.reason(prepared.writer)
        if before is None and reason is not None:  # the text was interrupted, whether or not user code has caught that
            return ending._replace(status=_STATUSES[reason])
        return ending
