"""The state that a snapshot saves, and the limits of a snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from skep_shared.checkpoints.manifest import NO_PACKAGES, Entry, Packages

DEFAULT_SNAPSHOT_SECONDS: Final = 60.0
DEFAULT_MEMORY_BYTES: Final = 4 * 1024 * 1024 * 1024
DEFAULT_STATE_BYTES: Final = 1024 * 1024 * 1024


class State(NamedTuple):
    """A session after a cell.

    names: variable -> value. ambient: see ambient.py. files: below the session's directory. contents: bytes of those
    chunks of files and packages that no checkpoint has saved yet. lost: parts that can't be saved, and why. is_final:
    no thread, task, timer or signal handler of user code was left that could change any of it.
    """

    names: dict[str, Any]
    ambient: dict[str, Any]
    files: list[Entry]
    contents: dict[bytes, bytes]
    lost: dict[str, str]
    is_final: bool
    packages: Packages = NO_PACKAGES

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

    seconds: after which a child is killed. memory_bytes: by which it may grow. state_bytes: of everything it saves;
    beyond that the largest variables are left out.
    """

    seconds: float = DEFAULT_SNAPSHOT_SECONDS
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    state_bytes: int = DEFAULT_STATE_BYTES

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the limits in the options of a session and its worker."""
        return cls(
            float(options.get("snapshot_seconds", DEFAULT_SNAPSHOT_SECONDS)),
            int(options.get("snapshot_memory_bytes", DEFAULT_MEMORY_BYTES)),
            int(options.get("state_bytes", DEFAULT_STATE_BYTES)),
        )
