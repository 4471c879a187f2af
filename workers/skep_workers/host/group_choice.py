"""Chooses how the limits of sessions are enforced, at the worker's start: by control groups, or by measuring."""

import asyncio
from typing import Final

import structlog

from skep_shared.errors import StartError
from skep_shared.process_trees import ProcessId
from skep_shared.settings import WorkerSettings
from skep_workers.host.control_groups.orphaned_groups import name_for, remove_orphaned
from skep_workers.host.control_groups.worker_groups import WorkerGroups, open_groups

log = structlog.get_logger()

VERSIONS: Final = {"auto": (2, 1), "v2": (2,), "v1": (1,), "none": ()}
END_SECONDS: Final = 2.0  # for processes that were killed
AGAIN_SECONDS: Final = 0.01


async def choose_groups(settings: WorkerSettings, worker: ProcessId) -> WorkerGroups:
    """Make the worker's control groups, and log how limits are enforced. Raises StartError.

    `worker`: this process.
    """
    versions = VERSIONS[settings.cgroups]
    if versions:
        for left in await asyncio.to_thread(remove_orphaned):
            log.warning("control_groups.left", path=str(left), reason="a killed worker's processes have not ended")
    reasons = []
    for version in versions:
        try:
            groups = open_groups(version, name_for(worker))
        except OSError as exc:
            reasons.append(f"version {version}: {exc.strerror or exc}" + (f": {exc.filename}" if exc.filename else ""))
        else:
            log.info("control_groups.chosen", version=version, controllers=groups.controllers)
            return groups
    if settings.cgroups in {"v1", "v2"}:
        raise StartError("control groups", f"cgroups={settings.cgroups} is not available here: {reasons[0]}")
    if versions:
        log.info("control_groups.none", blocked_by=reasons)
    return WorkerGroups()


async def close_groups(groups: WorkerGroups) -> None:
    """Remove the worker's control groups; wait a moment for processes that were killed."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + END_SECONDS
    while not groups.close():
        if loop.time() > ends_at:
            log.warning("control_groups.left", reason="a process in them has not ended")
            return
        await asyncio.sleep(AGAIN_SECONDS)
