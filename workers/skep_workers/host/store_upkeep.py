"""A worker's store for chunks: opened once, and rid of what purged sessions have left in it.

The client that purges a session knows nothing of the store; it leaves a note in Redis, in the step that removes the
session's last key. A worker that dies at the work leaves the note to the next one.
"""

import structlog
from redis.asyncio import Redis

from skep_shared.blobs import Folder, ObjectBlobs
from skep_shared.errors import StoreUnavailable
from skep_shared.foreign_errors import describe_error
from skep_shared.keys import Keys
from skep_shared.settings import WorkerSettings

log = structlog.get_logger()

PAGE_FOLDERS = 20


def open_store(settings: WorkerSettings) -> ObjectBlobs | None:
    """Give the store of the settings, None if chunks stay in Redis. Raises InvalidArgument."""
    if not settings.checkpoint_store:
        return None
    return ObjectBlobs(settings.checkpoint_store, settings.store_timeout_seconds)


async def remove_purged(redis: Redis, keys: Keys, store: ObjectBlobs) -> int:
    """Remove a page of purged sessions' chunks; gives how many sessions. Raises what the driver raises."""
    removed = 0
    for note in await redis.execute_command("SRANDMEMBER", keys.purged, PAGE_FOLDERS):
        session_id, _, created_at = note.decode().partition(":")
        try:
            await store.delete_all(Folder(session_id, int(created_at)))
        except StoreUnavailable as exc:
            log.warning("store.purge_later", session_id=session_id, error=describe_error(exc))
            break
        await redis.execute_command("SREM", keys.purged, note)
        removed += 1
    return removed
