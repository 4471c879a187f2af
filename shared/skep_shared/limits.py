"""Limits for input from outside, and the checks that reject everything else before anything is written.

A session id is part of Redis keys and of a directory name, so only a small alphabet is allowed. The same holds for a
tenant's id. Stored, the id of a tenant's session is TENANT/ID, its full id; no other id has a slash. A cell id is only
used as a hash field, so any printable text is allowed.
"""

import re
from collections.abc import Mapping

from skep_shared.errors import InvalidArgument
from skep_shared.values import ValueEncodingError, encode_value

MAX_ID_BYTES = 200
MAX_TENANT_BYTES = 50  # a full id is also the name of a directory, which has at most 255
MAX_CODE_BYTES = 1024 * 1024
MAX_INPUTS_BYTES = 1024 * 1024
MAX_LABELS = 32
MAX_LABEL_BYTES = 200
MAX_BATCH_CELLS = 1_000
MAX_TIMEOUT_SECONDS = 7 * 86_400.0
MAX_ATTEMPTS = 100
MAX_OUTPUT_BYTES = 1024 * 1024 * 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024
MAX_NAMES = 1_000
MAX_TOKEN_NAME_BYTES = 100
MAX_FORKS = 1_000
MAX_PATH_BYTES = 4000
MAX_NAME_BYTES = 255  # of a file

_SESSION_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=~-]*")
_CHECKPOINT_ID = re.compile(r"[0-9]+-[0-9]+")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+|\{[A-Za-z0-9_.-]+\}")


def check_session_id(session_id: object) -> str:
    """Return the id, or raise InvalidArgument."""
    text = _checked_id("session_id", session_id)
    if not _SESSION_ID.fullmatch(text):
        limit = "letters, digits and _ . @ + = ~ - are allowed; the first must be a letter, a digit or _"
        raise InvalidArgument("session_id", text, limit)
    return text


def check_tenant(tenant: object) -> str:
    """Return a tenant's id, or raise InvalidArgument."""
    text = _checked_id("tenant", tenant, MAX_TENANT_BYTES)
    if not _SESSION_ID.fullmatch(text):
        limit = "letters, digits and _ . @ + = ~ - are allowed; the first must be a letter, a digit or _"
        raise InvalidArgument("tenant", text, limit)
    return text


def check_full_session_id(session_id: object) -> str:
    """Return the stored id of a session, ID or TENANT/ID, or raise InvalidArgument."""
    if isinstance(session_id, str) and "/" in session_id:
        tenant, _, short = session_id.partition("/")
        return f"{check_tenant(tenant)}/{check_session_id(short)}"
    return check_session_id(session_id)


def check_id_prefix(prefix: object, *, has_tenant: bool) -> str:
    """Return the beginning of session ids, or raise InvalidArgument. Without a tenant it may be that of TENANT/ID."""
    if not isinstance(prefix, str):
        raise InvalidArgument("prefix", prefix, f"a str is needed, not {type(prefix).__name__}")
    most = MAX_ID_BYTES if has_tenant else MAX_TENANT_BYTES + 1 + MAX_ID_BYTES
    if len(prefix) > most:
        raise InvalidArgument("prefix", prefix, f"at most {most} characters, this has {len(prefix)}")
    parts = [prefix] if has_tenant else prefix.split("/", 1)
    if not all(_SESSION_ID.fullmatch(part) for part in (parts if parts[-1] else parts[:-1])):
        limit = "the beginning of a session's id has letters, digits and _ . @ + = ~ -"
        raise InvalidArgument("prefix", prefix, limit if has_tenant else f"{limit}, after TENANT/ for one of a tenant")
    return prefix


def check_cell_id(cell_id: object) -> str:
    """Return the id, or raise InvalidArgument."""
    return _checked_id("cell_id", cell_id)


def check_checkpoint_name(name: object) -> str:
    """Return a checkpoint's name, or raise InvalidArgument. A name must not have the form of a checkpoint id."""
    text = _checked_id("name", name)
    if _CHECKPOINT_ID.fullmatch(text):
        raise InvalidArgument("name", text, "a name must not look like a checkpoint's id")
    return text


def check_token_name(name: object) -> str:
    """Return the name of a token, which may be empty, or raise InvalidArgument."""
    return "" if name == "" else _checked_id("name", name, MAX_TOKEN_NAME_BYTES)


def check_webhook_name(name: object) -> str:
    """Return the name of a webhook, or raise InvalidArgument."""
    text = _checked_id("name", name, MAX_TENANT_BYTES)
    if not _SESSION_ID.fullmatch(text):
        limit = "letters, digits and _ . @ + = ~ - are allowed; the first must be a letter, a digit or _"
        raise InvalidArgument("name", text, limit)
    return text


def check_prefix(prefix: object) -> str:
    """Return a shard's key prefix, or raise InvalidArgument. Braces assign the whole shard to one cluster slot."""
    text = _checked_id("prefix", prefix)
    if not _PREFIX.fullmatch(text):
        raise InvalidArgument("prefix", text, "letters, digits and _ . - are allowed, optionally all within braces")
    return text


def check_code(code: object) -> str:
    """Return the source, or raise InvalidArgument. The limit is 1 MiB of UTF-8."""
    if not isinstance(code, str):
        raise InvalidArgument("code", code, f"a str is needed, not {type(code).__name__}")
    try:
        size = len(code.encode())
    except UnicodeEncodeError as exc:
        raise InvalidArgument("code", code, f"must be valid Unicode ({exc.reason} at {exc.start})") from exc
    if size > MAX_CODE_BYTES:
        raise InvalidArgument("code", code, f"at most {MAX_CODE_BYTES} bytes, this has {size}")
    return code


def check_inputs(inputs: Mapping[str, object] | None) -> bytes | None:
    """Return the inputs encoded, or raise InvalidArgument that names the input which can't travel as data."""
    if not inputs:
        return None
    if not isinstance(inputs, Mapping):
        raise InvalidArgument("inputs", inputs, "a mapping of names to values is needed")
    for name, value in inputs.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidArgument("inputs", name, "every name must be a Python identifier")
        try:
            encode_value({name: value})  # in a dict, because that is one more level of nesting
        except ValueEncodingError as exc:
            raise InvalidArgument(f"inputs[{name!r}]", value, str(exc)) from exc
    encoded = encode_value(dict(inputs))
    if len(encoded) > MAX_INPUTS_BYTES:
        raise InvalidArgument("inputs", inputs, f"at most {MAX_INPUTS_BYTES} bytes, encoded {len(encoded)}")
    return encoded


def check_labels(labels: Mapping[str, str] | None, field: str = "labels") -> dict[str, str]:
    """Return the labels as a dict, or raise InvalidArgument. field: the option that has them."""
    if not labels:
        return {}
    if not isinstance(labels, Mapping):
        raise InvalidArgument(field, labels, "a mapping of str to str is needed")
    if len(labels) > MAX_LABELS:
        raise InvalidArgument(field, labels, f"at most {MAX_LABELS} labels, these are {len(labels)}")
    for name, text in labels.items():
        for part in (name, text):
            # A lone surrogate could not be stored. It is encoded as `?`, so the comparison detects it.
            encoded = part.encode("utf-8", "replace") if isinstance(part, str) else b""
            if encoded.decode() != part or len(encoded) > MAX_LABEL_BYTES:
                limit = f"names and values must be valid str of at most {MAX_LABEL_BYTES} bytes"
                raise InvalidArgument(field, part, limit)
    return dict(labels)


def check_path(field: str, path: object, most_bytes: int = MAX_PATH_BYTES) -> str:
    """Return a path below the session's directory, or raise InvalidArgument."""
    if not isinstance(path, str) or not path or "\0" in path or len(path.encode("utf-8", "replace")) > most_bytes:
        raise InvalidArgument(field, path, f"a str of 1 to {most_bytes} bytes without NUL is needed")
    if path.encode("utf-8", "replace").decode() != path:
        raise InvalidArgument(field, path, "valid Unicode is needed")
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise InvalidArgument(field, path, "a path below the session's directory, without . and .., is needed")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        raise InvalidArgument(field, path, f"names of at most {MAX_NAME_BYTES} bytes are needed")
    return path


def check_number(field: str, number: object, *, low: float, high: float) -> float:
    """Return a finite number within [low, high], or raise InvalidArgument."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise InvalidArgument(field, number, f"a number from {low:g} to {high:g} is needed")
    return number


def _checked_id(field: str, text: object, most_bytes: int = MAX_ID_BYTES) -> str:
    if not isinstance(text, str):
        raise InvalidArgument(field, text, f"a str is needed, not {type(text).__name__}")
    size = len(text.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= most_bytes:
        raise InvalidArgument(field, text, f"1 to {most_bytes} bytes, this has {size}")
    if not text.isprintable():
        raise InvalidArgument(field, text, "control and other unprintable characters are not allowed")
    return text
