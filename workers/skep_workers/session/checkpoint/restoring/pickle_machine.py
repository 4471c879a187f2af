"""The machine that a pickle stream runs on: bytes, stack, marks and memo."""

from collections.abc import Callable, Iterable
from operator import is_
from pickle import BINGET, LONG_BINGET
from typing import Any, Final

from skep_workers.session.checkpoint.restoring.losses import Losses, Lost

_GET_SIZES: Final = {BINGET[0]: 1, LONG_BINGET[0]: 4}


class PickleMachine:
    """Reads one stream; `losses` has the objects in it that could not be made."""

    def __init__(self, data: bytes | bytearray, buffers: Iterable[Any]) -> None:
        self.losses: Final = Losses()
        self.bind: Callable[[str, Any], None] = lambda *_: None  # is called with each variable once it is made
        self.stack: list[Any] = []
        self.memo: list[Any] = []
        self._data = data
        self._buffers = iter(buffers)
        self._at = 0
        self._below: list[list[Any]] = []  # the stacks below the marks
        # What the last opcode has made, the function that made it, and its two arguments.
        self._reduced: tuple[Any, Any, tuple[Any, Any]] | None = None
        self._pairs: dict[int, tuple[Any, Any, tuple[Any, Any]]] = {}  # the same, by id, of all that was made of two

    def read(self, size: int) -> bytes | bytearray:
        """Return the next bytes."""
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    def number(self, size: int) -> int:
        """Return the next bytes as an unsigned number."""
        return int.from_bytes(self.read(size), "little")

    def next_buffer(self) -> Any:
        """Return the next out-of-band buffer."""
        return next(self._buffers)

    def mark(self) -> None:
        """Start a new stack."""
        self._below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """Return the items above the last mark, and continue with the stack below it."""
        items, self.stack = self.stack, self._below.pop()
        return items

    def pop(self) -> None:
        """Drop the last item, or the last mark."""
        if not self.stack:
            self.pop_mark()
            return
        dropped = self.stack.pop()
        if self._reduced is not None and self._reduced[0] is dropped:
            _, function, (value, *state) = self._reduced
            if not self._was_made_before(function, (value, *state)):
                # The sixth item of a reduction: it was called to set the state of an object, not to make one.
                self.losses.note_contents(value, state)
                if type(dropped) is Lost:
                    self.losses.lose(value, self.losses.reason(dropped) or "")

    def _was_made_before(self, function: Any, arguments: tuple[Any, ...]) -> bool:
        """Return whether the next opcode loads the same object, made while its arguments were, which reach it."""
        size = _GET_SIZES.get(self._data[self._at])
        if size is None:
            return False
        number = int.from_bytes(self._data[self._at + 1 : self._at + 1 + size], "little")
        _, earlier, those = self._pairs.get(id(self.memo[number]), (None, None, ()))
        return earlier is function and len(those) == len(arguments) and all(map(is_, those, arguments))

    def memoize(self) -> None:
        """Add the top of the stack to the memo; the object is made, but not yet filled."""
        stack = self.stack
        self.memo.append(stack[-1])
        # Above the mark of the stream's own dictionary, names and values alternate.
        if len(self._below) == 1 and not len(stack) % 2 and type(stack[-2]) is str and type(stack[-1]) is not Lost:
            self.bind(stack[-2], stack[-1])
