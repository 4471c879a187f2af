"""`arq skep_workers.WorkerSettings`: the same worker, started by arq's own command line.

arq's worker is only a shell here: its start-up hook runs the whole worker, with a supervised arq worker inside, and
returns when that has drained. Settings are read from SKEP_* in the environment. arq turns SIGTERM and SIGINT into a
cancellation: the first one starts the drain, the second one ends the grace period.
"""

import asyncio
from typing import Any

import structlog

from skep_shared.broker.activation import pack_job, unpack_job
from skep_shared.broker.keys import Keys
from skep_shared.environment import unknown_variables
from skep_shared.logs import configure_logging
from skep_shared.protocol.orphans import adopt_orphans
from skep_shared.settings import WorkerSettings as Settings
from skep_workers.host.broker.dispatch import open_arq
from skep_workers.host.worker import WorkerHost

log = structlog.get_logger()

_settings = Settings.load()


async def _serve(_ctx: dict[str, Any]) -> None:
    configure_logging(_settings.log_format, _settings.log_level)
    for sentence in unknown_variables(Settings.model_fields):
        log.warning("environment.unknown", reason=sentence)
    adopt_orphans()
    worker = WorkerHost(_settings)
    task = asyncio.create_task(worker.run(), name="skep worker")
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            worker.stop()
    task.result()
    raise asyncio.CancelledError  # arq must not start to poll by itself


async def activate(_ctx: dict[str, Any], _session_id: str) -> None:
    """Do nothing: arq requires a function, and the worker inside runs the jobs."""


class WorkerSettings:
    """The settings that arq reads."""

    functions = (activate,)
    queue_name = Keys(_settings.prefix).arq_queue
    redis_pool = open_arq(_settings)
    on_startup = _serve
    job_serializer = pack_job
    job_deserializer = unpack_job
