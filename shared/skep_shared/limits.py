"""What may come in from outside, and the checks that refuse the rest before anything is written.

A session id is part of Redis keys and of a directory name, so it is held to a small alphabet; a cell id is only ever
a hash field, so it may be any printable text.
"""

import re
from collections.abc import Mapping

from skep_shared.errors import InvalidArgument
from skep_shared.values import ValueEncodingError, encode_value

MAX_ID_BYTES = 200
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
MAX_FORKS = 1_000

_SESSION_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=~-]*")
_CHECKPOINT_ID = re.compile(r"[0-9]+-[0-9]+")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+|\{[A-Za-z0-9_.-]+\}")


def check_session_id(session_id: object) -> str:
    """Give the id back, or raise InvalidArgument."""
    text = _checked_id("session_id", session_id)
    if not _SESSION_ID.fullmatch(text):
        limit = "letters, digits and _ . @ + = ~ - are allowed, the first one a letter, a digit or _"
        raise InvalidArgument("session_id", text, limit)
    return text


def check_cell_id(cell_id: object) -> str:
    """Give the id back, or raise InvalidArgument."""
    return _checked_id("cell_id", cell_id)


def check_checkpoint_name(name: object) -> str:
    """Give a checkpoint's name back, or raise InvalidArgument; one like an id could not be told from that."""
    text = _checked_id("name", name)
    if _CHECKPOINT_ID.fullmatch(text):
        raise InvalidArgument("name", text, "a name must not look like a checkpoint's id")
    return text


def check_prefix(prefix: object) -> str:
    """Give a shard's key prefix back, or raise InvalidArgument; braces put the shard into one cluster slot."""
    text = _checked_id("prefix", prefix)
    if not _PREFIX.fullmatch(text):
        raise InvalidArgument("prefix", text, "letters, digits and _ . - are allowed, all of it in braces or not")
    return text


def check_code(code: object) -> str:
    """Give the source back, or raise InvalidArgument; the limit is 1 MiB of UTF-8."""
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
    """Give the inputs encoded, or raise InvalidArgument naming the one that can't travel."""
    if not inputs:
        return None
    if not isinstance(inputs, Mapping):
        raise InvalidArgument("inputs", inputs, "a mapping of names to values is needed")
    for name, value in inputs.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidArgument("inputs", name, "every name must be a Python identifier")
        try:
            encode_value({name: value})  # with its name, which is one level of nesting more
        except ValueEncodingError as exc:
            raise InvalidArgument(f"inputs[{name!r}]", value, str(exc)) from exc
    encoded = encode_value(dict(inputs))
    if len(encoded) > MAX_INPUTS_BYTES:
        raise InvalidArgument("inputs", inputs, f"at most {MAX_INPUTS_BYTES} bytes, encoded {len(encoded)}")
    return encoded


def check_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Give the labels back as a dict, or raise InvalidArgument."""
    if not labels:
        return {}
    if not isinstance(labels, Mapping):
        raise InvalidArgument("labels", labels, "a mapping of str to str is needed")
    if len(labels) > MAX_LABELS:
        raise InvalidArgument("labels", labels, f"at most {MAX_LABELS} labels")
    for name, text in labels.items():
        for part in (name, text):
            # A lone surrogate becomes `?`, which the comparison finds: it could not be stored.
            encoded = part.encode("utf-8", "replace") if isinstance(part, str) else b""
            if encoded.decode() != part or len(encoded) > MAX_LABEL_BYTES:
                raise InvalidArgument("labels", part, f"valid str of at most {MAX_LABEL_BYTES} bytes on both sides")
    return dict(labels)


def check_number(field: str, number: object, *, low: float, high: float) -> float:
    """Give a finite number within [low, high] back, or raise InvalidArgument."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise InvalidArgument(field, number, f"a number from {low:g} to {high:g} is needed")
    return number


def _checked_id(field: str, text: object) -> str:
    if not isinstance(text, str):
        raise InvalidArgument(field, text, f"a str is needed, not {type(text).__name__}")
    size = len(text.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidArgument(field, text, f"1 to {MAX_ID_BYTES} bytes, this has {size}")
    if not text.isprintable():
        raise InvalidArgument(field, text, "control and other unprintable characters are not allowed")
    return text
