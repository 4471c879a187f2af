"""The Lua scripts as typed functions.

Each script's own head says what it reads, writes and promises; here its reply becomes an object. Every script may be
sent again after a lost reply. A script whose reply is one of its refusals raises nothing here unless no caller could go
on: what a refusal means is the caller's business.
"""

from collections.abc import Mapping
from typing import ClassVar

from skep_shared.client_scripts import ClientScripts
from skep_shared.owner_scripts import OwnerScripts
from skep_shared.script_source import ScriptSource
from skep_shared.worker_scripts import WorkerScripts


class Scripts(ClientScripts, OwnerScripts, WorkerScripts):
    """All that happens to the sessions of one shard, on one client: what a worker needs of them."""

    sources: ClassVar[Mapping[str, ScriptSource]] = {
        **ClientScripts.sources,
        **OwnerScripts.sources,
        **WorkerScripts.sources,
    }
