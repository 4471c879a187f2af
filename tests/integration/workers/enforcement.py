"""How limits can be enforced on this machine, for tests to have in their names; and the control groups of a worker."""

from pathlib import Path
from typing import Final

from skep_shared.process_trees import process_id
from skep_workers.sandbox.kernel.control_groups import own_groups


def _mechanisms() -> dict[str, str]:
    """Return the value of SKEP_CGROUPS for each way. In version 2, workers would need groups apart from the tests'."""
    groups = own_groups(1)
    has_groups = bool(groups) and all(group.is_writable for group in groups)
    return {"watch": "none"} | ({"cgroup-v1": "v1"} if has_groups else {})


MECHANISMS: Final = _mechanisms()


def groups_of(pid: int, started: int | None = None, *, of_worker: bool = False) -> list[Path]:
    """Return the control groups of the sessions of a worker: one in each hierarchy that a session needs.

    `started`: the start time of a worker that has ended. With `of_worker`, return the worker's own ones.
    """
    if started is None:
        worker = process_id(pid)
        assert worker is not None
        started = worker.started
    pattern = f"skep-*-{pid}-{started}-*/" + ("" if of_worker else "*/")
    return [path for group in own_groups(1) for path in group.directory.glob(pattern)]
