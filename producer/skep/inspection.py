"""The results of completion, completeness checks, inspection and listing of variables."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Completion:
    """Texts that could replace `start` to `end` (in characters). left_out: how many further matches were not sent."""

    matches: tuple[str, ...]
    start: int
    end: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether code can be run as it is: `status` is "complete", "incomplete" or "invalid".

    indent: the number of spaces before the next line of incomplete code; None for other code.
    """

    status: str
    indent: int | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """Facts about a name; None where there is none. cut: the fields whose text was truncated."""

    found: bool
    name: str
    type: str | None = None
    signature: str | None = None
    doc: str | None = None
    file: str | None = None
    source: str | None = None
    repr: str | None = None
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """One of a session's names. shape: of an array or a frame; length: of a plain container; bytes: its own memory."""

    name: str
    type: str
    shape: list[int] | None
    length: int | None
    bytes: int | None
    repr: str
