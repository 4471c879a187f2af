"""The tiers of the sandbox: how strongly a worker isolates its sessions, and how strongly a session asks to be.

The scripts have the same order of strength in `broker/lua/options.lua`.
"""

from enum import StrEnum
from typing import Final

from skep_shared.errors import InvalidArgument


class Tier(StrEnum):
    """How strongly sessions are isolated, the weakest first."""

    NONE = "none"
    BASIC = "basic"
    USERNS = "userns"
    STRICT = "strict"


STRENGTH: Final = tuple(Tier)  # the weakest first


def check_tier(tier: object) -> Tier:
    """Return the tier that a session asks for. Raises InvalidArgument."""
    if not isinstance(tier, str) or tier not in STRENGTH:
        raise InvalidArgument("sandbox", tier, f"one of {', '.join(STRENGTH)} is needed")
    return Tier(tier)


def is_as_strong(tier: str, wanted: str) -> bool:
    """Return whether a tier is the wanted one or a stronger one.

    A tier that only another version of skep knows is never taken for strong enough, and no tier for as strong as it.
    """
    if wanted == Tier.NONE:
        return True
    return tier in STRENGTH and wanted in STRENGTH and STRENGTH.index(Tier(tier)) >= STRENGTH.index(Tier(wanted))
