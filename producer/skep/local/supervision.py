"""Supervise an embedded cluster's workers: replace a worker that dies; when they keep dying, fail all calls."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from skep.link import ShardLink
from skep.local.worker_process import WorkerProcess
from skep_shared.broker.redis_client.cancellation import cancel_until_ended
from skep_shared.errors import StartError

MAX_DEATHS: Final = 3
DEATHS_SECONDS: Final = 30.0
FIRST_DELAY_SECONDS: Final = 0.1

log = logging.getLogger(__name__)  # handled by the logging configuration of the program


class Supervisor:
    """Watches the workers of one cluster, and counts the deaths of all of them."""

    def __init__(self, link: ShardLink) -> None:
        self._link = link
        self._died_at: deque[float] = deque(maxlen=MAX_DEATHS)

    async def supervise(self, process: WorkerProcess) -> None:
        """Start the worker again whenever it dies; until its owner ends it, or workers have died too often."""
        death = await process.death()
        while death is not None:
            now = asyncio.get_running_loop().time()
            self._died_at.append(now)
            recent = sum(now - at < DEATHS_SECONDS for at in self._died_at)
            if recent >= MAX_DEATHS:
                log.error("worker %s ended: %s. Workers keep dying, no other is started", process.worker_id, death)
                reason = f"workers ended {recent} times within {DEATHS_SECONDS:g} s, the last one so: {death}"
                await self._link.fail(StartError("worker", reason))
                return
            log.warning("worker %s ended: %s. Another one is started", process.worker_id, death)
            await asyncio.sleep(FIRST_DELAY_SECONDS * 2 ** (recent - 1))
            death = await self._restart(process)

    async def _restart(self, process: WorkerProcess) -> str | None:
        if process.is_ended:
            return None
        try:
            await process.start()
        except StartError as exc:
            return None if process.is_ended else str(exc)
        return await process.death()


@asynccontextmanager
async def supervised(processes: Sequence[WorkerProcess], link: ShardLink) -> AsyncIterator[None]:
    """Replace those of these started workers that die, until the end of the block; fail `link` if they keep dying."""
    supervisor = Supervisor(link)
    tasks = [
        asyncio.create_task(supervisor.supervise(each), name=f"supervision of worker {each.worker_id}")
        for each in processes
    ]
    try:
        yield
    finally:
        await cancel_until_ended(tasks)
