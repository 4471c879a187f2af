"""skep: durable Python sessions as a job queue.

async with skep.connect("redis://127.0.0.1:6379/0") as cluster:
    session = cluster.session("user-42")
    outcome = await session.run("import math; math.sqrt(1764)")
    assert outcome.value == 42.0
"""

from skep.cell import Cell
from skep.checkpoints import Checkpoint
from skep.cluster import Cluster, connect
from skep.embedded import EmbeddedCluster, embedded
from skep.files import FileInfo, SessionFiles
from skep.inspection import Completion, Inspection, Variable
from skep.outcome import CellFault, CellFold, Outcome
from skep.session import CellOptions, CellRequest, Session
from skep_shared import __version__
from skep_shared.errors import (
    BacklogFull,
    CellCancelled,
    CellError,
    CellFailed,
    CellForgotten,
    CellInterrupted,
    CellLost,
    CellTimedOut,
    ClientUnusable,
    EventsTrimmed,
    InvalidArgument,
    NotFound,
    OperationFailed,
    RedisFull,
    RedisRefused,
    RedisUnavailable,
    RedisUnsuitable,
    SessionClosed,
    SessionCrashed,
    SkepError,
    StartError,
    WaitTimeout,
)
from skep_shared.events import Event
from skep_shared.models import Detection, SessionInfo, SessionOptions, WorkerInfo
from skep_shared.settings import Settings
from skep_shared.states import CellStatus, SessionState

__all__ = [
    "BacklogFull",
    "Cell",
    "CellCancelled",
    "CellError",
    "CellFailed",
    "CellFault",
    "CellFold",
    "CellForgotten",
    "CellInterrupted",
    "CellLost",
    "CellOptions",
    "CellRequest",
    "CellStatus",
    "CellTimedOut",
    "Checkpoint",
    "ClientUnusable",
    "Cluster",
    "Completion",
    "Detection",
    "EmbeddedCluster",
    "Event",
    "EventsTrimmed",
    "FileInfo",
    "Inspection",
    "InvalidArgument",
    "NotFound",
    "OperationFailed",
    "Outcome",
    "RedisFull",
    "RedisRefused",
    "RedisUnavailable",
    "RedisUnsuitable",
    "Session",
    "SessionClosed",
    "SessionCrashed",
    "SessionFiles",
    "SessionInfo",
    "SessionOptions",
    "SessionState",
    "Settings",
    "SkepError",
    "StartError",
    "Variable",
    "WaitTimeout",
    "WorkerInfo",
    "__version__",
    "connect",
    "embedded",
]
