"""The record that all workers of a shard share, which a worker adopts when it joins the shard.

The first worker makes the record at random and writes it to Redis once; every other worker adopts it. If Redis loses
the record, a running worker writes its copy back, so sessions keep their directories and their hashes.
"""

import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from skep_shared.broker.script_replies import Shard
from skep_shared.broker.worker_scripts import WorkerScripts
from skep_shared.errors import StartError
from skep_shared.settings import WorkerSettings

ID_BYTES: Final = 6
HIGHEST_SEED: Final = 2**32 - 1  # of PYTHONHASHSEED; 0 would turn randomization off


async def join_shard(
    scripts: WorkerScripts, settings: WorkerSettings, worker_id: str, known: Shard | None = None
) -> Shard:
    """Return the shard's record. Raises StartError if this worker is configured to use another directory.

    known: the record that this worker has adopted before; it is written back if Redis has lost it.
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
