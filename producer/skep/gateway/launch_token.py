"""The token of a gateway that has no others: made at its start, shown once, valid until it ends."""

import asyncio
import hmac
import secrets
from typing import Final

from skep.gateway.tokens.access import Access, Action, Kind


class LaunchToken:
    """The TokenChecker for the one token that the gateway prints at its start.

    It permits everything that `tenant` has, or that the shard has without one.
    """

    def __init__(self, tenant: str | None = None) -> None:
        self.text: Final = secrets.token_urlsafe(32)
        self._access: Final = Access("launch", tenant, frozenset(Action), kind=Kind.LAUNCH)

    async def check(self, text: str) -> Access | None:
        """Return what the token permits; None for any other text."""
        return self._access if hmac.compare_digest(text.encode(), self.text.encode()) else None

    async def wait_until_invalid(self, access: Access) -> None:
        """Wait for ever: the token is valid as long as the process lives."""
        await asyncio.get_running_loop().create_future()
