"""The only module that imports arq; another dispatcher could replace it.

arq's queue is how sessions find workers. arq has weak points (measured on 0.28), which don't affect sessions:

- Each poll reads a limited number of job ids, so long jobs would hide others. skep's jobs are short.
- A restart of Redis, or a full server, ends `Worker.main`. It is started again here.
- No worker may run the jobs of a dead worker for a while. skep finds its sessions without arq, see lease.py.
- A worker polls at intervals. A list in Redis makes it poll at once.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, result_key_prefix, retry_key_prefix
from arq.cron import CronJob, cron
from arq.worker import Retry, Worker, func
from redis.asyncio import Redis

from skep_shared.broker.activation import ACTIVATE_JOB, SUBMIT_JOB, pack_job, unpack_job
from skep_shared.broker.keys import Keys
from skep_shared.broker.redis_client.cancellation import was_cancelled
from skep_shared.broker.redis_client.connection import open_redis
from skep_shared.foreign_errors import describe_error
from skep_shared.settings import Settings
from skep_workers.host.broker.backoff import RETRIABLE, backoff_delays

log = structlog.get_logger()

POLL_SECONDS: Final = 0.75
MAX_JOBS: Final = 50
JOB_SECONDS: Final = 30
KEEP_RESULT_SECONDS: Final = 300
RETRY_SECONDS: Final = 0.2  # times the number of the try
UPKEEP_JOB: Final = "upkeep"
UPKEEP_TRIES: Final = 1000  # after that many failures arq stores a result for an hour, and refuses the job meanwhile


def open_arq(settings: Settings) -> ArqRedis:
    """Return arq's client on the shard's queue; no I/O yet."""
    client = open_redis(settings, client_class=ArqRedis)
    assert isinstance(client, ArqRedis)  # noqa: S101 - for the type checker
    client.job_serializer = pack_job
    client.job_deserializer = unpack_job
    client.default_queue_name = Keys(settings.prefix).arq_queue
    return client


class _ShardWorker(Worker):
    """arq's worker, polling when it is woken, and only while there is room; its keys are all in the shard's slot.

    arq's own two methods that finish a job also remove it from `arq:abort`, a set that is the same for every queue. In
    a cluster that key is in another slot, and the transaction is refused. Jobs are never aborted here (arq's
    `allow_abort_jobs` is off), so the set has none of them.
    """

    sessions: "SessionHost"
    wait_for_wake: Callable[[], Awaitable[None]]

    async def finish_job(
        self,
        job_id: str,
        finish: bool,
        result_data: bytes | None,
        result_timeout_s: float | None,
        keep_result_forever: bool,
        incr_score: int | None,
        keep_in_progress: float | None,
    ) -> None:
        """Remove a job that has ended, or queue it again, in one transaction.

        A failure is only logged: arq shields this call, so after a restart of the dispatcher no task would await the
        error. The job runs again when its key `arq:in-progress:` expires; a session that is resident stays so.
        """
        try:
            async with self.pool.pipeline(transaction=True) as pipe:
                if keep_in_progress is None:
                    pipe.delete(in_progress_key_prefix + job_id)
                else:
                    pipe.pexpire(in_progress_key_prefix + job_id, int(keep_in_progress * 1000))
                if finish:
                    if result_data and result_timeout_s:
                        pipe.psetex(result_key_prefix + job_id, int(result_timeout_s * 1000), result_data)
                    pipe.delete(retry_key_prefix + job_id, job_key_prefix + job_id)
                    pipe.zrem(self.queue_name, job_id)
                elif incr_score:
                    pipe.zincrby(self.queue_name, incr_score, job_id)
                await pipe.execute()
        except RETRIABLE as exc:
            log.warning("job.not_finished", job_id=job_id, error=describe_error(exc))

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        """Remove a job that could not be run, in one transaction, and keep the reason for its caller."""
        await self.finish_job(job_id, True, result_data, self.keep_result_s, False, None, None)

    async def main(self) -> None:
        """Poll, then sleep until woken or until the next poll is due."""
        self.ctx["redis"] = self.pool
        while True:
            self.allow_pick_jobs = self.sessions.has_room
            await self._poll_iteration()
            if self.allow_pick_jobs:
                await self.wait_for_wake()
            else:  # leave the wake-up to a worker with room
                await self.sessions.wait_for_room(self.poll_delay_s)


class SessionHost(Protocol):
    """The sessions of this worker, as far as jobs need them."""

    @property
    def has_room(self) -> bool:
        """Whether another session may become resident."""

    async def wait_for_room(self, seconds: float) -> None:
        """Return when a session has left, or after the given seconds."""

    async def activate(self, session_id: str) -> None:
        """Make a session resident, here or on a worker that suits it better."""


class Dispatcher:
    """Runs the jobs of the shard's arq queue: activations, and cells that services enqueue with plain arq."""

    def __init__(
        self,
        arq: ArqRedis,
        blocking: Redis,
        keys: Keys,
        sessions: SessionHost,
        *,
        submit: Callable[[str, str, str, dict[str, Any]], Awaitable[str]],
        upkeep: Callable[[], Awaitable[object]],
    ) -> None:
        """`submit` takes session id, code, default cell id and options, and returns the cell id.

        `upkeep` is called once a minute, by one worker of the shard.
        """
        self._upkeep = upkeep
        self._sessions = sessions
        self._arq = arq
        self._blocking = blocking
        self._keys = keys
        self._submit = submit

    async def run(self) -> None:
        """Run jobs until cancelled; an arq worker that ends is replaced."""
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

    def _worker(self) -> _ShardWorker:
        worker = _ShardWorker(
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
        worker.sessions = self._sessions
        worker.wait_for_wake = self._wait_for_wake
        return worker

    def _upkeep_job(self) -> CronJob:
        # arq's default ids, made of name and time, would be the same in every shard of a server: one shard's job would
        # keep out the others'. With one id for all times at most one is queued, however long the workers are full.
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
        with _retried(ctx, session_id):
            await self._sessions.activate(session_id)

    async def _run_upkeep(self, ctx: dict[str, Any]) -> None:
        try:
            await self._upkeep()
        except RETRIABLE as exc:
            log.warning("upkeep.later", error=describe_error(exc))

    async def _run_submit(self, ctx: dict[str, Any], session_id: str, code: str, **options: Any) -> str:
        """Append a cell. Its default id is the job id, so that a job which arq runs twice is one cell."""
        with _retried(ctx, session_id):
            return await self._submit(session_id, code, ctx["job_id"], options)


@contextlib.contextmanager
def _retried(ctx: dict[str, Any], session_id: str) -> Iterator[None]:
    """Make arq run the job again after an error of the driver, which would otherwise end the job."""
    try:
        yield
    except RETRIABLE as exc:
        log.warning("job.retry", job_try=ctx["job_try"], session_id=session_id, error=describe_error(exc))
        raise Retry(defer=ctx["job_try"] * RETRY_SECONDS) from exc
