"""What a look into a session gives."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Completion:
    """What could stand between `start` and `end` (in characters). left_out: how many more there are than were sent."""

    matches: tuple[str, ...]
    start: int
    end: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether code can be run as it is: `status` is "complete", "incomplete" or "invalid".

    indent: by how many spaces incomplete code goes on; None for other.
    """

    status: str
    indent: int | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of a name; what there isn't is None. cut: which of these texts are not whole."""

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
