"""A case of the library suite: what cells make with a library's objects, and a cell that uses it.

A group is a text:

    == name [loses: variable, variable] [or loses: variable, variable] [tells: variable] [except: way]
    code of the cell that makes it
    ++                              (as often as needed: the code of another cell)
    --
    code of the cell that uses it; it fails by raising
    -- told
    code of the cell that uses the rest, where what `or loses` names is lost

`loses`: what can't be saved by any means, a live socket for instance. It must be reported at the checkpoint, and the
rest of the case holds. `or loses`: what may be saved or reported, but nothing between the two. Without either, every
name of the case is saved. `tells`: what is there after a restore, but not all of it, which must be reported, too.
`except`: a way in which it is something else, since a fork has a directory of its own.
"""

import re
from dataclasses import dataclass
from typing import Final

_HEAD: Final = re.compile(
    r"(?P<name>[^\[]+?)(?: \[loses: (?P<loses>.+?)\])?(?: \[or loses: (?P<or_loses>.+?)\])?"
    r"(?: \[tells: (?P<tells>.+?)\])?(?: \[except: (?P<exempt>.+?)\])?"
)


@dataclass(frozen=True, slots=True)
class Case:
    """One case. `is_preloaded`: its workers have the large libraries imported before a session is forked."""

    group: str
    name: str
    makes: tuple[str, ...]
    uses: str
    uses_the_rest: str
    loses: frozenset[str]
    or_loses: frozenset[str]
    tells: frozenset[str]
    exempt: frozenset[str]
    is_preloaded: bool

    @property
    def id(self) -> str:
        """The case's name among all."""
        return f"{self.group}: {self.name}"


def read(group: str, text: str, *, is_preloaded: bool = False) -> list[Case]:
    """Return the cases of a group's text. Raises ValueError for what isn't a case."""
    parts = re.split(r"^== ", text, flags=re.MULTILINE)[1:]
    return [_read_one(group, part, is_preloaded=is_preloaded) for part in parts]


def _read_one(group: str, part: str, *, is_preloaded: bool) -> Case:
    head, _, body = part.partition("\n")
    match = _HEAD.fullmatch(head.strip())
    making, separator, using = body.partition("\n--\n")
    if match is None or not separator:
        raise ValueError(f"{group}: {head!r} is not a case")
    uses, _, uses_the_rest = using.partition("\n-- told\n")
    return Case(
        group,
        match["name"],
        tuple(cell.strip("\n") for cell in re.split(r"^\+\+$", making, flags=re.MULTILINE)),
        uses.strip("\n"),
        uses_the_rest.strip("\n") or "pass",
        _names(match["loses"]),
        _names(match["or_loses"]),
        _names(match["tells"]),
        _names(match["exempt"]),
        is_preloaded,
    )


def _names(text: str | None) -> frozenset[str]:
    """Read names, in which a lone surrogate is written as its escape, as in events."""
    return frozenset((text or "").replace(",", " ").split())
