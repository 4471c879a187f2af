"""The Lua scripts as typed functions.

The head of each script documents its keys, arguments, replies and invariants; the functions here turn replies into
objects. Every script may be sent again after a lost reply. A refusal in a reply is returned to the caller, who decides
what it means; only refusals after which no caller could continue (Fenced, EventGap) are raised.
"""

from collections.abc import Mapping
from typing import ClassVar

from skep_shared.broker.client_scripts import ClientScripts
from skep_shared.broker.owner_scripts import OwnerScripts
from skep_shared.broker.script_source import ScriptSource
from skep_shared.broker.worker_scripts import WorkerScripts


class Scripts(ClientScripts, OwnerScripts, WorkerScripts):
    """All scripts that a worker needs, on one connection."""

    sources: ClassVar[Mapping[str, ScriptSource]] = {
        **ClientScripts.sources,
        **OwnerScripts.sources,
        **WorkerScripts.sources,
    }
