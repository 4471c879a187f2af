"""Why nothing of a session runs: the reasons, in words, from what Redis knows of it and of the workers."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from skep.link import ShardLink
from skep_shared.errors import NotFound
from skep_shared.models import SessionInfo, SessionOptions, WorkerInfo, from_ms
from skep_shared.states import SessionState

MOST_NAMED: Final = 5
_GLOB: Final = re.compile(r"([*?\[\]\\^-])")


@dataclass(frozen=True, slots=True)
class DeferredCell:
    """A cell that is scheduled for later, and is not in its session yet."""

    cell_id: str
    due: datetime

    def __str__(self) -> str:
        return f"cell {self.cell_id} is deferred until {self.due:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Standstill:
    """Why nothing of a session runs. info: None if it has not begun; reasons: none if its owner has what is pending."""

    info: SessionInfo | None
    deferred: list[DeferredCell]
    reasons: list[str]


async def explain(
    link: ShardLink, session_id: str, info: SessionInfo | None, workers: AsyncIterator[WorkerInfo]
) -> Standstill:
    """Return why nothing runs. Raises NotFound for a session that nobody has named, RedisUnavailable."""
    deferred = await _deferred_cells(link, session_id)
    later = [str(cell) for cell in deferred[:MOST_NAMED]]
    if len(deferred) > MOST_NAMED:
        later.append(f"{len(deferred) - MOST_NAMED} more are deferred")
    if info is None:
        if not deferred:
            raise NotFound("session", session_id)
        reasons = ["the session has not begun"]
    elif info.state is SessionState.CLOSED:
        reasons = ["it is closed and takes no more cells"]
    elif info.owner_alive and (info.pending or info.state is SessionState.CLOSING):
        reasons = []
    elif info.pending or info.state is SessionState.CLOSING:
        reasons = await _why_unowned(link, info, [worker async for worker in workers])
    else:
        reasons = [] if later else ["no cell is pending"]
    return Standstill(info, deferred, [*reasons, *later])


async def _deferred_cells(link: ShardLink, session_id: str) -> list[DeferredCell]:
    start = f"{link.keys.prefix}:cell:{session_id}:"
    pattern = _GLOB.sub(r"\\\1", start) + "*"

    async def scan() -> list[DeferredCell]:
        found = [
            DeferredCell(cast("bytes", name).decode().removeprefix(start), from_ms(score))
            async for name, score in link.redis.zscan_iter(link.keys.arq_queue, match=pattern, count=1000)
        ]
        return sorted(found, key=lambda cell: cell.due)

    return await link.persist(scan)


async def _why_unowned(link: ShardLink, info: SessionInfo, workers: Sequence[WorkerInfo]) -> list[str]:
    packed = await link.persist(lambda: link.redis.execute_command("HGET", link.keys.session(info.id), "options"))
    since = await link.persist(lambda: link.redis.execute_command("ZSCORE", link.keys.waiting, info.id))
    reasons = []
    if info.state is SessionState.CLOSING:
        reasons.append("it is being closed: what is pending ends when a worker has taken it")
    if info.owner is not None:
        reasons.append(f"its worker {info.owner} is dead, and no other one has taken it yet")
    waited = "" if since is None else f" (since {max(0.0, _seconds_since(float(since))):.1f} s)"
    return [*reasons, _why_untaken(workers, SessionOptions.unpack(packed or b"").requires) + waited]


def _seconds_since(ms: float) -> float:
    return (datetime.now(UTC) - from_ms(ms)).total_seconds()


def _why_untaken(workers: Sequence[WorkerInfo], requires: dict[str, str]) -> str:
    """Return what keeps the workers from taking a session that requires these labels."""
    if not workers:
        return "no worker is alive (skep worker starts one)"
    able = [worker for worker in workers if requires.items() <= worker.labels.items()]
    labels = ", ".join(f"{name}={value}" for name, value in sorted(requires.items()))
    whose = f" with the labels {labels}" if requires else ""
    if not able:
        return f"no worker{whose} is alive; workers without them: {len(workers)}"
    staying = [worker for worker in able if worker.capacity]
    if not staying:
        return f"every worker{whose} is shutting down"
    if all(worker.resident >= worker.capacity for worker in staying):
        places = ", ".join(f"{worker.id} {worker.resident}/{worker.capacity}" for worker in staying[:MOST_NAMED])
        return f"every worker{whose} is full: {places}"
    return "a worker is to take it"
