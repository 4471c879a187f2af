"""A case of the fidelity suite: an object that cells make, and a cell that checks whether it was restored.

A group is a text:

    == name [needs: package, package] [python: 3.12] [loses: variable]
    code of the cell that makes it
    ++                              (as often as needed: the code of another cell)
    --
    code of the cell that uses it, after its process was killed; it fails by raising

`python` is the first version that has it. `loses` names what is left out of checkpoints on purpose: the rest of the case holds, and reading it says what became
of it.
"""

import importlib.util
import re
import sys
from dataclasses import dataclass

_HEAD = re.compile(
    r"(?P<name>[^\[]+?)(?: \[needs: (?P<needs>[^]]+)\])?(?: \[python: (?P<python>[^]]+)\])?"
    r"(?: \[loses: (?P<loses>[^]]+)\])?"
)


@dataclass(frozen=True, slots=True)
class Case:
    """One case. needs: import names of packages that the project does not depend on."""

    group: str
    name: str
    makes: tuple[str, ...]
    uses: str
    needs: tuple[str, ...]
    loses: str
    python: tuple[int, ...]

    @property
    def id(self) -> str:
        """The unique name of the case."""
        return f"{self.group}: {self.name}"

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that it needs and that are not installed."""
        packages = tuple(name for name in self.needs if importlib.util.find_spec(name) is None)
        is_too_old = sys.version_info[: len(self.python)] < self.python
        return (*packages, f"Python {'.'.join(map(str, self.python))}") if is_too_old else packages


def read(group: str, text: str) -> list[Case]:
    """Return the cases of a group's text."""
    return [_read_one(group, part) for part in re.split(r"^== ", text, flags=re.MULTILINE)[1:]]


def _read_one(group: str, part: str) -> Case:
    head, _, body = part.partition("\n")
    match = _HEAD.fullmatch(head.strip())
    making, separator, using = body.partition("\n--\n")
    if match is None or not separator:
        raise ValueError(f"not a case: {head!r}")
    needs = tuple((match["needs"] or "").replace(",", " ").split())
    makes = tuple(cell.strip("\n") for cell in re.split(r"^\+\+$", making, flags=re.MULTILINE))
    python = tuple(int(part) for part in match["python"].split(".")) if match["python"] else ()
    return Case(group, match["name"], makes, using.strip("\n"), needs, match["loses"] or "", python)
