"""A cluster at a glance: its sessions by state, cells, workers and Redis's memory, as the console shows them.

Redis has no such counts of all sessions, so each session is looked at. That is bounded, and done once for all who ask
within a while: the next time is at least four times as far away as the counting took.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from skep.gateway.clusters import TenantCluster
from skep.link import ShardLink
from skep.listings.index_pages import index_pages, live_workers, read_each
from skep_shared.errors import RedisRefused
from skep_shared.models import WorkerInfo
from skep_shared.states import SessionState

MOST_SESSIONS: Final = 20_000  # that are looked at: at most some hundred round trips
KEPT_SECONDS: Final = 1.5
KEPT_SHARE: Final = 4
MOST_KEPT: Final = 200  # tenants
_FIELDS: Final = ("state", "owner", "seq", "cursor", "created_at")

Summary = dict[str, Any]


class Summaries:
    """The last summary of each tenant."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` returns seconds that only grow."""
        self._now = now
        self._kept: dict[str | None, tuple[float, Summary]] = {}
        self._reading: dict[str | None, asyncio.Lock] = {}

    async def of(self, tenant: TenantCluster) -> Summary:
        """Return a summary as SummaryAnswer has it, a few seconds old at most, or a few times what counting takes.

        Raises RedisUnavailable, RedisRefused.
        """
        name = tenant.tenant
        async with self._reading.setdefault(name, asyncio.Lock()):
            until, summary = self._kept.get(name, (0.0, {}))
            began_at = self._now()
            if began_at >= until:
                summary = await read_summary(tenant.link, is_of_shard=name is None)
                ended_at = self._now()
                self._keep(name, ended_at + max(KEPT_SECONDS, KEPT_SHARE * (ended_at - began_at)), summary)
        return summary

    def _keep(self, name: str | None, until: float, summary: Summary) -> None:
        self._kept.pop(name, None)
        while len(self._kept) >= MOST_KEPT:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            if not self._reading[oldest].locked():
                del self._reading[oldest]
        self._kept[name] = until, summary


async def read_summary(link: ShardLink, *, is_of_shard: bool, most: int = MOST_SESSIONS) -> Summary:
    """Return the counts of the link's tenant, with those of the workers and the server if it is of the whole shard.

    most: sessions that are looked at, about. Raises RedisUnavailable, RedisRefused.
    """
    workers = [worker async for worker in live_workers(link)]
    [total] = await read_each(link, [("ZCARD", link.keys.own_sessions)])
    return {
        "total_sessions": total,
        **await _count_sessions(link, {worker.id for worker in workers}, most),
        "workers": _count_workers(workers) if is_of_shard else None,
        "redis": await _read_memory(link) if is_of_shard else None,
    }


async def _count_sessions(link: ShardLink, live: set[str], most: int) -> Summary:
    states = dict.fromkeys(map(str, SessionState), 0)
    counted = resident = busy = pending = 0
    async for full_ids in index_pages(link, link.keys.own_sessions):
        names = [link.keys.short_id(full_id) for full_id in full_ids]
        rows = await read_each(link, [("HMGET", link.keys.session(name), *_FIELDS) for name in names])
        for state, owner, seq, cursor, created in rows:
            if created is None:  # purged since its page was read
                continue
            cells = int(seq or 0) - int(cursor or 0)
            counted += 1
            states[(state or b"open").decode()] += 1
            resident += (owner or b"").decode() in live
            busy += cells > 0
            pending += cells
        if counted >= most:
            break
    return {
        "counted_sessions": counted,
        "sessions": {**states, "resident": resident, "busy": busy},
        "pending_cells": pending,
    }


def _count_workers(workers: list[WorkerInfo]) -> Summary:
    return {
        "live": len(workers),
        "capacity": sum(worker.capacity for worker in workers),
        "resident": sum(worker.resident for worker in workers),
    }


async def _read_memory(link: ShardLink) -> Summary | None:
    """Return None if this user of Redis may not read it, or the server does not say it."""
    try:
        facts = await link.persist(lambda: link.redis.info("memory"))
    except RedisRefused:
        return None
    if "used_memory" not in facts:
        return None
    return {"used_bytes": int(facts["used_memory"]), "max_bytes": int(facts.get("maxmemory", 0)) or None}
