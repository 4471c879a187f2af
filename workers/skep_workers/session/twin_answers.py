"""Answers the host's requests for twins of this process, between two cells. See twin.py."""

from collections import deque
from collections.abc import Callable
from traceback import format_exc  # bound early: user code may patch traceback

from skep_shared.originals import os
from skep_shared.protocol.frames import Twin, Twinned
from skep_workers.session.control.thread import START_FAILED_EXIT
from skep_workers.session.twin import Refused, TwinEnds, fork_twin, receive_ends
from skep_workers.session.wiring import SessionParts


class TwinAnswers:
    """The requests that wait for an answer. Only the main thread uses this, while no loop runs."""

    def __init__(self, parts: SessionParts, is_at_work: Callable[[], bool], begin_as_twin: Callable[[], None]) -> None:
        """The twin calls `begin_as_twin` when its parts have been made again."""
        self._parts = parts
        self._is_at_work = is_at_work
        self._begin_as_twin = begin_as_twin
        self.wanted: deque[Twin] = deque()  # in the order of their arrival

    def answer_all(self) -> None:
        """Answer each request. This also returns in each twin, which continues as another session's process."""
        while self.wanted:
            self._answer(self.wanted.popleft())

    def _answer(self, wanted: Twin) -> None:
        """Fork, if no reason is against it; otherwise send the reason."""
        parts, ends, is_twin = self._parts, None, False
        try:
            ends = receive_ends(parts.ends.snapshots)
            if reason := self._reason_against(wanted, ends):
                raise Refused(reason)
            is_twin = fork_twin(wanted.request, ends, parts.checkpointer, parts.link)
        except (Refused, OSError, ValueError) as exc:
            parts.link.send(Twinned(wanted.request, 0, str(exc)))
        if is_twin and ends is not None:
            self._become_twin(ends)
        elif ends is not None:
            ends.close()

    def _reason_against(self, wanted: Twin, ends: TwinEnds) -> str:
        if self._is_at_work() or not self._parts.control.is_idle:
            return "it is at work"
        return self._parts.reason_against_twin(wanted.manifest, ends)

    def _become_twin(self, ends: TwinEnds) -> None:
        try:
            self.wanted.clear()
            self._parts.begin_as_twin(ends)
            self._begin_as_twin()
        except BaseException:  # noqa: BLE001 - the process ends here; the reason goes to its own stderr
            os.write(2, format_exc().encode("utf-8", "backslashreplace"))
            os._exit(START_FAILED_EXIT)
