"""What the parts that run a session's cells share."""

from dataclasses import dataclass

from skep_shared.broker.script_replies import Claim
from skep_shared.models import SessionOptions
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker.redis_clock import RedisClock
from skep_workers.host.limits.watch import LimitWatch
from skep_workers.host.residency.cells.intake import CellIntake
from skep_workers.host.residency.cells.reporter import Reporter
from skep_workers.host.residency.journal import Journal
from skep_workers.host.residency.lifecycle import Lifecycle


@dataclass(frozen=True, slots=True)
class CellContext:
    """The session, and where its cells come from and are reported to. wall_seconds: the limit of that name.

    watch: of a session that has a limit which is measured.
    """

    claim: Claim
    options: SessionOptions
    settings: WorkerSettings
    clock: RedisClock
    lifecycle: Lifecycle
    intake: CellIntake
    journal: Journal
    reporter: Reporter
    watch: LimitWatch | None = None
    wall_seconds: float | None = None
