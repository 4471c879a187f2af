"""What a worker asks of the sandbox of its sessions."""

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

from skep_shared.isolation.network import Network
from skep_shared.isolation.sandbox_tiers import Tier


@dataclass(frozen=True, slots=True)
class SandboxPolicy:
    """A tier, and files that sessions may use in addition to the system's, Python's and their own.

    readable: files and directories that sessions may read and execute.
    writable: those that they may also change.
    network: the widest one that a session may have; which one it has is said when it starts.
    """

    tier: Tier = Tier.NONE
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    network: Network = Network.NONE

    def to_text(self) -> str:
        """Return the policy as an argument for the zygote's command line; empty for no sandbox."""
        return "" if self.tier is Tier.NONE else json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the policy of such an argument."""
        if not text:
            return cls()
        fields = json.loads(text)
        places = tuple(fields["readable"]), tuple(fields["writable"])
        return cls(Tier(fields["tier"]), *places, Network(fields["network"]))


NO_SANDBOX: Final = SandboxPolicy()
