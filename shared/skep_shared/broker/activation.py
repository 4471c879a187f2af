"""The jobs of the shard's arq queue, as bytes: what scripts write there and arq's workers read.

An activation is the job that makes a session resident on some worker. The scripts queue it in the step that makes a
session wait (queue.lua), so a client needs no arq. arq is never trusted for order, exactly-once or crash detection:
jobs are short and harmless to repeat.

Jobs are msgpack instead of arq's default, pickle: unpickling would run the code of anyone who can write to Redis.
"""

import time
from typing import Any, Final

import msgpack
from redis.asyncio import Redis

from skep_shared.broker.keys import Keys

ACTIVATE_JOB: Final = "activate"
SUBMIT_JOB: Final = "submit_cell"


def pack_job(job: dict[str, Any]) -> bytes:
    """Encode a job or a result for arq; what msgpack can't encode (an exception) travels as its repr."""
    packed: bytes = msgpack.packb(job, default=repr)
    return packed


def unpack_job(packed: bytes) -> dict[str, Any]:
    """Decode the result of `pack_job`. Raises ValueError for other bytes."""
    try:
        job = msgpack.unpackb(packed, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as exc:  # TypeError: a list as a key
        raise ValueError("a job was expected") from exc
    if not isinstance(job, dict):
        raise ValueError(f"a job was expected, not {type(job).__name__}")  # noqa: TRY004 - as for other bytes
    return job


def pack_submit_job(session_id: str, code: str, options: dict[str, Any]) -> bytes:
    """Return the job that submits a cell, as arq's `enqueue_job(SUBMIT_JOB, session_id, code, **options)` packs it."""
    now_ms = int(time.time() * 1000)
    return pack_job({"t": None, "f": SUBMIT_JOB, "a": (session_id, code), "k": options, "et": now_ms})


def deferred_job_id(keys: Keys, session_id: str, cell_id: str) -> str:
    """Return the id of the job that submits this cell later."""
    return f"{keys.prefix}:cell:{keys.full_id(session_id)}:{cell_id}"


async def jobs_due(redis: Redis, keys: Keys, now_ms: float) -> int:
    """Return how many jobs of the queue are due. Raises what the driver raises."""
    return int(await redis.zcount(keys.arq_queue, "-inf", int(now_ms)))
