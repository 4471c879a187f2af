"""Everything that touches arq on the worker's side; another dispatcher could take this module's place.

arq places sessions and wakes workers. Its weak points, measured on 0.28, are kept away from sessions: jobs are short,
so they don't fill the ids that each poll reads; it runs under a supervisor, because a Redis restart or a full server
ends `Worker.main`; recovery never waits for its own. A list in Redis makes it poll at once.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from arq.connections import ArqRedis
from arq.cron import CronJob, cron
from arq.worker import Retry, Worker, func
from redis.asyncio import Redis

from skep_shared.activation import ACTIVATE_JOB, SUBMIT_JOB, pack_job, unpack_job
from skep_shared.foreign_errors import describe_error
from skep_shared.keys import Keys
from skep_workers.host.backoff import RETRIABLE, backoff_delays
from skep_workers.host.cancelling import was_cancelled

log = structlog.get_logger()

POLL_SECONDS: Final = 0.75
MAX_JOBS: Final = 50
JOB_SECONDS: Final = 30
KEEP_RESULT_SECONDS: Final = 300
RETRY_SECONDS: Final = 0.2  # more with every try
UPKEEP_JOB: Final = "upkeep"
UPKEEP_TRIES: Final = 1000  # when they are over, arq keeps that for an hour, in which the job is refused


class _PromptWorker(Worker):
    """arq's worker, polling when it is woken, and only while there is room."""

    has_room: Callable[[], bool]
    wait_for_wake: Callable[[], Awaitable[None]]
    wait_for_room: Callable[[float], Awaitable[None]]

    async def main(self) -> None:
        """Poll, then sleep until woken or until it is time to look again."""
        self.ctx["redis"] = self.pool
        while True:
            self.allow_pick_jobs = self.has_room()
            await self._poll_iteration()
            if self.allow_pick_jobs:
                await self.wait_for_wake()
            else:  # the wake-up is for a worker with room
                await self.wait_for_room(self.poll_delay_s)


class Dispatcher:
    """Takes jobs from the shard's arq queue: activations, and cells that services enqueue with plain arq."""

    def __init__(  # noqa: PLR0913 - each is another thing that the worker does for a job
        self,
        arq: ArqRedis,
        blocking: Redis,
        keys: Keys,
        *,
        activate: Callable[[str], Awaitable[None]],
        submit: Callable[[str, str, str, dict[str, Any]], Awaitable[str]],
        has_room: Callable[[], bool],
        wait_for_room: Callable[[float], Awaitable[None]],
        upkeep: Callable[[], Awaitable[object]],
    ) -> None:
        """`submit` gets session id, code, default cell id and options, and gives the cell id.

        `wait_for_room` returns when a session has left, or after so many seconds. `upkeep` is called once a minute, by
        one worker of the shard.
        """
        self._upkeep = upkeep
        self._wait_for_room = wait_for_room
        self._arq = arq
        self._blocking = blocking
        self._keys = keys
        self._activate = activate
        self._submit = submit
        self._has_room = has_room

    async def run(self) -> None:
        """Serve until cancelled, whatever ends arq's worker."""
        delays = backoff_delays()
        while True:
            worker = self._worker()
            try:
                await worker.async_run()
            except RETRIABLE as exc:
                if was_cancelled():
                    raise asyncio.CancelledError from exc
                log.warning("dispatcher.restart", error=describe_error(exc))
            finally:
                for task in (*worker.tasks.values(), *worker.job_tasks.values()):
                    task.cancel()
                await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
            await asyncio.sleep(next(delays))

    def _worker(self) -> _PromptWorker:
        worker = _PromptWorker(
            functions=[
                func(self._run_activate, name=ACTIVATE_JOB, keep_result=0, timeout=JOB_SECONDS, max_tries=3),
                func(self._run_submit, name=SUBMIT_JOB, keep_result=KEEP_RESULT_SECONDS, timeout=JOB_SECONDS),
            ],
            cron_jobs=[self._upkeep_job()],
            redis_pool=self._arq,
            queue_name=self._keys.arq_queue,
            poll_delay=POLL_SECONDS,
            max_jobs=MAX_JOBS,
            handle_signals=False,
            job_serializer=pack_job,
            job_deserializer=unpack_job,
            health_check_interval=60,
            log_results=False,
        )
        worker.has_room = self._has_room
        worker.wait_for_wake = self._wait_for_wake
        worker.wait_for_room = self._wait_for_room
        return worker

    def _upkeep_job(self) -> CronJob:
        # arq's own ids, by name and time, are the same in every shard of a server: one shard's would shut out the
        # others'. With one id for all times at most one is queued, however long the workers have had no room.
        name = f"{self._keys.prefix}:{UPKEEP_JOB}"
        return cron(
            self._run_upkeep,
            name=name,
            job_id=name,
            second=0,
            timeout=JOB_SECONDS,
            keep_result=0,
            max_tries=UPKEEP_TRIES,
        )

    async def _wait_for_wake(self) -> None:
        await self._blocking.execute_command("BLPOP", self._keys.arq_wake, POLL_SECONDS)

    async def _run_activate(self, ctx: dict[str, Any], session_id: str) -> None:
        waited = datetime.now(UTC) - ctx["enqueue_time"]
        log.info("activation.picked", session_id=session_id, queued_ms=round(waited.total_seconds() * 1000, 1))
        with _tried_again(ctx, session_id):
            await self._activate(session_id)

    async def _run_upkeep(self, ctx: dict[str, Any]) -> None:
        try:
            await self._upkeep()
        except RETRIABLE as exc:
            log.warning("upkeep.later", error=describe_error(exc))

    async def _run_submit(self, ctx: dict[str, Any], session_id: str, code: str, **options: Any) -> str:
        """Append a cell. The job id is its default cell id, so that a job which arq runs twice is one cell."""
        with _tried_again(ctx, session_id):
            return await self._submit(session_id, code, ctx["job_id"], options)


@contextlib.contextmanager
def _tried_again(ctx: dict[str, Any], session_id: str) -> Iterator[None]:
    """Have arq run the job again after the driver's errors, which to arq would be the job's end."""
    try:
        yield
    except RETRIABLE as exc:
        log.warning("job.retry", job_try=ctx["job_try"], session_id=session_id, error=describe_error(exc))
        raise Retry(defer=ctx["job_try"] * RETRY_SECONDS) from exc
