"""All errors that skep raises, as one tree, and whose fault each of them is.

SkepError
├── InvalidArgument (ValueError)        the caller's: a value was rejected before anything was written
├── RedisUnavailable (ConnectionError)  the operator's: Redis can't be reached, or stopped answering
├── RedisRefused                        the operator's: Redis refuses access: permissions, credentials
├── RedisUnsuitable                     the operator's: wrong version, or a memory policy that evicts
├── RedisFull                           the operator's: no memory left for new cells
├── SignatureRefused (ValueError)       the caller's or the operator's: not signed, or not by a key of the shard
├── StoreUnavailable                    the operator's: the checkpoint store can't be reached, or refuses access
├── IdentityUnavailable                 the operator's: the identity provider's keys can't be fetched
├── BacklogFull                         the caller's: too many cells are waiting in this session
├── RateExceeded                        the caller's: cells are submitted to this session too fast
├── QuotaExceeded                       the operator's: a quota of the caller's tenant is used up
├── SessionClosed                       the caller's: the session has ended and accepts no more cells
├── NotFound (LookupError)              the caller's: no such session or cell
├── EventsTrimmed (LookupError)         the operator's: retention has removed events that are needed
├── CellForgotten (LookupError)         the operator's: Redis has lost a cell that was accepted
├── ClientUnusable (RuntimeError)       the caller's: a client that is closed, or belongs to another loop or process
├── WaitTimeout (TimeoutError)          no one's: the wait has ended, the cell continues
├── OperationFailed                     the session's: an operation (complete, hibernate, files.put …) was not done
├── StartError                          the operator's: a worker, a zygote or a session process didn't start
├── CellError                           the cell's, raised by Outcome.raise_for_status()
│   ├── CellFailed                      its code raised
│   ├── CellInterrupted                 a client interrupted it
│   ├── CellTimedOut                    its own timeout ended it
│   ├── CellCancelled                   it was removed before it started
│   ├── CellLost                        its worker died and it must not run again
│   └── SessionCrashed                  it killed its own process
├── ProtocolError                       skep's: two parts disagree about the bytes between them
│   ├── FrameTooLarge
│   ├── MalformedFrame
│   └── VersionMismatch
├── IllegalTransition                   skep's: a step that the table of a lifecycle doesn't have
├── Fenced                              no one's: another worker owns the session now
└── EventGap                            skep's: a writer is ahead of the stream it writes to

Arguments are fields, so that `args` survives pickling; the text is made from them. Import the classes from here. The
modules of this folder import nothing but the base class.
"""

from skep_shared.errors.base import SkepError
from skep_shared.errors.calls import (
    BacklogFull,
    CellForgotten,
    ClientUnusable,
    EventsTrimmed,
    InvalidArgument,
    NotFound,
    OperationFailed,
    QuotaExceeded,
    RateExceeded,
    SessionClosed,
    SignatureRefused,
    WaitTimeout,
)
from skep_shared.errors.cells import (
    CellCancelled,
    CellError,
    CellFailed,
    CellInterrupted,
    CellLost,
    CellTimedOut,
    SessionCrashed,
)
from skep_shared.errors.internal import (
    EventGap,
    Fenced,
    FrameTooLarge,
    IllegalTransition,
    MalformedFrame,
    ProtocolError,
    VersionMismatch,
)
from skep_shared.errors.servers import (
    IdentityUnavailable,
    RedisFull,
    RedisRefused,
    RedisUnavailable,
    RedisUnsuitable,
    StartError,
    StoreUnavailable,
)

__all__ = [
    "BacklogFull",
    "CellCancelled",
    "CellError",
    "CellFailed",
    "CellForgotten",
    "CellInterrupted",
    "CellLost",
    "CellTimedOut",
    "ClientUnusable",
    "EventGap",
    "EventsTrimmed",
    "Fenced",
    "FrameTooLarge",
    "IdentityUnavailable",
    "IllegalTransition",
    "InvalidArgument",
    "MalformedFrame",
    "NotFound",
    "OperationFailed",
    "ProtocolError",
    "QuotaExceeded",
    "RateExceeded",
    "RedisFull",
    "RedisRefused",
    "RedisUnavailable",
    "RedisUnsuitable",
    "SessionClosed",
    "SessionCrashed",
    "SignatureRefused",
    "SkepError",
    "StartError",
    "StoreUnavailable",
    "VersionMismatch",
    "WaitTimeout",
]
