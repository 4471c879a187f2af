"""The meaning of Redis's error replies: whether a condition is temporary, and what else has to be done about it.

An error reply begins with a code in capitals. In a script's error Redis 6.2 moves it into the middle of the text, and
the driver removes the codes that it knows; so the code is determined here from the class as well as from the text.

Most codes name temporary conditions of the server: a failover, a long script, a full disk. The codes of permanent
conditions are listed: missing permissions, wrong credentials, and `ERR`, for a fault of the command itself. So a
request that was refused with an unknown code is repeated.
"""

import re
from typing import Final

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

# The driver's errors when the server can't be reached or has stopped answering. Its ConnectionError and TimeoutError
# don't derive from Python's, and a refused connection may be raised as a plain OSError.
CONNECTION_ERRORS: Final = (RedisConnectionError, RedisTimeoutError, OSError)
# All errors of a request to Redis.
REDIS_ERRORS: Final = (RedisError, OSError)

_CODES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (OutOfMemoryError, "OOM"),
    (BusyLoadingError, "LOADING"),
    (ReadOnlyError, "READONLY"),
    (NoScriptError, "NOSCRIPT"),
    (ExecAbortError, "EXECABORT"),
    (NoPermissionError, "NOPERM"),
    (AuthorizationError, "NOPERM"),
    # redis-py 8 removes the codes of these too. A subclass stands before its base.
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (TryAgainError, "TRYAGAIN"),
    (MovedError, "MOVED"),
    (AskError, "ASK"),
)
_CODE: Final = re.compile(r"(?:\A|user_script: ?\d+: -?|caused error: \W*|pipeline: \W*)([A-Z][A-Z0-9_]{2,})\b")
_NO_PERMISSION_IN_SCRIPT: Final = re.compile(
    r"user executing the script can't|has no permissions|ACL failure in script", re.IGNORECASE
)
_LASTING: Final = frozenset(
    {
        "ERR",
        "NOPERM",
        "NOAUTH",
        "WRONGPASS",
        "WRONGTYPE",
        "NOSCRIPT",
        "NOPROTO",
        "SYNTAX",
        "CROSSSLOT",
        "DENIED",
        "AUTH",
    }
)
# The server is no master any more, or is about to be demoted: another connection may reach the new master.
_DEMOTED: Final = frozenset({"READONLY", "UNBLOCKED", "MASTERDOWN"})


def _reply_in(exc: BaseException) -> BaseException:
    """Return the error reply that the driver has wrapped in a ConnectionError, as it does on a unix socket."""
    cause = exc.__cause__
    return cause if type(exc) is RedisConnectionError and isinstance(cause, RedisError) else exc


def error_code(exc: BaseException) -> str:
    """Return the code of an error reply, such as READONLY; '' for another error."""
    exc = _reply_in(exc)
    text = str(exc)
    for kind, code in _CODES:
        if isinstance(exc, kind):
            return code
    if isinstance(exc, AuthenticationError):
        return "AUTH"
    if not isinstance(exc, ResponseError):
        return ""
    if _NO_PERMISSION_IN_SCRIPT.search(text[:500]):
        return "NOPERM"
    codes: list[str] = _CODE.findall(text[:500])
    if "OOM" in codes or "-OOM" in text[:500] or "'maxmemory'" in text:
        return "OOM"
    if "Redis is busy" in text[:200]:
        return "BUSY"
    found = [code for code in codes if code != "ERR"]
    return found[-1] if found else "ERR"


def is_passing(exc: BaseException) -> bool:
    """Return whether the same request may succeed later: the server can't be reached, or refuses for a while."""
    exc = _reply_in(exc)
    if isinstance(exc, AuthenticationError | AuthorizationError):  # subclasses of ConnectionError
        return False
    if isinstance(exc, CONNECTION_ERRORS):
        return True
    return isinstance(exc, ResponseError) and error_code(exc) not in (_LASTING | {"OOM"})


def is_out_of_memory(exc: BaseException) -> bool:
    """Return whether the server refused a write because it is full."""
    return error_code(exc) == "OOM"


def is_script_failure(exc: BaseException) -> bool:
    """Return whether a script of ours ended with an error of its own: a key has what no script of ours writes."""
    return error_code(exc) in {"ERR", "WRONGTYPE"} and "script" in str(_reply_in(exc))[:500]


def is_demotion(exc: BaseException) -> bool:
    """Return whether the server reports that it is no master any more, so that its connections are useless."""
    return error_code(exc) in _DEMOTED
