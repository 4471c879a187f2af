"""The scripts that count what a tenant uses, as typed functions; only owners of sessions of tenants call them."""

from skep_shared.broker.script_replies import Claim
from skep_shared.broker.script_source import ScriptCalls, load_scripts
from skep_shared.errors import Fenced


class TenantScripts(ScriptCalls):
    """The scripts of tenants. All methods raise the driver's errors when Redis can't be reached."""

    sources = load_scripts("charge", "charge_cpu")

    async def charge(self, claim: Claim, stored_bytes: int) -> None:
        """Count a session with so many stored bytes for its tenant. Raises Fenced."""
        await self._charge("charge", claim, stored_bytes)

    async def charge_cpu(self, claim: Claim, milliseconds: int) -> None:
        """Count so much processor time of a session since this owner has it. Raises Fenced."""
        await self._charge("charge_cpu", claim, milliseconds)

    async def _charge(self, script: str, claim: Claim, used: int) -> None:
        reply = await self._call(script, (self.keys.session(claim.session_id),), (claim.token, claim.epoch, used))
        if reply[0] == b"FENCED":
            raise Fenced(claim.session_id, reply[1])
