"""The sandbox of each tier: the only place where a tier's name leads to its code."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.sandbox.policy import SandboxPolicy

if TYPE_CHECKING:
    from skep_workers.sandbox.basic import BasicSandbox
    from skep_workers.sandbox.namespaced.sandbox import NamespaceSandbox


def make(
    policy: SandboxPolicy, place: str, secret_places: Iterable[str], environment: str
) -> "BasicSandbox | NamespaceSandbox | None":
    """Return the sandbox of a policy, None for no sandbox. Call this while the process has one thread. Raises OSError.

    place: the directory of the sessions' directories. secret_places: directories that hold files of all sessions.
    environment: a directory that all sessions may read.
    """
    match policy.tier:
        case Tier.NONE:
            return None
        case Tier.BASIC:
            # Imported only where it is used: every module is in every session's memory.
            from skep_workers.sandbox.basic import BasicSandbox  # noqa: PLC0415

            return BasicSandbox(policy, secret_places, environment)
        case Tier.USERNS | Tier.STRICT:
            from skep_workers.sandbox.namespaced.sandbox import NamespaceSandbox  # noqa: PLC0415

            return NamespaceSandbox(policy, place, secret_places, environment)
