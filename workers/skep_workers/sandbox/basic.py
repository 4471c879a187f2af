"""Tier `basic`: needs no privilege and no namespace, so it works in a default container and in a restricted pod.

The worker's user keeps its id. A session can see other processes, and files' names and sizes, but can neither read nor
change them. What it can't do is listed in SECURITY.md, with what this tier does not stop.

What all sessions have in common, the zygote applies to itself, and its forks inherit it: limits, no new privileges,
most of the seccomp filter. The rest depends on the session. A fork does it before it runs any code of its session or
unpickles a checkpoint: its end with the zygote, capabilities, Landlock, and closing what it has
inherited. A process can't be moved to another sandbox, so live forks are replaced by restores in this tier.

Things that don't work:
- Applying everything after the fork: it took 2.0 ms of each session's start instead of 0.6.
- Making the process undumpable: /proc/self/pagemap would belong to root, and checkpoints of large arrays need it.
  Landlock refuses to be traced by sessions anyway.
- The network's rules in the zygote where sessions may have different ones: a filter can only be narrowed in its forks,
  but not passed on to another process. Where no session may have any network, the zygote applies them.
- One ruleset for all sessions, made in the zygote: its descriptor leads every fork to the same ruleset, so a directory
  that one session adds would be open to the next. Only the opened paths are shared.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from skep_shared.errors import StartError
from skep_shared.isolation.network import GrantedNetwork, Network
from skep_workers.sandbox.denied_calls import basic_denials, denials_of_other_processes
from skep_workers.sandbox.file_access import check_rules, shared_rules
from skep_workers.sandbox.kernel.landlock import ABI, abi_version, open_rule, restrict_to
from skep_workers.sandbox.kernel.privileges import (
    die_with_parent,
    drop_capabilities,
    give_up_new_privileges,
    limit_capabilities,
)
from skep_workers.sandbox.kernel.resource_limits import limit_resources
from skep_workers.sandbox.kernel.seccomp import build_filter, install_filter, with_value
from skep_workers.sandbox.network_rules import close_and_filter, common_denials, rules_by_network
from skep_workers.sandbox.policy import SandboxPolicy

_OWN_VARIABLES: Final = ("HOME", "TMPDIR")
_PLACEHOLDER: Final = 0x7FFF_FFF0  # above the highest pid there can be, and no other value of a filter


class BasicSandbox:
    """The tier's preparation in the zygote, and its application in each fork."""

    own_processes: Final[set[int]] = set()

    def __init__(self, policy: SandboxPolicy, secret_places: Iterable[str], environment: str) -> None:
        """`secret_places`: directories that hold files of all sessions. environment: one that all may read."""
        self.environment: Final = environment
        self._policy = replace(policy, readable=(*policy.readable, environment))
        self._secret_places = list(secret_places)

    def prepare(self) -> None:
        """Restrict this process as far as its forks have it in common. Raises StartError, OSError.

        The descriptors that this opens are for forks of this process, which close them.
        """
        self._parent = os.getpid()
        abi = abi_version()
        if abi < ABI.FILES:
            raise StartError("sandbox", "tier basic needs Landlock, which this kernel doesn't have or doesn't permit")
        rules = shared_rules(self._policy)
        check_rules(rules, self._secret_places)
        opened = [found for rule in rules if (found := open_rule(rule)) is not None]
        widest = self._policy.network
        self._rules = rules_by_network(widest, denials_of_other_processes(_PLACEHOLDER), opened, abi)
        limit_resources()
        limit_capabilities()
        give_up_new_privileges()
        install_filter(build_filter([*basic_denials(), *common_denials(widest)]))
        # Code that has run once writes to less memory in each fork.
        os.close(self._rules[Network.NONE].plan.make([opened[0][0]]))

    def prepare_next(self) -> None:
        """Do nothing: a fork needs nothing in advance."""

    def fork(self) -> int:
        """Fork a process for a session."""
        return os.fork()

    def note_end(self, pid: int) -> None:
        """Do nothing: this tier has no processes of its own."""

    def enter(
        self, directory: str, private: str, kept: Iterable[int], network: Sequence[Any] = (), supply: int = -1
    ) -> None:
        """Restrict this fork, which must have one thread, to a session with these directories and this network.

        `kept`: the descriptors of the session process; others are closed. `network`: what GrantedNetwork.pack has
        returned, empty for none. `supply`: a unix socket to the worker, which gets the listener of the session's filter
        if the network is an allow-list.
        Raises OSError, and KeyError for a network that the policy does not have; the process must end then.
        """
        granted = GrantedNetwork.unpack(network)
        rules = self._rules[granted.network]
        os.environ.update(granted.variables)
        for name in _OWN_VARIABLES:
            os.environ[name] = private
        tempfile.tempdir = None  # a preloaded module may have asked for it
        die_with_parent(self._parent)
        drop_capabilities()
        own = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW) for path in (directory, private)]
        restrict_to(rules.plan.make(own, granted.ports))
        program = with_value(rules.filter, _PLACEHOLDER, os.getpid())
        close_and_filter(granted.network, program, kept, supply)
