"""The flag, argument or variable of the environment that a refused value came from."""

from collections.abc import Sequence
from typing import Final

from skep_shared.environment import variable_of
from skep_shared.errors import InvalidArgument

_FLAGS: Final = {
    "redis_url": "--redis",
    "prefix": "--prefix",
    "tenant": "--tenant",
    "session_id": "--session",
    "cell_id": "--cell",
    "after": "--after",
    "timeout": "--timeout",
    "checkpoint": "--at",
    "can": "--can",
    "expires": "--expires",
    "name": "--name",
    "gateway_host": "--host",
    "gateway_port": "--port",
}
_ARGUMENTS: Final = {"session_id": "ID", "checkpoint": "CHECKPOINT", "code": "CODE", "new_id": "NEW"}


def with_origin(exc: InvalidArgument, arguments: Sequence[str]) -> str:
    """Return the error's text, and the flag or environment variable that the value comes from."""
    if exc.field.startswith("-"):  # a flag by itself
        return str(exc)
    origin = _origin(exc.field, arguments)
    return f"{exc} (given by {origin})" if origin else str(exc)


def _origin(field: str, arguments: Sequence[str]) -> str:
    flag = _FLAGS.get(field, "")
    if flag and any(word == flag or word.startswith(f"{flag}=") for word in arguments):
        return flag
    return variable_of(field) or _ARGUMENTS.get(field, "")
