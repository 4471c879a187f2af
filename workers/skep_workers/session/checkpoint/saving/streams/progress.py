"""Where a snapshot is: memory shared with the forked child, which the parent reads when the child hangs or dies."""

import mmap
from typing import Final

SEVERAL: Final = "\0"  # reported instead of a variable's name while several are pickled together
TRIAL: Final = "\0trial"  # reported while a trial shows whether they can be restored


class Progress:
    """A page that outlives the child which writes it: one slot for a variable's name, one for a reason."""

    SIZE: Final = 4096  # of each slot, in bytes

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, 2 * self.SIZE)  # shared with children that are forked later

    def report(self, name: str) -> None:
        """Report which variable is being pickled."""
        self._write(0, name.encode("utf-8", "surrogatepass"))

    def report_failure(self, reason: str) -> None:
        """Report why no snapshot could be made, where that is no variable's fault."""
        self._write(self.SIZE, reason.encode("utf-8", "surrogatepass"))

    @property
    def latest(self) -> str:
        """The variable that was reported last; '' if none was."""
        return self._read(0)

    @property
    def failure(self) -> str:
        """Why no snapshot could be made; '' if no reason was reported."""
        return self._read(self.SIZE)

    def _write(self, start: int, data: bytes) -> None:
        data = data[: self.SIZE - 2]
        self._page[start : start + len(data) + 2] = len(data).to_bytes(2, "big") + data

    def _read(self, start: int) -> str:
        size = int.from_bytes(self._page[start : start + 2], "big")
        return bytes(self._page[start + 2 : start + 2 + size]).decode("utf-8", "surrogatepass")
