"""What an error reply of Redis means for whoever gets it: whether it passes, and what else has to be done about it.

An error reply begins with a code in capitals. Inside a script Redis 6.2 hides it in the middle of a text of its own,
and the driver takes the code off those that it knows; so the code is read here from the class as well as the text.

Codes name conditions of the server, and those pass: a failover, a script that holds it up, a disk that is full. What
doesn't pass is listed: missing permissions, wrong credentials, and `ERR`, which says that the command itself is at
fault. So a code that nobody has heard of is tried again rather than taken for a defect.
"""

import re
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ExecAbortError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

# What the driver raises when the server can't be reached or has stopped answering. Its ConnectionError and
# TimeoutError don't derive from Python's, and a refused connection may come as a plain OSError.
CONNECTION_ERRORS: Final = (RedisConnectionError, RedisTimeoutError, OSError)
# What may come of asking Redis for something, besides a reply.
REDIS_ERRORS: Final = (RedisError, OSError)

_CODES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (OutOfMemoryError, "OOM"),
    (BusyLoadingError, "LOADING"),
    (ReadOnlyError, "READONLY"),
    (NoScriptError, "NOSCRIPT"),
    (ExecAbortError, "EXECABORT"),
    (NoPermissionError, "NOPERM"),
    (AuthorizationError, "NOPERM"),
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
# The server is no master any more, or stops being one: another connection may find the one that is.
_DEMOTED: Final = frozenset({"READONLY", "UNBLOCKED", "MASTERDOWN"})


def _reply_in(exc: BaseException) -> BaseException:
    """Return the error reply that the driver has made a ConnectionError of, as it does when a unix socket is opened."""
    cause = exc.__cause__
    return cause if type(exc) is RedisConnectionError and isinstance(cause, RedisError) else exc


def error_code(exc: BaseException) -> str:
    """Return the code of an error reply, such as READONLY; '' for what is no error reply."""
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
    """Return whether the same request may go through later: the server is away, or refuses for a while."""
    exc = _reply_in(exc)
    if isinstance(exc, AuthenticationError | AuthorizationError):  # which the driver derives from ConnectionError
        return False
    if isinstance(exc, CONNECTION_ERRORS):
        return True
    return isinstance(exc, ResponseError) and error_code(exc) not in (_LASTING | {"OOM"})


def is_out_of_memory(exc: BaseException) -> bool:
    """Return whether the server refused a write because it is full."""
    return error_code(exc) == "OOM"


def is_demotion(exc: BaseException) -> bool:
    """Return whether the server says that it is no master any more, so that its connections are of no use."""
    return error_code(exc) in _DEMOTED
