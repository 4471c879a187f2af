"""The worker: a host that talks to Redis, and session processes that run user code.

`arq skep_workers.WorkerSettings` starts the same worker as `skep worker`. The name is resolved on first use, so that a
session process, which imports this package too, never loads arq or redis.
"""

from typing import Any

__all__ = ["WorkerSettings"]


def __getattr__(name: str) -> Any:
    if name == "WorkerSettings":
        from skep_workers.host.arq_entry import WorkerSettings  # noqa: PLC0415 - see above

        return WorkerSettings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
