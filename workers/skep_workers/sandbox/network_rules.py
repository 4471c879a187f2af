"""What a session's network adds to its sandbox: rules of Landlock about ports, and calls for sockets that are denied.

An operator that permits no network has one filter for all sessions, which the zygote installs. Otherwise each fork
installs the filter of its session's network, as the last step.
"""

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from skep_shared.isolation.network import BREADTH, Network
from skep_workers.sandbox.denied_calls import network_denials
from skep_workers.sandbox.file_access import CHANGE
from skep_workers.sandbox.kernel.landlock import Right, RulesetPlan
from skep_workers.sandbox.kernel.open_descriptors import close_all_except
from skep_workers.sandbox.kernel.seccomp import Denial, build_filter, install_filter, install_filter_with_listener


class NetworkRules(NamedTuple):
    """What a session with one kind of network gets: Landlock's rules, and the calls that are denied."""

    plan: RulesetPlan
    filter: bytes


def rules_by_network(
    widest: Network, denials: Sequence[Denial], opened: Sequence[tuple[int, Right]], abi: int
) -> dict[Network, NetworkRules]:
    """Return the rules for each network up to the widest. denials: of each session. opened: see RulesetPlan."""
    if widest is Network.NONE:
        return {Network.NONE: NetworkRules(RulesetPlan(opened, CHANGE, abi), build_filter(denials))}
    rules = {}
    for network in BREADTH[: BREADTH.index(widest) + 1]:
        plan = RulesetPlan(opened, CHANGE, abi, restricts_tcp=network is not Network.HOST)
        rules[network] = NetworkRules(plan, build_filter([*denials, *network_denials(network)]))
    return rules


def common_denials(widest: Network) -> list[Denial]:
    """Return what the zygote can deny to all sessions because of their networks."""
    return network_denials(Network.NONE) if widest is Network.NONE else []


def close_and_filter(network: Network, program: bytes, kept: Iterable[int], supply: int) -> None:
    """Close all descriptors except these, and install the session's filter.

    supply: a unix socket to the worker, which gets the filter's listener if the network is an allow-list.
    Raises OSError.
    """
    if network is not Network.ALLOW_LIST:
        close_all_except(kept)
        install_filter(program)
        return
    close_all_except([*kept, supply])
    with socket.socket(fileno=supply) as to_worker:
        try:
            listener = install_filter_with_listener(program)
        except OSError as exc:
            if exc.errno != errno.EBUSY:
                raise
            reason = "an allow-list is not possible: a filter of the container engine passes system calls on"
            raise OSError(errno.EBUSY, reason) from exc
        socket.send_fds(to_worker, [b"listener"], [listener])
        os.close(listener)
