"""Which networks the sessions of this worker can have, by its settings and its sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from skep_shared.errors import InvalidArgument, StartError
from skep_shared.isolation.network import BREADTH, Network, check_network
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.models import SessionOptions
from skep_shared.settings import WorkerSettings
from skep_workers.sandbox.kernel.landlock import ABI, abi_version

log = structlog.get_logger()

_NO_SANDBOX: Final = "its worker has no sandbox (SKEP_SANDBOX=none), and so can't restrict what sessions connect to"


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """The networks of a worker's sessions. obstacles: why a session can't have a network, by network."""

    default: Network = Network.HOST
    obstacles: Mapping[Network, str] = field(
        default_factory=lambda: {Network.NONE: _NO_SANDBOX, Network.ALLOW_LIST: _NO_SANDBOX}
    )

    @property
    def possible(self) -> tuple[Network, ...]:
        """The networks that a session can have, the narrowest first."""
        return tuple(network for network in BREADTH if network not in self.obstacles)

    def network_of(self, options: SessionOptions) -> Network:
        """Return the network that a session asks for, or else the default one."""
        return self.default if options.network is None else Network(options.network)

    def obstacle(self, options: SessionOptions) -> str:
        """Return why a session can't have the network that it asks for, '' if it can."""
        try:
            check_network(options.network, options.allowed_hosts, "")
        except InvalidArgument as exc:  # written to Redis by something that doesn't check it
            return str(exc)
        return self.obstacles.get(self.network_of(options), "")


def choose_networks(settings: WorkerSettings, tier: Tier) -> NetworkChoice:
    """Return the networks of a worker's sessions. Raises StartError for settings that can't hold here."""
    of_tier = Network.HOST if tier is Tier.NONE else Network.NONE
    widest = Network(settings.network or of_tier)
    default = Network(settings.network_default or min(of_tier, widest, key=BREADTH.index))
    if tier is Tier.NONE and (widest, default) != (Network.HOST, Network.HOST):
        name = "SKEP_NETWORK" if widest is not Network.HOST else "SKEP_NETWORK_DEFAULT"
        asked = widest if widest is not Network.HOST else default
        raise StartError("network", f"{name} is {asked}, and the sandbox is none: only a sandbox restricts the network")
    choice = NetworkChoice(default, _obstacles(widest, tier))
    if reason := choice.obstacles.get(default):
        raise StartError("network", f"SKEP_NETWORK_DEFAULT is {default}: {reason}")
    if tier is not Tier.NONE:
        possible = [str(network) for network in choice.possible]
        log.info("network.chosen", default=str(default), possible=possible, hosts=settings.network_hosts)
    return choice


def _obstacles(widest: Network, tier: Tier) -> dict[Network, str]:
    if tier is Tier.NONE:
        return {Network.NONE: _NO_SANDBOX, Network.ALLOW_LIST: _NO_SANDBOX}
    beyond = BREADTH[BREADTH.index(widest) + 1 :]
    obstacles = dict.fromkeys(beyond, f"the operator of its worker permits at most {widest} (SKEP_NETWORK)")
    if Network.ALLOW_LIST not in obstacles and (found := abi_version()) < ABI.TCP:
        obstacles[Network.ALLOW_LIST] = (
            f"the kernel's Landlock, version {found}, has no rules for TCP; version {ABI.TCP:d} has them, of Linux 6.7"
        )
    return obstacles
