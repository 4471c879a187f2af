"""Which states are left to a child at once, since pickling them in the main thread is known to fail."""

from typing import Any

from skep_workers.session.checkpoint.saving.pickling.snapshot_pickler import Untrusted
from skep_workers.session.checkpoint.saving.streams.in_place import TooLarge


class InPlaceRefusals:
    """The variable over which pickling in place failed last, and what may have to change before it succeeds."""

    def __init__(self) -> None:
        self._refused: dict[str, int] = {}  # the variable, and its value's id
        self._slow = ""  # the variable that took too long in the last snapshot, if one did
        self._waits_for_trial = False  # a class had not been tried yet, so it was not pickled in place
        self._waits_for_buffers = False  # the buffers alone were too much to hash in place

    def applies_to(self, names: dict[str, Any]) -> bool:
        """Return whether the value that failed is still bound to its name."""
        return any(id(names.get(name)) == number for name, number in self._refused.items())

    def record_failure(self, exc: BaseException, culprit: str, names: dict[str, Any]) -> None:
        """Record that pickling in place has failed."""
        self._waits_for_buffers = isinstance(exc, TooLarge) and exc.in_buffers
        self._refused = {culprit: id(names[culprit])} if culprit in names else {}
        self._waits_for_trial = isinstance(exc, Untrusted)

    def record_slow(self, slow: str, names: dict[str, Any]) -> None:
        """Record the variable that took too long in place, '' if none did.

        It counts if it was slow twice in a row: code that runs for the first time is slow, and so is a busy machine.
        """
        if slow in names and slow == self._slow:
            self._refused = {slow: id(names[slow])}
        self._slow = slow

    def record_child(self, *, knows_more_buffers: bool) -> None:
        """Record that a child has made a snapshot, and whether it knows more chunks of large buffers than before."""
        if (knows_more_buffers and self._waits_for_buffers) or self._waits_for_trial:
            self._refused = {}
        self._waits_for_trial = False
