"""The four ways that a case is used: live, after a hibernation, in a fork, and after its worker was killed.

Each way gives '' or what went wrong. Losses count as wrong unless the case allows them, they were reported in
`checkpoint.partial` before the process ended, and reading the name afterwards says so.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from tests.integration.checkpoints.fidelity.ours import losses, told

import skep

from .case import Case

CELL_SECONDS: Final = 30.0
WAIT_SECONDS: Final = 45.0
TELLING_SECONDS: Final = 15.0  # from the outcome of a cell to the report of what its checkpoint leaves out

MOST_READ: Final = 5
REFUSING_SECONDS: Final = 60.0


async def live(session: skep.Session, case: Case) -> str:
    """Use it in the process that made it."""
    return await _make(session, case) or await _run(session, case.uses)


async def hibernated(session: skep.Session, case: Case) -> str:
    """Use it in a new process, after the one that made it left in order."""
    failure = await _make(session, case)
    if failure:
        return failure
    failures = await _hibernate(session)
    failures.append(await _use_restored(session, case, await _reported(session, case)))
    return "; ".join(filter(None, failures))


async def forked(session: skep.Session, fork: skep.Session, case: Case) -> str:
    """Use it in a fork of the session that made it."""
    return await _use_restored(fork, case, await _reported(session, case))


async def prepared(session: skep.Session, case: Case) -> tuple[str, frozenset[str]]:
    """Create it in a session whose worker is killed; return the failure, and what was reported as lost."""
    failure = await _make(session, case) or await _run(session, "pass")  # whose end follows on the report, if any
    return failure, frozenset() if failure else await _reported(session, case)


async def after_a_kill(session: skep.Session, case: Case, reported: frozenset[str]) -> str:
    """Use it on the second worker."""
    return await _use_restored(session, case, reported)


async def _hibernate(session: skep.Session) -> list[str]:
    """Hibernate; one that is refused straight after an outcome is a failure, but the rest of the way is gone."""
    refusals: list[str] = []
    async with asyncio.timeout(REFUSING_SECONDS):
        while True:
            try:
                await session.hibernate()
            except skep.OperationFailed as exc:
                refusals = [f"hibernate() straight after an outcome was refused: {exc}"]
                await asyncio.sleep(0.05)  # what it refuses for sends no signal
            else:
                return refusals


async def _make(session: skep.Session, case: Case) -> str:
    for code in case.makes:
        failure = await _run(session, code)
        if failure:
            return f"not made: {failure}"
    return ""


async def _run(session: skep.Session, code: str) -> str:
    outcome = await session.run(code, timeout=CELL_SECONDS, wait=WAIT_SECONDS)
    return "" if outcome.ok else told(outcome)


async def _reported(session: skep.Session, case: Case) -> frozenset[str]:
    """Return what the latest `checkpoint.partial` leaves out, once it has what the case loses."""
    lost: frozenset[str] = frozenset()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TELLING_SECONDS), contextlib.aclosing(_partials(session, case)) as partials:
            async for names in partials:
                lost = names
                if case.loses | case.tells <= lost:
                    break
    return lost


async def _partials(session: skep.Session, case: Case) -> AsyncIterator[frozenset[str]]:
    latest: frozenset[str] = frozenset()
    last = "0-0"
    async for event in session.events():
        last = event.id
        if event.kind == "checkpoint.partial":
            latest = frozenset(event.lost)
    yield latest
    async for event in session.events(last, follow=True):
        if event.kind == "checkpoint.partial":
            yield frozenset(event.lost)


async def _use_restored(session: skep.Session, case: Case, reported: frozenset[str]) -> str:
    is_kept = not reported & case.or_loses
    failure = await _run(session, case.uses if is_kept else case.uses_the_rest)
    lost = await _lost_in_restore(session)
    expected = case.loses | (reported & case.or_loses)
    problems = [failure] if failure else []
    if lost - expected:
        problems.append(f"lost {_shown(lost - expected)}")
    if lost - reported:
        problems.append(f"not reported at the checkpoint: {_shown(lost - reported)}")
    if case.tells - reported:
        problems.append(f"not reported at the checkpoint: {_shown(case.tells - reported)}")
    if expected - lost:
        problems.append(f"not lost in the restore: {_shown(expected - lost)}")
    if problems:
        return "; ".join(problems) + await losses(session)
    return await _unread(session, lost)


async def _lost_in_restore(session: skep.Session) -> frozenset[str]:
    lost: frozenset[str] = frozenset()
    async for event in session.events():
        if event.kind == "session.restored":
            lost = frozenset(event.lost)
    return lost


async def _unread(session: skep.Session, lost: frozenset[str]) -> str:
    """Check that reading a lost name says what became of it."""
    for name in sorted(lost)[:MOST_READ]:
        if name.isidentifier():
            outcome = await session.run(name, timeout=CELL_SECONDS, wait=WAIT_SECONDS)
            if outcome.error is None or "lost after checkpoint" not in outcome.error.evalue:
                return f"reading {name} does not say that it is lost: {told(outcome)}"
    return ""


def _shown(names: frozenset[str]) -> str:
    return ascii(sorted(names)[:10])
