"""Compares the restore of a sabotaged namespace with the expected one."""

import asyncio
import difflib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from .describing import bound_cell, describing_cell
from .namespace import Namespace, Step, generate
from .process import Ended, Lab, SnapshotStore, lost_of

AT_ONCE: Final = 4
MOST_LINES: Final = 12
MOST_TRIES: Final = 150  # to make a failing namespace smaller


async def verdict(lab: Lab, namespace: Namespace) -> str:
    """Return '' if exactly the names that reach the sabotaged variable are lost, otherwise the difference."""
    store, directory = SnapshotStore(), lab.new_directory()
    first = await lab.process(store, directory)
    try:
        for cell in namespace.cells:
            await first.run(cell)
        manifest = await first.saved()
        reasons = lost_of(manifest)
        reported = frozenset(reasons)
        kept = namespace.names - reported
        before = await first.run(describing_cell(kept))
    except Ended as exc:
        return f"first process: {exc}"
    finally:
        await first.kill()
    problems = [*_wrong_losses(namespace, reported, "reported")]
    second = await lab.process(store, directory)
    try:
        restored = await second.restore(manifest)
        problems += _wrong_restore(restored.damage, frozenset(restored.lost), reported)
        bound = frozenset(await second.run(bound_cell()))
        problems += [f"bound though it is lost: {sorted(reported & bound)}"] if reported & bound else []
        after = await second.run(describing_cell(kept))
    except Ended as exc:
        problems.append(f"second process: {exc}")
        return "\n".join(problems)
    finally:
        await second.kill()
    problems += _differences(before, after)
    reasons = restored.lost | reasons
    return "\n".join(
        [*problems, *(f"  {name}: {reason}" for name, reason in sorted(reasons.items()))] if problems else []
    )


def _wrong_losses(namespace: Namespace, lost: frozenset[str], how: str) -> Iterator[str]:
    expected = namespace.lost
    if not lost and not namespace.sabotage.is_certain:
        return
    if lost - expected:
        yield f"{how} as lost, though {namespace.sabotage.bad} is not reached: {sorted(lost - expected)}"
    if expected - lost:
        yield f"not {how} as lost, though {namespace.sabotage.bad} is reached: {sorted(expected - lost)}"


def _wrong_restore(damage: str, lost: frozenset[str], reported: frozenset[str]) -> Iterator[str]:
    if damage:
        yield f"the checkpoint is damaged: {damage}"
    if lost - reported:
        yield f"lost in the restore, and not reported at the checkpoint: {sorted(lost - reported)}"
    if reported - lost:
        yield f"reported at the checkpoint, and not lost in the restore: {sorted(reported - lost)}"


def _differences(before: str, after: str) -> list[str]:
    if before == after:
        return []
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", n=0, lineterm="")
    return ["what is kept is something else:", *(line[:300] for line in islice(lines, MOST_LINES))]


async def check_all(lab: Lab, seeds: Iterable[int]) -> dict[int, str]:
    """Return the verdicts of the seeds that fail."""
    room = asyncio.Semaphore(AT_ONCE)
    verdicts: dict[int, str] = {}

    async def one(seed: int) -> None:
        async with room:
            verdicts[seed] = await verdict(lab, generate(seed))

    async with asyncio.TaskGroup() as group:
        for seed in seeds:
            group.create_task(one(seed))
    return {seed: wrong for seed, wrong in sorted(verdicts.items()) if wrong}


async def smaller(lab: Lab, namespace: Namespace, most_tries: int = MOST_TRIES) -> Namespace:
    """Return a part of a failing namespace that fails, too, and can hardly be reduced further."""
    best, tries, size = namespace, 0, max(1, len(namespace.steps) // 2)
    while tries < most_tries:
        shrunk = False
        for dropped in list(_runs(best, size)):
            candidate = best.without(dropped)
            if len(candidate.steps) == len(best.steps) or tries >= most_tries:
                continue
            tries += 1
            if await _fails(lab, candidate):
                best, shrunk = candidate, True
                break
        if not shrunk:
            if size == 1:
                break
            size //= 2
    return best


def _runs(namespace: Namespace, size: int) -> Iterator[list[Step]]:
    """Yield runs of steps that can be removed; never the sabotage."""
    free = [step for step in namespace.steps if step not in namespace.sabotage.variables]
    for start in range(0, len(free), size):
        yield free[start : start + size]


async def _fails(lab: Lab, namespace: Namespace) -> bool:
    if namespace.sabotage.bad not in namespace.names:
        return False
    try:
        return bool(await verdict(lab, namespace))
    except AssertionError:  # the other steps need the removed ones
        return False


def shown(namespace: Namespace, wrong: str) -> str:
    """Return a failing namespace as text."""
    cells = "\n# next cell\n".join(namespace.cells)
    return f"seed {namespace.seed}, {namespace.sabotage.kind}\n{wrong}\n--- cells\n{cells}"
