"""The Lua scripts of retention as typed functions; see `scripts`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from skep_shared.script_source import ScriptCalls, load_scripts


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The first event that is kept, and whether there is more to remove."""

    floor: int
    has_more: bool


class ExpiryStatus(StrEnum):
    """What expire.lua answered."""

    CLOSED = "CLOSED"
    KEPT = "KEPT"
    UNKNOWN = "UNKNOWN"


class RetentionScripts(ScriptCalls):
    """What keeps a shard's sessions within bounds. All methods raise what the driver raises when Redis is away."""

    sources = load_scripts("facts", "trim", "forget", "expire")

    async def facts(self, session_ids: Sequence[str], names: Sequence[str]) -> list[tuple[list[bytes | None], int]]:
        """Read these fields of each session's hash, and how many cell ids it knows; in one command."""
        keys = [key for sid in session_ids for key in (self.keys.session(sid), self.keys.ids(sid))]
        return [(row[:-1], row[-1]) for row in await self._call("facts", keys, names)]

    async def trim(self, session_id: str, first_event: int, *, page: int) -> Trimmed | None:
        """Remove up to `page` of the events before `first_event`, as far as may be; None if there is no session."""
        k = self.keys
        reply = await self._call("trim", (k.session(session_id), k.events(session_id)), (first_event, page))
        return None if reply[0] == b"UNKNOWN" else Trimmed(reply[1], bool(reply[2]))

    async def forget(self, session_id: str, cell_ids: Sequence[bytes], *, keep: int) -> int:
        """Forget those of the ids whose cells have committed before the latest `keep`; gives how many these were."""
        k = self.keys
        reply = await self._call("forget", (k.session(session_id), k.ids(session_id)), (keep, *cell_ids))
        forgotten: int = reply[1]
        return forgotten

    async def expire(self, session_id: str, *, idle_ms: int) -> ExpiryStatus:
        """Close a session for good if it has been idle for so long and nobody has it."""
        k = self.keys
        keys = (k.session(session_id), k.events(session_id), k.waiting, k.sessions)
        return ExpiryStatus((await self._call("expire", keys, (k.prefix, session_id, idle_ms)))[0].decode())
