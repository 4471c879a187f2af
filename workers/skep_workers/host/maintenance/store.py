"""A worker's store for chunks: opening it, and removing the chunks of purged sessions from it.

The client that purges a session has no access to the store. It leaves a note in Redis, in the same step that removes
the session's last key. If a worker dies before it has removed the chunks, the note remains for the next worker.
"""

import structlog
from redis.asyncio import Redis

from skep_shared.broker.keys import Keys
from skep_shared.chunks.blobs import Folder, ObjectBlobs
from skep_shared.errors import StoreUnavailable
from skep_shared.foreign_errors import describe_error
from skep_shared.settings import WorkerSettings

log = structlog.get_logger()

PAGE_FOLDERS = 20


def open_store(settings: WorkerSettings) -> ObjectBlobs | None:
    """Return the store of the settings, None if chunks stay in Redis. Raises InvalidArgument."""
    if not settings.checkpoint_store:
        return None
    return ObjectBlobs(settings.checkpoint_store, settings.store_timeout_seconds)


async def remove_purged(redis: Redis, keys: Keys, store: ObjectBlobs) -> int:
    """Remove the chunks of a page of purged sessions; return how many. Raises what the driver raises."""
    removed = 0
    for note in await redis.execute_command("SRANDMEMBER", keys.purged, PAGE_FOLDERS):
        session_id, _, created_at = note.decode().partition(":")
        try:
            await store.remove_folder(Folder(session_id, int(created_at)))
        except StoreUnavailable as exc:
            log.warning("store.purge_later", session_id=session_id, error=describe_error(exc))
            break
        await redis.execute_command("SREM", keys.purged, note)
        removed += 1
    return removed
