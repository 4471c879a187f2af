"""arq, as far as both sides know it: its queue, its jobs and how they are encoded.

arq places and wakes; it is never trusted for order, exactly-once or crash detection. So an activation is short and
harmless to repeat, its job id is unique, its result is not kept. An element in the wake list makes a waiting worker
look at the queue at once instead of at its next poll.

msgpack instead of arq's default pickle: unpickling runs code for whoever can write to Redis.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

import msgpack
from arq.connections import ArqRedis
from arq.constants import job_key_prefix, result_key_prefix
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError

from skep_shared.connection import open_redis
from skep_shared.keys import Keys
from skep_shared.settings import Settings

ACTIVATE_JOB: Final = "activate"
SUBMIT_JOB: Final = "submit_cell"
WAKE_LIST_LENGTH: Final = 100  # more would only make workers look at an empty queue
ACTIVATION_EXPIRES_SECONDS: Final = 3600
CLOCKS_APART_SECONDS: Final = 86_400


def pack_job(job: dict[str, Any]) -> bytes:
    """Encode a job or a result for arq; what msgpack doesn't know (an exception) travels as its repr."""
    packed: bytes = msgpack.packb(job, default=repr)
    return packed


def unpack_job(packed: bytes) -> dict[str, Any]:
    """Decode what `pack_job` made."""
    job: dict[str, Any] = msgpack.unpackb(packed, strict_map_key=False)
    return job


def open_arq(settings: Settings) -> ArqRedis:
    """Give arq's client on the shard's queue; no I/O yet."""
    client = open_redis(settings, client_class=ArqRedis)
    assert isinstance(client, ArqRedis)  # noqa: S101 - for the type checker
    client.job_serializer = pack_job
    client.job_deserializer = unpack_job
    client.default_queue_name = Keys(settings.prefix).arq_queue
    return client


async def enqueue_activation(arq: ArqRedis, keys: Keys, session_id: str) -> None:
    """Ask for the session to be made resident somewhere. Raises what the driver raises."""
    async with _broken_connections_told():
        # arq compares the clock of whoever asks with the worker's: this one is due though they are hours apart.
        await arq.enqueue_job(
            ACTIVATE_JOB, session_id, _defer_by=-CLOCKS_APART_SECONDS, _expires=ACTIVATION_EXPIRES_SECONDS
        )
    await wake_workers(arq, keys)


async def jobs_due(arq: ArqRedis, keys: Keys, now_ms: float) -> int:
    """Give how many jobs wait in arq's queue, but for those of a later time. Raises what the driver raises."""
    return int(await arq.zcount(keys.arq_queue, "-inf", int(now_ms)))


@contextlib.asynccontextmanager
async def _broken_connections_told() -> AsyncIterator[None]:
    """Give a connection that breaks while arq watches a job's key its own error.

    The driver calls it a WatchError, which no caller reckons with, and which arq, when it comes at the end, takes for
    somebody else's job of the same id.
    """
    try:
        yield
    except WatchError as exc:
        raise RedisConnectionError(str(exc)) from exc


async def enqueue_cell(
    arq: ArqRedis,
    keys: Keys,
    job: tuple[str, str, dict[str, Any]],
    *,
    job_id: str,
    defer_by: float | None = None,
    defer_until: datetime | None = None,
) -> bool:
    """Have a cell (session id, code, options) submitted later by arq; False if that job id is already scheduled.

    Raises what the driver raises.
    """
    session_id, code, options = job
    async with _broken_connections_told():
        scheduled = await arq.enqueue_job(
            SUBMIT_JOB, session_id, code, _job_id=job_id, _defer_by=defer_by, _defer_until=defer_until, **options
        )
        if scheduled is None and not await arq.exists(job_key_prefix + job_id, result_key_prefix + job_id):
            raise RedisConnectionError("the connection broke before the job was scheduled")
    await wake_workers(arq, keys)
    return scheduled is not None


async def wake_workers(arq: ArqRedis, keys: Keys) -> None:
    """Make a waiting worker poll arq's queue now; if that fails, its own poll comes half a second later."""
    with contextlib.suppress(RedisError, OSError):
        async with arq.pipeline(transaction=False) as pipe:
            pipe.lpush(keys.arq_wake, b"1")
            pipe.ltrim(keys.arq_wake, 0, WAKE_LIST_LENGTH - 1)
            pipe.expire(keys.arq_wake, 60)
            await pipe.execute()
