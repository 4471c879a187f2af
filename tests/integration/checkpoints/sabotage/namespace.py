"""A random namespace of which one variable is sabotaged, and which of its names have to be lost."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .sabotages import Sabotage, sabotage
from .variables import PROLOGUE, PROLOGUE_NAMES, Link, Maker, Variable

VARIABLES: Final = 50
MOST_LINKS: Final = 12
MOST_CELLS: Final = 4

Step = Variable | Link


@dataclass(frozen=True, slots=True)
class Namespace:
    """The steps that make it, in order. cuts: the positions at which a cell ends."""

    seed: int
    steps: tuple[Step, ...]
    sabotage: Sabotage
    cuts: frozenset[int]

    @property
    def cells(self) -> list[str]:
        """The code, cell by cell."""
        cells, lines = [], [PROLOGUE]
        for number, step in enumerate(self.steps):
            lines.append(step.code)
            if number in self.cuts:
                cells.append("\n".join(lines))
                lines = []
        return [*cells, "\n".join([*lines, "pass"])]

    @property
    def names(self) -> frozenset[str]:
        """All names that the cells bind."""
        return PROLOGUE_NAMES | {step.name for step in self.steps if isinstance(step, Variable)}

    @property
    def lost(self) -> frozenset[str]:
        """The names from which the sabotaged variable is reached."""
        needs: dict[str, set[str]] = {}
        for step in self.steps:
            if isinstance(step, Variable):
                needs.setdefault(step.name, set()).update(step.needs)
            else:
                needs.setdefault(step.owner, set()).add(step.target)
        lost = {self.sabotage.bad}
        while more := {name for name, needed in needs.items() if needed & lost} - lost:
            lost |= more
        return frozenset(lost)

    def without(self, dropped: Sequence[Step]) -> "Namespace":
        """Return it without these steps and the steps that mention their names."""
        kept: list[Step] = []
        gone = {step.name for step in dropped if isinstance(step, Variable)}
        for step in self.steps:
            mentions = step.needs if isinstance(step, Variable) else {step.owner, step.target}
            is_kept = step not in dropped and not mentions & gone and not (_words(step.code) & gone)
            if is_kept:
                kept.append(step)
            elif isinstance(step, Variable):
                gone.add(step.name)
        return Namespace(self.seed, tuple(kept), self.sabotage, frozenset())


def generate(seed: int) -> Namespace:
    """Return the namespace of this seed."""
    dice = random.Random(seed)
    maker = Maker(dice)
    steps: list[Step] = []
    at = dice.randrange(VARIABLES // 2)
    sabotaged: Sabotage | None = None
    while len(maker.made) < VARIABLES:
        if sabotaged is None and len(maker.made) >= at:
            sabotaged = sabotage(dice, maker)
            maker.made += sabotaged.variables
            steps += sabotaged.variables
        else:
            steps += maker.make()
        if dice.random() < MOST_LINKS / VARIABLES and (link := maker.link()) is not None:
            steps.append(link)
    if sabotaged is None:
        raise AssertionError("the sabotage comes in the first half")
    cuts = frozenset(dice.sample(range(len(steps)), dice.randrange(MOST_CELLS)))
    return Namespace(seed, tuple(_joined_aliases(steps)), sabotaged, cuts)


def _joined_aliases(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps; where a link changes an object of two names, it changes both."""
    aliases: dict[str, set[str]] = {}
    for step in steps:
        yield step
        if isinstance(step, Variable) and step.code.strip() in {f"{step.name} = {need}" for need in step.needs}:
            (need,) = step.needs
            both = aliases.setdefault(need, {need})
            both.add(step.name)
            aliases[step.name] = both
        elif isinstance(step, Link):
            for name in sorted(aliases.get(step.owner, set()) - {step.owner}):
                yield Link(name, step.target, "")


def _words(code: str) -> set[str]:
    return set(re.findall(r"\w+", code))
