"""Limits on what the cells of one session may use. See docs/operating.md for what happens at each.

A session's limits are an option of it. An operator sets the maxima, `SKEP_LIMITS_*`: the lower of both applies.
"""

from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from skep_shared.errors import InvalidArgument
from skep_shared.limits import MAX_OUTPUT_BYTES, MAX_TIMEOUT_SECONDS

MemoryBytes = Annotated[int, Field(ge=32 * 1024 * 1024)]  # an empty session needs most of that
CpuSeconds = Annotated[float, Field(ge=0.1, le=MAX_TIMEOUT_SECONDS)]
WallSeconds = Annotated[float, Field(ge=0.001, le=MAX_TIMEOUT_SECONDS)]
Processes = Annotated[int, Field(ge=16)]  # skep itself has up to five threads and processes in a session
OpenFiles = Annotated[int, Field(ge=64, le=1024 * 1024)]
FileBytes = Annotated[int, Field(ge=64 * 1024)]
WorkspaceBytes = Annotated[int, Field(ge=64 * 1024)]
WorkspaceFiles = Annotated[int, Field(ge=16)]
OutputBytes = Annotated[int, Field(ge=1024, le=MAX_OUTPUT_BYTES)]
CheckpointBytes = Annotated[int, Field(ge=64 * 1024)]
PendingCells = Annotated[int, Field(ge=1, le=1_000_000)]
CellsPerMinute = Annotated[int, Field(ge=1, le=1_000_000)]


class Limits(BaseModel):
    """What a session may use; None: only the operator's maximum applies.

    memory_bytes: of all its processes together; shared memory is divided among those that share it. cpu_seconds: of a
    cell, and of what continues until the next one starts. wall_seconds: upper bound of each cell's timeout. processes:
    processes and threads together, also those of skep. open_files: of each process. file_bytes: of each file.
    workspace_bytes, workspace_files: disk space and entries of the session's directory. output_bytes: text and displays
    of a cell. checkpoint_bytes: of one checkpoint, which leaves out the largest variables beyond that. pending_cells:
    cells that wait. cells_per_minute: cells that are submitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_bytes: MemoryBytes | None = None
    cpu_seconds: CpuSeconds | None = None
    wall_seconds: WallSeconds | None = None
    processes: Processes | None = None
    open_files: OpenFiles | None = None
    file_bytes: FileBytes | None = None
    workspace_bytes: WorkspaceBytes | None = None
    workspace_files: WorkspaceFiles | None = None
    output_bytes: OutputBytes | None = None
    checkpoint_bytes: CheckpointBytes | None = None
    pending_cells: PendingCells | None = None
    cells_per_minute: CellsPerMinute | None = None

    def lowered_to(self, maxima: Self) -> Self:
        """Return the limits that apply where these are the maxima."""
        return self.model_copy(update={name: lowest(wanted, getattr(maxima, name)) for name, wanted in self})

    def check_within(self, maxima: Self) -> None:
        """Raise InvalidArgument if a limit is above its maximum."""
        for name, maximum in maxima:
            wanted = getattr(self, name)
            if wanted is not None and maximum is not None and wanted > maximum:
                raise InvalidArgument(f"limits.{name}", wanted, f"the operator's maximum is {maximum}")


def lowest(first: float | None, second: float | None) -> float | None:
    """Return the lower one of two limits, where None is no limit."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


class Excess(NamedTuple):
    """A limit that a session has run into, and how much it used."""

    name: str
    used: float
    limit: float

    def __str__(self) -> str:
        """Return the name and both values."""
        return f"it ran into its limit {self.name} of {self.limit:,}: it used {self.used:,}"
