"""The configuration of a session process, which it receives before its first cell."""

from typing import Any, Final

from skep_shared.isolation.session_limits import Limits
from skep_shared.models import SessionOptions
from skep_shared.settings import WorkerSettings

# The worker's settings that its session processes need, by name.
PROCESS_SETTINGS: Final = (
    "ast_cache_size",
    "packages_bytes",
    "packages_seconds",
    "snapshot_memory_bytes",
    "snapshot_seconds",
    "state_bytes",
    "workspace_quota_bytes",
)
RESTORE_SHARE: Final = 0.75  # of the time for a restore, for installing recorded packages again
# The limits that the session process itself applies or explains.
PROCESS_LIMITS: Final = ("open_files", "file_bytes", "wall_seconds", "workspace_files")


def applied_limits(options: SessionOptions, settings: WorkerSettings) -> Limits:
    """Return the limits of a session on this worker, whose maxima may have changed since the session was created."""
    return options.limits.lowered_to(settings.limits)


def session_configuration(options: SessionOptions, settings: WorkerSettings) -> dict[str, Any]:
    """Return the session's options and those settings of the worker that its process needs, by name.

    The worker's lists for the analysis come before the session's.
    """
    detection = options.detection.model_dump()
    for name in ("blocking", "not_blocking"):
        detection[name] = [*settings.detection.get(name, []), *detection[name]]
    from_worker = {name: getattr(settings, name) for name in PROCESS_SETTINGS}
    limits = applied_limits(options, settings)
    from_worker["state_bytes"] = limits.checkpoint_bytes
    if limits.workspace_bytes is not None:  # a new process must not begin beyond its limit
        from_worker["workspace_quota_bytes"] = min(settings.workspace_quota_bytes, limits.workspace_bytes)
    for_process = {name: limit for name, limit in limits if name in PROCESS_LIMITS and limit is not None}
    from_worker |= {
        "packages_mode": settings.packages,
        # A restore that takes longer counts as hung, and its process is killed.
        "packages_restore_seconds": min(settings.packages_seconds, settings.restore_seconds * RESTORE_SHARE),
    }
    return options.model_dump() | from_worker | {"detection": detection, "limits": for_process}
