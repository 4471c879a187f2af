"""Checks of a session's options that are made before anything is written, and how bad ones are reported.

A value of an environment variable may be a secret, so no error has one.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from skep_shared.errors import InvalidArgument
from skep_shared.limits import check_path

MAX_ENV_BYTES: Final = 32 * 1024  # names and values: every submit carries the options of its handle
MAX_CALLS: Final = 1_000  # in a list of `detection`; every submit carries it, too
MAX_CALL_BYTES: Final = 200
MAX_CWD_BYTES: Final = 1000  # the kernel takes 4,095 bytes, with the session's directory
MIN_IDLE_SECONDS: Final = 0.1
MAX_IDLE_SECONDS: Final = 30 * 86_400.0
MIN_EXPIRY_SECONDS: Final = 1.0
MAX_EXPIRY_SECONDS: Final = 366 * 86_400.0

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_env(env: Mapping[str, str]) -> None:
    """Raise InvalidArgument, with the name of the variable and never its value."""
    if not isinstance(env, Mapping):
        raise InvalidArgument("env", type(env).__name__, "a mapping of names to values is needed")
    for name, value in env.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            limit = "the name of a variable has letters, digits and _, all of ASCII, and no digit at its beginning"
            shown = name.partition("=")[0] if isinstance(name, str) else name  # "TOKEN=secret" has a value, too
            raise InvalidArgument("env", shown, limit)
        if not isinstance(value, str):
            raise InvalidArgument("env", name, f"its value must be a str, not {type(value).__name__}")
        if "\0" in value or value.encode("utf-8", "replace").decode() != value:
            raise InvalidArgument("env", name, "its value must be valid Unicode without NUL")
    size = sum(len(name) + len(value.encode()) for name, value in env.items())
    if size > MAX_ENV_BYTES:
        raise InvalidArgument("env", sorted(env), f"at most {MAX_ENV_BYTES} bytes of names and values, this has {size}")


def check_cwd(cwd: str) -> None:
    """Raise InvalidArgument unless it is "" or a path below the session's directory."""
    if cwd != "":
        check_path("cwd", cwd, MAX_CWD_BYTES)


def check_calls(field: str, names: Sequence[str]) -> None:
    """Check the names of calls in a list of `detection`. Raises InvalidArgument."""
    if len(names) > MAX_CALLS:
        raise InvalidArgument(field, names, f"at most {MAX_CALLS} names, these are {len(names)}")
    for name in names:
        # A lone surrogate could not be stored. It is encoded as `?`, so the comparison detects it.
        encoded = name.encode("utf-8", "replace")
        if encoded.decode() != name or len(encoded) > MAX_CALL_BYTES:
            raise InvalidArgument(field, name, f"a name must be a valid str of at most {MAX_CALL_BYTES} bytes")


def as_invalid_argument(exc: ValidationError) -> InvalidArgument:
    """Return the error for options that pydantic refuses: of the first bad one."""
    first = exc.errors(include_url=False, include_context=False)[0]
    place = [str(part) for part in first["loc"]]
    if place[:1] == ["env"]:
        return InvalidArgument("env", place[1] if len(place) > 1 else "", first["msg"])
    return InvalidArgument(".".join(place) or "options", first["input"], first["msg"])
