"""The scripts of the gateway's tokens, as typed functions."""

from dataclasses import dataclass
from typing import Literal

from skep_shared.broker.script_source import ScriptCalls, load_scripts


@dataclass(frozen=True, slots=True)
class AddedToken:
    """The reply to a new token. Times in ms; expires_ms 0: never. count: with FULL, how many tokens there are."""

    status: Literal["OK", "TAKEN", "FULL"]
    created_ms: int = 0
    expires_ms: int = 0
    count: int = 0


class TokenScripts(ScriptCalls):
    """The scripts of the gateway's tokens. All methods raise the driver's errors when Redis can't be reached."""

    sources = load_scripts("add_token", "revoke_token")

    async def add(  # noqa: PLR0913 - the fields of a record
        self,
        token_id: str,
        digest: str,
        *,
        tenant: str,
        can: str,
        name: str,
        lifetime_ms: int,
        most: int,
        listed_ms: int,
    ) -> AddedToken:
        """Store a token. lifetime_ms: 0 for a token that never expires."""
        keys = (self.keys.tokens, self.keys.token(token_id))
        args = (token_id, digest, tenant, can, name, lifetime_ms, most, listed_ms)
        reply = await self._call("add_token", keys, args)
        if reply[0] == b"OK":
            return AddedToken("OK", reply[1], reply[2])
        return AddedToken("FULL", count=reply[1]) if reply[0] == b"FULL" else AddedToken("TAKEN")

    async def revoke(self, token_id: str, *, tenant: str, listed_ms: int) -> int | None:
        """Revoke a token, of any tenant if `tenant` is ""; return when it was revoked (ms), None for an unknown one."""
        keys = (self.keys.tokens, self.keys.token(token_id))
        reply = await self._call("revoke_token", keys, (token_id, tenant, listed_ms))
        return reply[1] if reply[0] == b"OK" else None
