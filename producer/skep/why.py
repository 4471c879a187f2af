"""Explain why no cell of a session runs, from the data in Redis about the session and the workers."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from skep.link import ShardLink
from skep_shared.broker.activation import deferred_job_id
from skep_shared.errors import NotFound
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.isolation.tenants import TenantQuotas
from skep_shared.models import SessionInfo, SessionOptions, WorkerInfo, from_ms
from skep_shared.requirements import Requirements
from skep_shared.states import SessionState

MOST_NAMED: Final = 5
_GLOB: Final = re.compile(r"([*?\[\]\\^-])")


@dataclass(frozen=True, slots=True)
class DeferredCell:
    """A cell that is scheduled for later and not in its session yet."""

    cell_id: str
    due: datetime

    def __str__(self) -> str:
        return f"cell {self.cell_id} is deferred until {self.due:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Standstill:
    """Why no cell runs. info: None before the first cell. reasons: empty if a live worker is running the cells."""

    info: SessionInfo | None
    deferred: list[DeferredCell]
    reasons: list[str]


async def explain(
    link: ShardLink, session_id: str, info: SessionInfo | None, workers: AsyncIterator[WorkerInfo]
) -> Standstill:
    """Return why no cell runs. Raises NotFound for a session without any cell, RedisUnavailable."""
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
    start = deferred_job_id(link.keys, session_id, "")
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
    full_id = link.keys.full_id(info.id)
    since = await link.persist(lambda: link.redis.execute_command("ZSCORE", link.keys.waiting, full_id))
    reasons = []
    if info.state is SessionState.CLOSING:
        reasons.append("it is being closed: pending cells end when a worker has taken it")
    if info.owner is not None:
        reasons.append(f"its worker {info.owner} is dead, and no other worker has taken the session over yet")
    reasons += await _why_over_quota(link)
    waited = "" if since is None else f" (since {max(0.0, _seconds_since(float(since))):.1f} s)"
    return [*reasons, _why_untaken(workers, Requirements.of(SessionOptions.unpack(packed or b""))) + waited]


async def _why_over_quota(link: ShardLink) -> list[str]:
    """Return the reason if as many sessions of the client's tenant are resident as its quota permits."""
    tenant = link.settings.tenant
    if tenant is None:
        return []
    packed = await link.persist(lambda: link.redis.execute_command("HGET", link.keys.tenants, tenant))
    most = TenantQuotas.unpack(packed).max_resident if packed else None
    if most is None:
        return []
    count = await link.persist(lambda: link.redis.execute_command("SCARD", link.keys.resident(tenant)))
    if count < most:
        return []
    return [f"{count} sessions of tenant {tenant} are resident, as many as its quota max_resident permits"]


def _seconds_since(ms: float) -> float:
    return (datetime.now(UTC) - from_ms(ms)).total_seconds()


def _why_untaken(workers: Sequence[WorkerInfo], requirements: Requirements) -> str:
    """Return why no worker has claimed a session with these requirements."""
    if not workers:
        tier = requirements.sandbox
        return f"no worker is alive (skep worker{'' if tier == Tier.NONE else f' --sandbox {tier}'} starts one)"
    shortage = requirements.shortage(workers)
    if shortage:
        return shortage
    able = [worker for worker in workers if requirements.are_met_by(worker)]
    whose = f" {requirements}" if requirements else ""
    staying = [worker for worker in able if worker.capacity]
    if not staying:
        return f"every worker{whose} is shutting down"
    if all(worker.resident >= worker.capacity for worker in staying):
        places = ", ".join(f"{worker.id} {worker.resident}/{worker.capacity}" for worker in staying[:MOST_NAMED])
        return f"every worker{whose} is full: {places}"
    return "a worker is about to take it"
