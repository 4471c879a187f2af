"""For the tests of programs that use skep: a cluster in memory, real clusters that leave nothing, and `assert_ok`.

Imports the client and what starts Redis and workers, never pytest: the plugin with the fixtures is `skep_pytest`.
"""

from skep.testing.answers import Answer
from skep.testing.assertions import assert_ok
from skep.testing.clusters import cluster, sync_cluster
from skep.testing.memory_cell import MemoryCell
from skep.testing.memory_cluster import MemoryCluster
from skep.testing.memory_files import MemoryFiles
from skep.testing.memory_session import MemorySession
from skep.testing.refusals import NotInMemory

__all__ = [
    "Answer",
    "MemoryCell",
    "MemoryCluster",
    "MemoryFiles",
    "MemorySession",
    "NotInMemory",
    "assert_ok",
    "cluster",
    "sync_cluster",
]
