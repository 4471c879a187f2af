"""Everything that earlier snapshots of a session process leave for the next one."""

from collections.abc import Callable

from skep_workers.session.checkpoint.saving.cell_uses import CellUses
from skep_workers.session.checkpoint.saving.failed_variables import FailedVariables
from skep_workers.session.checkpoint.saving.faults import Faults
from skep_workers.session.checkpoint.saving.in_place_refusals import InPlaceRefusals
from skep_workers.session.checkpoint.saving.last_snapshot import LastSnapshot
from skep_workers.session.checkpoint.saving.reusable_parts import ReusableParts
from skep_workers.session.checkpoint.state import SnapshotLimits


class SnapshotHistory:
    """The state that snapshots in the main thread and those of children share."""

    def __init__(self, on_saved: Callable[[frozenset[bytes]], None]) -> None:
        """on_saved: is called with the chunks that are stored now."""
        self.last = LastSnapshot(on_saved)
        self.parts = ReusableParts()
        self.failed_variables = FailedVariables()
        self.refusals = InPlaceRefusals()
        self.faults = Faults()
        self.uses = CellUses()
        self.limits = SnapshotLimits()

    def begin_again(self) -> None:
        """Forget what is stored, so that the next snapshot saves everything."""
        self.faults.has_failed = True
        self.uses.distrust()
        self.last.forget()
        self.parts.forget_stored()

    def release_values(self) -> None:
        """Hold no value any more."""
        self.last.release_values()
        self.failed_variables.release_values()
