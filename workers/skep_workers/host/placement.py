"""Where a session should live: on a worker that has what it requires, and rather where it lived before.

A fork that has lived nowhere yet rather goes where its origin is: there it may share the memory of a live process.

arq gives an activation to any worker with room. That one looks here first, and hands a session that suits another
better on, through the other's mailbox, once: whoever gets it that way keeps it. Requirements are hard, the last place
is a wish. A session that no live worker suits goes on waiting and is looked at again every few seconds.

A session that has lived nowhere goes to a worker that has clearly fewer sessions, if one of two others, which its id
chooses, is such a one: who takes activations quicker would else get most of them. Two choices do nearly what looking at
all of them would (Mitzenmacher, "The power of two choices in randomized load balancing").
"""

import time
import zlib
from asyncio import gather
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from skep_shared.manifests import read_origins
from skep_shared.models import SessionOptions, WorkerFacts
from skep_workers.host.facilities import Host

log = structlog.get_logger()

WORKERS_LOOKED_AT: Final = 1000
CHOICES: Final = 2
CLEARLY_FEWER: Final = 2  # sessions, and a 32nd of those that are here: counts are a little behind
UNCOUNTED_SECONDS: Final = 2.0  # after which a session that was sent has come there, or never will


@dataclass(frozen=True, slots=True)
class Candidate:
    """A live worker and what it said of itself last."""

    worker_id: str
    facts: WorkerFacts

    def suits(self, requires: dict[str, str]) -> bool:
        """Tell whether it has every label that is required, and stays: one that drains says it has no capacity."""
        return self.facts.capacity > 0 and self.facts.labels.items() >= requires.items()

    @property
    def has_room(self) -> bool:
        """Tell whether it had room at its last beat."""
        return self.facts.resident < self.facts.capacity


class Placement:
    """Decides for one worker which sessions come here."""

    def __init__(self, host: Host, sessions_here: Callable[[], int]) -> None:
        """`sessions_here` counts those that come, too."""
        self._host = host
        self._keys = host.scripts.keys
        self._sessions_here = sessions_here
        self._deciding = 0
        self._counted: dict[str, int] = {}
        self._sent: defaultdict[str, deque[float]] = defaultdict(deque)  # when, by worker

    async def hand_on(self, session_id: str) -> bool:
        """Send the session to a worker that suits it better, or leave it waiting; False: it is for this one.

        Raises what the driver raises.
        """
        packed, holder, origins = await self._host.redis.execute_command(
            "HMGET", self._keys.session(session_id), "options", "holder", "origins"
        )
        requires = SessionOptions.unpack(packed or b"").requires
        before = (holder or await self._place_of_origin(origins) or b"").decode()
        is_suited = self._host.settings.worker_labels.items() >= requires.items()
        if is_suited and before == self._host.worker_id:
            return False
        if is_suited and not before:
            found = await self._with_clearly_fewer(session_id, requires)
        elif is_suited:
            found = [each for each in await self._look_at([before]) if each.suits(requires) and each.has_room]
        else:
            found = [each for each in await self._look_at(await self._live_workers()) if each.suits(requires)]
        if found:
            chosen = min(found, key=lambda each: (each.worker_id != before, not each.has_room, each.facts.resident))
            await self._send(chosen.worker_id, session_id)
        elif not is_suited:
            log.warning("session.unplaceable", session_id=session_id, requires=requires)
        return bool(found) or not is_suited

    async def _with_clearly_fewer(self, session_id: str, requires: dict[str, str]) -> list[Candidate]:
        """Give the worker, of two others, that has clearly fewer sessions than this one, or nothing."""
        self._deciding += 1  # as if they stayed: they come in numbers
        try:
            if self._most_elsewhere < 0:
                return []
            others = [worker_id for worker_id in await self._live_workers() if worker_id != self._host.worker_id]
            others.sort(key=lambda worker_id: zlib.crc32(f"{session_id} {worker_id}".encode()))
            found = [each for each in await self._look_at(others[:CHOICES]) if each.suits(requires)]
            owned = [self._keys.owned(each.worker_id) for each in found]
            counts = await gather(*(self._host.reads.execute_command("SCARD", key) for key in owned))
            with_sent = [self._with_sent(each.worker_id, count) for each, count in zip(found, counts, strict=True)]
            fewer = [
                (count, each.worker_id, each)
                for each, count in zip(found, with_sent, strict=True)
                if count <= min(self._most_elsewhere, each.facts.capacity - 1)
            ]
            return [min(fewer)[-1]] if fewer else []
        finally:
            self._deciding -= 1

    @property
    def _most_elsewhere(self) -> int:
        """How many sessions a worker may have that is to get this one's next."""
        here = self._sessions_here() + self._deciding
        return here - CLEARLY_FEWER - here // 32

    def _with_sent(self, worker_id: str, counted: int) -> int:
        """Give how many sessions a worker has, with those that were sent there and are not counted yet."""
        if len(self._counted) > WORKERS_LOOKED_AT:  # most of them have gone
            self._counted.clear()
            self._sent.clear()
        sent, new = self._sent[worker_id], counted - self._counted.get(worker_id, counted)
        self._counted[worker_id] = counted
        forgotten = time.monotonic() - UNCOUNTED_SECONDS
        while sent and (new > 0 or sent[0] < forgotten):
            sent.popleft()
            new -= 1
        return counted + len(sent)

    async def _place_of_origin(self, packed: bytes | None) -> bytes | None:
        """Give the worker that has the session which a fork was made from."""
        origins = read_origins((packed or b"").decode())
        if not origins:
            return None
        key = self._keys.session(origins[0].session_id)
        owner: bytes | None = await self._host.redis.execute_command("HGET", key, "owner")
        return owner

    async def _live_workers(self) -> list[str]:
        ids = await self._host.redis.execute_command("ZREVRANGE", self._keys.workers, 0, WORKERS_LOOKED_AT - 1)
        return [worker_id.decode() for worker_id in ids]

    async def _look_at(self, worker_ids: Iterable[str]) -> list[Candidate]:
        ids = [worker_id for worker_id in worker_ids if worker_id != self._host.worker_id]
        async with self._host.redis.pipeline(transaction=False) as pipe:
            for worker_id in ids:
                pipe.hget(self._keys.worker(worker_id), "facts")
            found = await pipe.execute() if ids else []
        return [
            Candidate(worker_id, WorkerFacts.unpack(facts))
            for worker_id, facts in zip(ids, found, strict=True)
            if facts
        ]

    async def _send(self, worker_id: str, session_id: str) -> None:
        log.info("session.handed_on", session_id=session_id, to_worker_id=worker_id)
        self._sent[worker_id].append(time.monotonic())
        # Should that worker be gone before it reads this, the session is still waiting, and named again.
        await self._host.redis.xadd(
            self._keys.mailbox(worker_id), {"k": "activate", "s": session_id}, maxlen=100_000, approximate=True
        )
