"""The suite: all cases, their results with each library, and a table of these."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import (
    aliasing,
    arrays,
    class_behaviour,
    class_kinds,
    classes,
    dataclass_kinds,
    functions,
    left_out,
    libraries,
    library_state,
    locks,
    mixed,
    modules,
    newer_python,
    ours,
    own_modules,
    peers,
    standard,
    tools,
)
from .cases import Case
from .ours import Verdicts

GROUPS = (
    standard,
    tools,
    arrays,
    libraries,
    locks,
    dataclass_kinds,
    functions,
    classes,
    class_behaviour,
    class_kinds,
    modules,
    own_modules,
    library_state,
    aliasing,
    mixed,
    newer_python,
    left_out,
)
CASES: list[Case] = [case for group in GROUPS for case in group.CASES]


@dataclass(slots=True)
class Report:
    """The results: library -> case id -> '' or the failure."""

    cases: Sequence[Case]
    verdicts: dict[str, Verdicts] = field(default_factory=dict)

    def behind(self) -> list[str]:
        """Return the cases that another library restores and skep does not, except those that are left out on purpose."""
        others = [name for name in self.verdicts if name != "skep"]
        return [
            case.id
            for case in self.cases
            if not case.loses
            and self.verdicts["skep"].get(case.id)
            and any(self.verdicts[name].get(case.id) == "" for name in others)
        ]

    def table(self) -> str:
        """Return a Markdown table of all results, with totals."""
        names = list(self.verdicts)
        lines = ["| case | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for case in self.cases:
            row = [self._shown(name, case) for name in names]
            lines.append(f"| {_escaped(case.id)} | " + " | ".join(row) + " |")
        compared = [case for case in self.cases if not case.missing and not case.loses]
        totals = [sum(self.verdicts[name].get(case.id) == "" for case in compared) for name in names]
        lines.append(f"| **restored of {len(compared)}** | " + " | ".join(f"**{total}**" for total in totals) + " |")
        return "\n".join(lines)

    def _shown(self, name: str, case: Case) -> str:
        if case.missing:
            return f"not run: no {', '.join(case.missing)}"
        told = self.verdicts[name].get(case.id)
        if told is None:
            return "not run"
        if case.loses and name == "skep" and not told:
            return "left out, by name and reason"
        return "yes" if not told else _escaped(told)[:100]


async def run(cases: Sequence[Case] = CASES) -> Report:
    """Run all cases, on skep and through the libraries that are installed."""
    here = [case for case in cases if not case.missing]
    if not peers.are_installed():
        return Report(cases, {"skep": await ours.run(here)})
    mine, others = await asyncio.gather(ours.run(here), peers.run(here))
    return Report(cases, {"skep": mine, **others})


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
