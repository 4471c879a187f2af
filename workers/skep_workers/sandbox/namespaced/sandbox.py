"""Tiers `userns` and `strict`: a session sees its own files and processes only, and its own part of the network.

Both consist of the same namespaces. A worker without privileges gets the right to make them from a user namespace; all
its sessions remain its user. With root's privileges none is needed, and each session has a user of its own.

The zygote makes the root directory and the network of all sessions, and applies what its forks inherit: limits, no new
privileges, most of the seccomp filter. A fork joins and adds to them what is its session's, becomes its user, and gives
up everything that it needed for that. It does so before it runs any code of its session or unpickles a checkpoint.
Landlock comes on top: it is a second boundary around files and processes, and the only one around signals to the first
process of the pid namespace. A process can't be moved to another sandbox, so live forks are replaced by restores.

Things that don't work:
- Landlock before the mounts: a restricted process must not mount anything.
- The death signal before the change of the user, which clears it.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any, Final

from skep_shared.errors import StartError
from skep_shared.isolation.network import GrantedNetwork, Network
from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.sandbox.denied_calls import denials_after_mounts, denials_in_namespaces
from skep_workers.sandbox.file_access import READ, changeable_rules, check_rules, shared_rules
from skep_workers.sandbox.kernel.landlock import ABI, abi_version, open_rule, restrict_to
from skep_workers.sandbox.kernel.namespaces import (
    NEW_HOST_NAME,
    NEW_IPC,
    NEW_MOUNTS,
    NEW_USERS,
    join_namespace,
    map_user,
    unshare,
    unshare_mounts,
)
from skep_workers.sandbox.kernel.privileges import (
    become,
    die_with,
    drop_capabilities,
    give_up_new_privileges,
    limit_capabilities,
)
from skep_workers.sandbox.kernel.resource_limits import limit_resources
from skep_workers.sandbox.kernel.seccomp import build_filter, install_filter
from skep_workers.sandbox.namespaced.network import join_network
from skep_workers.sandbox.namespaced.pid_namespaces import PidNamespaces
from skep_workers.sandbox.namespaced.root_builder import build_in_child, check_access
from skep_workers.sandbox.namespaced.root_directory import ENVIRONMENT, TEMPORARY, shared_paths
from skep_workers.sandbox.namespaced.session_mounts import SHARED_MEMORY, SessionMounts, account_of, read_accounts
from skep_workers.sandbox.namespaced.user_ids import IdRange, find_range, pid_outside
from skep_workers.sandbox.network_rules import close_and_filter, common_denials, rules_by_network
from skep_workers.sandbox.policy import SandboxPolicy

_OWN_VARIABLES: Final = ("HOME", "TMPDIR")
_PIPES: Final = (1, 2)


class NamespaceSandbox:
    """The preparation in the zygote, the fork, and the application in the fork."""

    environment: Final = ENVIRONMENT

    def __init__(self, policy: SandboxPolicy, place: str, secret_places: Iterable[str], environment: str) -> None:
        """Enter a user namespace, if the tier needs one: only a process with one thread can.

        place: the directory of the sessions' directories. secret_places: directories that hold files of all sessions.
        environment: a directory that all may read, of which the root directory gets a copy. Raises OSError.
        """
        self._policy = policy
        self._place = os.path.realpath(place)
        self._secret_places = list(secret_places)
        self._environment = environment
        self._ids: IdRange | None = find_range() if policy.tier is Tier.STRICT else None
        if self._ids is None:
            user = os.geteuid(), os.getegid()
            unshare(NEW_USERS)
            map_user(*user, inside=user)

    def prepare(self) -> None:
        """Make what all sessions share, and restrict this process as far as they have it in common.

        Raises StartError, OSError. The descriptors that this opens are for forks of this process, which close them.
        """
        policy = self._policy
        abi = abi_version()
        if abi < ABI.FILES:
            raise StartError("sandbox", f"tier {policy.tier} needs Landlock, which this kernel doesn't have or permit")
        check_rules(shared_rules(policy), self._secret_places)
        if self._ids is not None:
            check_access(policy, self._ids.first)
        self._zygote = os.pidfd_open(os.getpid())
        unshare_mounts(follows=True)  # so that mounts can be copied in a user namespace, whose the machine's are not
        built = build_in_child(policy, self._place, self._environment)
        self._root, self._network = built.mounts, built.network
        rules = [found for rule in changeable_rules(policy) if (found := open_rule(rule)) is not None]
        opened = [(built.directory, READ), *rules]
        self._rules = rules_by_network(policy.network, denials_after_mounts(), opened, abi)
        user = (os.geteuid(), os.getegid()) if self._ids is None else None
        self._mounts = SessionMounts(self._place, read_accounts(user), shared_paths(policy))
        self._pids = PidNamespaces(self._zygote, may_return=self._ids is not None)
        limit_resources()
        limit_capabilities()
        give_up_new_privileges()
        install_filter(build_filter([*denials_in_namespaces(), *common_denials(policy.network)]))
        plan = self._rules[Network.NONE].plan
        os.close(plan.make([built.directory]))  # code that has run once writes to less memory in each fork

    def prepare_next(self) -> None:
        """Do in advance what the next fork needs. Raises OSError."""
        self._pids.prepare_next()

    def fork(self) -> int:
        """Fork a process for a session, as os.fork does. Raises OSError."""
        return self._pids.fork()

    @property
    def own_processes(self) -> set[int]:
        """Return the children of the zygote that belong to the sandbox."""
        return self._pids.first_processes

    def note_end(self, pid: int) -> None:
        """Note that a child of the zygote has ended."""
        self._pids.note_end(pid)

    def enter(
        self, directory: str, private: str, kept: Iterable[int], network: Sequence[Any] = (), supply: int = -1
    ) -> None:
        """Restrict this fork, which must have one thread, to a session with these directories and this network.

        `kept`, `network`, `supply`: see BasicSandbox.enter. With an allow-list the session's sockets are made by the
        proxy, in the machine's network. Raises OSError, and KeyError for a network that the policy does not have; the
        process must end then.
        """
        granted = GrantedNetwork.unpack(network)
        rules = self._rules[granted.network]
        os.environ.update(granted.variables)
        for name in _OWN_VARIABLES:
            os.environ[name] = private
        tempfile.tempdir = None  # a preloaded module may have asked for it
        user = 0 if self._ids is None else self._ids.of(pid_outside())
        copied = self._mounts.copy(directory, private)
        join_namespace(self._root, NEW_MOUNTS)
        if granted.network is not Network.HOST:
            join_network(self._network)
        unshare(NEW_MOUNTS | NEW_IPC | NEW_HOST_NAME)
        self._mounts.make(copied, account_of(user, user, private) if user else {})
        if user:
            for path in (directory, private):
                os.chown(path, user, user, follow_symlinks=False)
            for pipe in _PIPES:
                os.fchown(pipe, user, user)  # otherwise /dev/stdout could not be opened
            become(user, user)
        die_with(self._zygote)
        drop_capabilities()
        os.chdir(directory)
        paths = (directory, private, TEMPORARY, SHARED_MEMORY)
        own = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW) for path in paths]
        restrict_to(rules.plan.make(own, granted.ports))
        close_and_filter(granted.network, rules.filter, kept, supply)
