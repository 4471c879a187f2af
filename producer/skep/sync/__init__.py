"""The blocking client: the calls of `skep`, for Django, Flask, Celery and scripts.

import skep.sync

with skep.sync.connect("redis://127.0.0.1:6379/0") as cluster:
    outcome = cluster.session("user-42").run("import math; math.sqrt(1764)")

The classes in `blocking_classes` are generated from the asynchronous ones: each method runs the method of that name on
one event loop, in a thread of its own, and waits. There is no second client here: this package imports the
asynchronous one and never speaks to Redis itself.
"""

from skep.sync.blocking_classes import Cell, Cluster, EmbeddedCluster, Session, SessionFiles, WorkerProcess
from skep.sync.opening import Opening, connect, embedded
from skep.sync.reading import Reading

__all__ = [
    "Cell",
    "Cluster",
    "EmbeddedCluster",
    "Opening",
    "Reading",
    "Session",
    "SessionFiles",
    "WorkerProcess",
    "connect",
    "embedded",
]
