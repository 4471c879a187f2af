"""The ids of checkpoints.

The checkpoint after the cell of seq 17 is `17-0`. When its process is evicted from a worker, the process saves what
tasks and threads have done since that cell as `17-1`; the next process that is evicted before cell 18 saves `17-2`.
Uploading a file to the session also makes a checkpoint: `0-1` before the first cell. A checkpoint never changes,
because names and forks refer to it.

In Redis a head, a name or a pin is stored as `17` or `17-1`: a part of 0 is omitted, as in earlier versions.
"""

import re
from typing import Final, NamedTuple

_TEXT: Final = re.compile(r"([0-9]{1,16})(?:-([0-9]{1,9}))?")


class CheckpointId(NamedTuple):
    """The id of the state after the cell of `seq`; `part` counts the further checkpoints before the next cell."""

    seq: int
    part: int = 0

    def __str__(self) -> str:
        return f"{self.seq}-{self.part}"

    def __bool__(self) -> bool:
        """Return False for `NO_CHECKPOINT`."""
        return self.seq > 0 or self.part > 0

    @property
    def stored(self) -> str:
        """The form that is stored in Redis."""
        return str(self) if self.part else str(self.seq)

    @classmethod
    def parse(cls, text: str | bytes) -> "CheckpointId":
        """Parse `17-1`, or `17` for `17-0`. Raises ValueError."""
        found = _TEXT.fullmatch(text.decode() if isinstance(text, bytes) else text)
        if found is None:
            raise ValueError(f"a checkpoint id like '17-0' was expected, not {text!r}")
        return cls(int(found[1]), int(found[2] or 0))

    def after(self, seq: int) -> "CheckpointId":
        """Return the next free id for the state after the cell of `seq`, if this id is the newest one."""
        return CheckpointId(seq) if self.seq < seq else CheckpointId(self.seq, self.part + 1)


NO_CHECKPOINT: Final = CheckpointId(0)
