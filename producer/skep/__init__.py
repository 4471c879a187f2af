"""skep: durable Python sessions as a job queue.

async with skep.connect("redis://127.0.0.1:6379/0") as cluster:
    session = cluster.session("user-42")
    outcome = await session.run("import math; math.sqrt(1764)")
    assert outcome.value == 42.0
"""

from types import FunctionType as _FunctionType

from skep.cell import Cell
from skep.cell_request import CellOptions, CellRequest
from skep.checkpoints import Checkpoint
from skep.cluster import Cluster, connect
from skep.files import FileInfo, FilePiece, SessionFiles
from skep.inspection import Completeness, Completion, Inspection, Variable
from skep.job_signature import sign_job
from skep.local.embedded import EmbeddedCluster, embedded
from skep.outcome import CellFault, CellFold, Outcome
from skep.session import Session
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
    QuotaExceeded,
    RateExceeded,
    RedisFull,
    RedisRefused,
    RedisUnavailable,
    RedisUnsuitable,
    SessionClosed,
    SessionCrashed,
    SignatureRefused,
    SkepError,
    StartError,
    WaitTimeout,
)
from skep_shared.events import (
    BaseEvent,
    CellFinished,
    CellQueued,
    CellRetried,
    CellStarted,
    CheckpointFailed,
    CheckpointPartial,
    CheckpointSaved,
    DisplayEvent,
    ErrorEvent,
    Event,
    InputAnswered,
    InputRequested,
    OutputCleared,
    OutputEvent,
    OutputTruncated,
    ResetEvent,
    ResultEvent,
    SessionClosedEvent,
    SessionHibernated,
    SessionMoved,
    SessionRestored,
    SessionRolledBack,
    SessionStarted,
    TrimmedEvent,
    WarningEvent,
)
from skep_shared.isolation.session_limits import Limits
from skep_shared.models import Detection, SessionInfo, SessionOptions, WorkerInfo
from skep_shared.settings import Settings
from skep_shared.states import CellStatus, SessionState

__all__ = [
    "BacklogFull",
    "BaseEvent",
    "Cell",
    "CellCancelled",
    "CellError",
    "CellFailed",
    "CellFault",
    "CellFinished",
    "CellFold",
    "CellForgotten",
    "CellInterrupted",
    "CellLost",
    "CellOptions",
    "CellQueued",
    "CellRequest",
    "CellRetried",
    "CellStarted",
    "CellStatus",
    "CellTimedOut",
    "Checkpoint",
    "CheckpointFailed",
    "CheckpointPartial",
    "CheckpointSaved",
    "ClientUnusable",
    "Cluster",
    "Completeness",
    "Completion",
    "Detection",
    "DisplayEvent",
    "EmbeddedCluster",
    "ErrorEvent",
    "Event",
    "EventsTrimmed",
    "FileInfo",
    "FilePiece",
    "InputAnswered",
    "InputRequested",
    "Inspection",
    "InvalidArgument",
    "Limits",
    "NotFound",
    "OperationFailed",
    "Outcome",
    "OutputCleared",
    "OutputEvent",
    "OutputTruncated",
    "QuotaExceeded",
    "RateExceeded",
    "RedisFull",
    "RedisRefused",
    "RedisUnavailable",
    "RedisUnsuitable",
    "ResetEvent",
    "ResultEvent",
    "Session",
    "SessionClosed",
    "SessionClosedEvent",
    "SessionCrashed",
    "SessionFiles",
    "SessionHibernated",
    "SessionInfo",
    "SessionMoved",
    "SessionOptions",
    "SessionRestored",
    "SessionRolledBack",
    "SessionStarted",
    "SessionState",
    "Settings",
    "SignatureRefused",
    "SkepError",
    "StartError",
    "TrimmedEvent",
    "Variable",
    "WaitTimeout",
    "WarningEvent",
    "WorkerInfo",
    "__version__",
    "connect",
    "embedded",
    "sign_job",
]

# Show errors and functions under their public names in tracebacks and reprs. Other classes keep the module that defines
# them, because `inspect.getsource` looks for a class in the file of its `__module__`.
for _name in __all__:
    _exported = globals()[_name]
    if isinstance(_exported, _FunctionType) or (isinstance(_exported, type) and issubclass(_exported, BaseException)):
        _exported.__module__ = __name__
del _name, _exported
