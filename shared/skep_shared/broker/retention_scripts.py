"""The Lua scripts of retention as typed functions; see `scripts`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from skep_shared.broker.script_source import ScriptCalls, load_scripts


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The number of the first event that is left, and whether there is more to remove."""

    floor: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """Fields of a session's hash, the number of its known cell ids, and its option expires_in (b"": none)."""

    values: Mapping[str, bytes | None]
    ids: int
    expires_in: bytes


class ExpiryStatus(StrEnum):
    """The reply of expire.lua."""

    CLOSED = "CLOSED"
    KEPT = "KEPT"
    UNKNOWN = "UNKNOWN"


class RetentionScripts(ScriptCalls):
    """The scripts of retention. All methods raise the driver's errors when Redis can't be reached."""

    sources = load_scripts("facts", "trim", "forget", "expire")

    async def facts(self, session_ids: Sequence[str], names: Sequence[str]) -> list[StoredFacts]:
        """Read these fields of each session's hash, and what else `StoredFacts` has, in one command."""
        keys = [key for sid in session_ids for key in (self.keys.session(sid), self.keys.ids(sid))]
        rows = await self._call("facts", keys, names)
        return [StoredFacts(dict(zip(names, row, strict=False)), row[-2], row[-1]) for row in rows]

    async def trim(self, session_id: str, first_event: int, *, page: int) -> Trimmed | None:
        """Remove up to `page` events before `first_event`, as far as permitted; None if there is no session."""
        k = self.keys
        reply = await self._call("trim", (k.session(session_id), k.events(session_id)), (first_event, page))
        return None if reply[0] == b"UNKNOWN" else Trimmed(reply[1], bool(reply[2]))

    async def forget(self, session_id: str, cell_ids: Sequence[bytes], *, keep: int) -> int:
        """Forget those of these cell ids that committed before the latest `keep` cells; return how many these were."""
        k = self.keys
        reply = await self._call("forget", (k.session(session_id), k.ids(session_id)), (keep, *cell_ids))
        forgotten: int = reply[1]
        return forgotten

    async def expire(self, session_id: str, *, idle_ms: int) -> ExpiryStatus:
        """Close a session for good if it has been idle for so long and has no live owner."""
        k = self.keys
        keys = (k.session(session_id), k.events(session_id), k.waiting, k.sessions)
        return ExpiryStatus((await self._call("expire", keys, (k.prefix, session_id, idle_ms)))[0].decode())
