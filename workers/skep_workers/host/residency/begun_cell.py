"""Records in Redis which cell the process has begun, in case the worker dies before an event does, see begin.lua."""

import asyncio
from collections.abc import Callable
from typing import Any

from skep_shared.broker.script_replies import Claim
from skep_shared.broker.scripts import Scripts


class BegunCell:
    """The cell that was begun last, and whether Redis has that.

    Usually a cell's events or the commit of the cell before it carry the record. Otherwise it is sent without waiting
    for the reply; if that fails, the journal sends it again and waits.
    """

    def __init__(self, scripts: Scripts, claim: Claim, on_failure: Callable[[], None]) -> None:
        """`on_failure` is called when the record could not be sent without waiting."""
        self._scripts = scripts
        self._claim = claim
        self._on_failure = on_failure
        self._seq = 0
        self._recorded_seq = 0

    @property
    def is_unrecorded(self) -> bool:
        """Return whether Redis does not have, and was not sent, the cell that was begun last."""
        return self._seq > self._recorded_seq

    def begin(self, seq: int, *, is_carried: bool, can_send: bool) -> None:
        """Note that a cell begins now. is_carried: the next commit records it. can_send: the journal is running."""
        self._seq = seq
        if is_carried or not self.is_unrecorded:
            return
        sent = self._scripts.post_begin(self._claim, seq) if can_send else None
        if sent is None:
            self._on_failure()
        else:
            self._recorded_seq = seq
            sent.add_done_callback(self._on_reply)

    def _on_reply(self, sent: asyncio.Future[Any]) -> None:
        if sent.cancelled() or sent.exception() is not None or sent.result()[0] != b"OK":
            self._recorded_seq = 0
            self._on_failure()

    def record(self, seq: int) -> None:
        """Note that the caller is recording this cell as begun."""
        self._seq = self._recorded_seq = seq

    def record_latest(self) -> int:
        """Note that the caller is recording the cell that was begun last, and return its seq."""
        self._recorded_seq = max(self._recorded_seq, self._seq)
        return self._seq
