"""What a snapshot is made of, and within which limits."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from skep_workers.session.checkpoint.surroundings.workspace import Entry

DEFAULT_SNAPSHOT_SECONDS: Final = 60.0
DEFAULT_MEMORY_BYTES: Final = 4 * 1024 * 1024 * 1024
DEFAULT_STATE_BYTES: Final = 1024 * 1024 * 1024


class State(NamedTuple):
    """A session after a cell.

    names: variable -> value. ambient: see ambient.py. files: what is below the working directory; contents: bytes of
    their chunks that no checkpoint has saved yet. lost: what is known to be impossible to save, and why. is_final: no
    thread, task, timer or signal handler of user code was left that could change any of it.
    """

    names: dict[str, Any]
    ambient: dict[str, Any]
    files: list[Entry]
    contents: dict[bytes, bytes]
    lost: dict[str, str]
    is_final: bool

    @property
    def without_values(self) -> "State":
        """The state without the values of variables and the contents of files; enough to compare a later state with."""
        return self._replace(names={}, contents={})

    @property
    def ids(self) -> dict[str, int]:
        """Variable -> id of its value."""
        return {name: id(value) for name, value in self.names.items()}


@dataclass(frozen=True, slots=True)
class SnapshotLimits:
    """What one snapshot may cost.

    seconds: after which a child is killed. memory_bytes: by which it may grow. state_bytes: of all it saves; the
    largest variables are left out beyond that.
    """

    seconds: float = DEFAULT_SNAPSHOT_SECONDS
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    state_bytes: int = DEFAULT_STATE_BYTES
