"""Where a session should live: on a worker that meets its requirements, preferably the one that had it last.

A new fork preferably lives where its origin is: there it may share the memory of a live process.

arq passes an activation to any worker with room. That worker decides here, and sends a session that suits another
worker better to that one's mailbox, once: the worker that receives it that way keeps it. Requirements (labels, and the
weakest tier of the sandbox) must be met; the last place is a preference. A session that suits no live worker waits, and
is placed again every few seconds. Facts may be out of date, so claim.lua compares the tiers once more: a session is
never started in a weaker sandbox than it asks for.

Things that don't work: a queue for each tier. A worker would have to poll the queues of all weaker tiers, each with an
arq worker of its own, and each of these sends 2.5 commands a second, in addition to the 3.8 of an idle worker.

A session without a last place is sent to a worker with clearly fewer sessions, if one of two others, chosen by the
session's id, is such a worker. Otherwise the workers that pick activations fastest would get most sessions. Two choices
balance nearly as well as comparing all workers (Mitzenmacher, "The power of two choices in randomized load balancing").
"""

import time
import zlib
from asyncio import gather
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgpack
import structlog

from skep_shared.broker.mailbox_entries import ActivateSession
from skep_shared.broker.origins import read_origins
from skep_shared.foreign_errors import describe_error
from skep_shared.models import SessionOptions, WorkerFacts
from skep_shared.requirements import Abilities, Requirements
from skep_workers.host.residency.context import Host

log = structlog.get_logger()

MOST_WORKERS: Final = 1000
CHOICES: Final = 2
CLEARLY_FEWER: Final = 2  # sessions, and a 32nd of those that are here: the counts are slightly out of date
UNCOUNTED_SECONDS: Final = 2.0  # after this time a session that was sent has arrived, or never will


@dataclass(frozen=True, slots=True)
class Candidate:
    """A live worker and the facts that it published last."""

    worker_id: str
    facts: WorkerFacts

    def suits(self, requirements: Requirements, network: str | None) -> bool:
        """Return whether it meets the requirements, has the network that the session asks for, and does not drain.

        A draining worker publishes no capacity.
        """
        has_network = network is None or network in self.facts.networks
        return self.facts.capacity > 0 and has_network and requirements.are_met_by(self.facts)

    @property
    def has_room(self) -> bool:
        """Return whether it had room at its last heartbeat."""
        return self.facts.resident < self.facts.capacity


class Placement:
    """Decides for one worker which sessions are activated here."""

    def __init__(self, host: Host, sessions_here: Callable[[], int]) -> None:
        """`sessions_here` returns the number of sessions here, with those that are being claimed."""
        self._host = host
        self._keys = host.scripts.keys
        self._sessions_here = sessions_here
        self._deciding = 0
        self._counted: dict[str, int] = {}
        self._sent: defaultdict[str, deque[float]] = defaultdict(deque)  # at what times, by worker

    async def send_elsewhere(self, session_id: str) -> bool:
        """Send the session to a worker that suits it better, or let it wait. Return False if it belongs here.

        Raises what the driver raises.
        """
        packed, holder, origins = await self._host.redis.execute_command(
            "HMGET", self._keys.session(session_id), "options", "holder", "origins"
        )
        options = SessionOptions.unpack(packed or b"")
        requirements, network = Requirements.of(options), options.network
        before = (holder or await self._place_of_origin(origins) or b"").decode()
        may_own = requirements.are_met_by(self._host)
        is_suited = may_own and not self._host.networks.obstacle(options)
        if is_suited and before == self._host.worker_id:
            return False
        if is_suited and not before:
            found = await self._with_clearly_fewer(session_id, requirements, network)
        elif is_suited:
            found = [each for each in await self._candidates([before]) if each.suits(requirements, network)]
            found = [each for each in found if each.has_room]
        else:
            others = await self._candidates(await self._live_workers())
            found = [each for each in others if each.suits(requirements, network)]
            if not found and not may_own:  # one without the network ends the session's cells with the reason
                found = [each for each in others if each.suits(requirements, None)]
            if not found and not may_own:
                self._report_shortage(session_id, requirements, others)
        if found:
            chosen = min(found, key=lambda each: (each.worker_id != before, not each.has_room, each.facts.resident))
            await self._send(chosen.worker_id, session_id)
        return bool(found) or not may_own

    def _report_shortage(self, session_id: str, requirements: Requirements, others: list[Candidate]) -> None:
        workers: list[Abilities] = [self._host, *(each.facts for each in others)]
        reason = requirements.shortage(workers) or f"every worker {requirements} is shutting down"
        labels, tier = dict(requirements.labels), requirements.sandbox
        log.warning("session.unplaceable", session_id=session_id, requires=labels, sandbox=tier, reason=reason)

    async def _with_clearly_fewer(
        self, session_id: str, requirements: Requirements, network: str | None
    ) -> list[Candidate]:
        """Return the worker, of two others, that has clearly fewer sessions than this one; [] if neither has."""
        self._deciding += 1  # counted as if they stayed: activations arrive in groups
        try:
            if self._most_elsewhere < 0:
                return []
            others = [worker_id for worker_id in await self._live_workers() if worker_id != self._host.worker_id]
            others.sort(key=lambda worker_id: zlib.crc32(f"{session_id} {worker_id}".encode()))
            candidates = await self._candidates(others[:CHOICES])
            found = [each for each in candidates if each.suits(requirements, network)]
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
        """The most sessions that another worker may have to get the next one instead of this worker."""
        here = self._sessions_here() + self._deciding
        return here - CLEARLY_FEWER - here // 32

    def _with_sent(self, worker_id: str, counted: int) -> int:
        """Return how many sessions a worker has, with those that were sent to it and are not counted yet."""
        if len(self._counted) > MOST_WORKERS:  # most of these workers have ended
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
        """Return the worker that has the session from which a fork was made."""
        origins = read_origins((packed or b"").decode())
        if not origins:
            return None
        key = self._keys.session(origins[0].session_id)
        owner: bytes | None = await self._host.redis.execute_command("HGET", key, "owner")
        return owner

    async def _live_workers(self) -> list[str]:
        ids = await self._host.redis.execute_command("ZREVRANGE", self._keys.workers, 0, MOST_WORKERS - 1)
        return [worker_id.decode() for worker_id in ids if worker_id.isascii()]  # others were not written by skep

    async def _candidates(self, worker_ids: Iterable[str]) -> list[Candidate]:
        ids = [worker_id for worker_id in worker_ids if worker_id != self._host.worker_id]
        async with self._host.redis.pipeline(transaction=False) as pipe:
            for worker_id in ids:
                pipe.hget(self._keys.worker(worker_id), "facts")
            found = await pipe.execute() if ids else []
        candidates = []
        for worker_id, facts in zip(ids, found, strict=True):
            try:
                if facts:
                    candidates.append(Candidate(worker_id, WorkerFacts.unpack(facts)))
            except (ValueError, msgpack.UnpackException) as exc:  # not written by skep
                log.warning("worker.unreadable", worker_id=worker_id, error=describe_error(exc))
        return candidates

    async def _send(self, worker_id: str, session_id: str) -> None:
        log.info("session.handed_on", session_id=session_id, to_worker_id=worker_id)
        self._sent[worker_id].append(time.monotonic())
        # If that worker ends before it reads this, the session still waits, and is found again.
        entry = ActivateSession(session_id).pack()
        await self._host.redis.xadd(self._keys.mailbox(worker_id), entry, maxlen=100_000, approximate=True)
