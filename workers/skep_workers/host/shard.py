"""What all workers of a shard share, as a worker joins it.

The first worker makes it at random and writes it to Redis once; every other worker adopts it. If Redis loses it, a
running worker writes back what it has, so sessions keep their directories and their hashes.
"""

import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from skep_shared.errors import StartError
from skep_shared.script_replies import Shard
from skep_shared.settings import WorkerSettings
from skep_shared.worker_scripts import WorkerScripts

ID_BYTES: Final = 6
HIGHEST_SEED: Final = 2**32 - 1  # of PYTHONHASHSEED; 0 would turn randomization off


async def join_shard(
    scripts: WorkerScripts, settings: WorkerSettings, worker_id: str, known: Shard | None = None
) -> Shard:
    """Return the shard's record. Raise StartError if it has another directory than this worker was told to use.

    known: what this worker has adopted before, which is written back if Redis has lost it.
    """
    chosen = settings.directory
    proposed = known or Shard(secrets.token_hex(ID_BYTES), chosen or _default(), 1 + secrets.randbelow(HIGHEST_SEED))
    is_chosen = bool(chosen) and known is None
    shard = await scripts.join_shard(worker_id, proposed, is_directory_chosen=is_chosen)
    if is_chosen and shard.directory != chosen:
        reason = (
            f"its sessions have to live below {shard.directory}, as those of the shard's other workers do, "
            f"but SKEP_DIRECTORY is {chosen}: set the same on all workers, and stop all of them to change it"
        )
        raise StartError("worker", reason)
    return shard


def _default() -> str:
    return str(Path(tempfile.gettempdir()).resolve() / f"skep-{os.getuid()}")
