"""One pickled group of variables, or the definitions."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field

from skep_workers.session.checkpoint.saving.pickling.notes import StreamNotes
from skep_workers.session.checkpoint.saving.pickling.references import Reference
from skep_workers.session.checkpoint.saving.pickling.shared_memory import NOTHING, Region, Shared
from skep_workers.session.checkpoint.saving.streams.sharing import Met


@dataclass(slots=True)
class Stream:
    """A pickled group.

    met: the objects that it contains. references: to objects of the environment's modules that it reaches.
    """

    names: list[str]
    data: bytes
    buffers: list[pickle.PickleBuffer]
    met: Met = field(repr=False)
    notes: StreamNotes = field(default_factory=StreamNotes, repr=False)
    shared: Shared = NOTHING
    regions: list[Region] = field(default_factory=list)
    references: Sequence[Reference] = ()
    is_of_definitions: bool = False

    @property
    def size_bytes(self) -> int:
        """How much it takes, including chunks that are stored already."""
        return len(self.data) + sum(buffer.raw().nbytes for buffer in self.buffers)

    @property
    def is_tolerant(self) -> bool:
        """Whether a restore has to read it object by object, see restoring/loading.py."""
        return self.notes.restores_by_code or self.notes.hashes_by_state
