"""The script that finds sessions, as a typed function; it only reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from skep_shared.broker.script_source import ScriptCalls, load_scripts
from skep_shared.full_ids import stored_ids

OLDEST = "-inf"


@dataclass(frozen=True, slots=True)
class FoundSessions:
    """The full ids of one page that match. after: where the next page begins, "" after the last one."""

    full_ids: tuple[str, ...]
    after: str


class ListingScripts(ScriptCalls):
    """The scripts of listings. All methods raise the driver's errors when Redis can't be reached."""

    sources = load_scripts("list")

    async def find(
        self, *, after: str = OLDEST, page: int, state: str = "", prefix: str = "", labels: Mapping[str, str]
    ) -> FoundSessions:
        """Look at about `page` sessions of this scope, the oldest first; a session must have all the labels."""
        k = self.keys
        args: list[str | int] = [k.prefix, after, page, state, k.full_id(prefix)]
        for name, text in labels.items():
            args += (name, text)
        following, *found = await self._call("list", (k.own_sessions,), args)
        return FoundSessions(tuple(stored_ids(found)), following.decode())
