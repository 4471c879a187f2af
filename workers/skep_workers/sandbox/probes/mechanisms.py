"""The probes: each tries one mechanism the way a sandbox uses it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from skep_workers.sandbox.kernel.control_groups import own_groups
from skep_workers.sandbox.kernel.landlock import ABI, Right, RulesetPlan, abi_version, restrict_to
from skep_workers.sandbox.kernel.namespaces import (
    NEW_PIDS,
    NEW_USERS,
    map_user,
    mount_namespace,
    mount_processes,
    unshare_mounts,
)
from skep_workers.sandbox.kernel.privileges import (
    become,
    effective_capabilities,
    give_up_new_privileges,
    has_given_up_new_privileges,
)
from skep_workers.sandbox.kernel.seccomp import Denial, build_filter, install_filter
from skep_workers.sandbox.kernel.system_calls import call
from skep_workers.sandbox.namespaced.network import make_network
from skep_workers.sandbox.namespaced.root_directory import TEMPORARY, build_root
from skep_workers.sandbox.namespaced.user_ids import find_range
from skep_workers.sandbox.policy import NO_SANDBOX
from skep_workers.sandbox.probes.findings import Finding, MachineFacts, Mechanism
from skep_workers.sandbox.probes.probing import in_grandchild, run_probe
from skep_workers.sandbox.probes.remedies import remedies_for

_PARTS: Final = (
    (ABI.FILES, "files"),
    (ABI.TRUNCATE, "truncating files"),
    (ABI.TCP, "TCP"),
    (ABI.SCOPES, "signals and abstract sockets"),
)
# For sessions with users of their own: to give them their directories, to remove these, and to end their processes.
_CAPABILITIES: Final = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7,
}  # fmt: skip


def find_all(facts: MachineFacts) -> list[Finding]:
    """Try every mechanism. Only a process with one thread may call this, because it forks."""
    return [find(mechanism, probe, facts) for mechanism, probe in _PROBES.items()]


def find(mechanism: Mechanism, probe: Callable[[], str], facts: MachineFacts) -> Finding:
    """Run one probe in a child, and add what lifts a failure."""
    answer = run_probe(probe)
    remedy = () if answer.works else remedies_for(mechanism, answer.error, facts)
    return Finding(mechanism, answer.works, answer.text, remedy)


def _no_new_privileges() -> str:
    give_up_new_privileges()
    if not has_given_up_new_privileges():
        raise OSError("prctl(PR_SET_NO_NEW_PRIVS) has no effect")
    return ""


def _seccomp() -> str:
    give_up_new_privileges()
    install_filter(build_filter([Denial("setns", errno.EXDEV)]))
    try:
        call("setns", -1, 0)
    except OSError as exc:
        if exc.errno == errno.EXDEV:
            return ""
    raise OSError("seccomp: a filter has no effect")


def _landlock() -> str:
    version = abi_version()
    if not version:
        call("landlock_create_ruleset", 0, 0, 1)  # raises why
    give_up_new_privileges()
    restrict_to(RulesetPlan([], Right.READ_DIR, version).make(()))
    try:
        list(Path("/").iterdir())
    except PermissionError:
        has = [name for abi, name in _PARTS if version >= abi]
        lacks = [name for abi, name in _PARTS if version < abi]
        return f"ABI {version}: {', '.join(has)}" + (f"; without {', '.join(lacks)}" if lacks else "")
    raise OSError("landlock_restrict_self has no effect")


def _user_namespaces() -> str:
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", NEW_USERS)
    map_user(uid, gid)
    return ""


def _user_mounts() -> str:
    _enter_user_namespace()
    build_root(NO_SANDBOX, TEMPORARY)
    return ""


def _user_proc() -> str:
    outside = _enter_user_namespace(NEW_PIDS)
    in_grandchild(lambda: mount_processes("/proc", outside))
    return ""


def _user_network() -> str:
    _enter_user_namespace()
    make_network()
    return ""


def _root_mounts() -> str:
    build_root(NO_SANDBOX, TEMPORARY)
    return ""


def _root_proc() -> str:
    outside = mount_namespace()
    unshare_mounts(NEW_PIDS)
    in_grandchild(lambda: mount_processes("/proc", outside))
    return ""


def _root_network() -> str:
    make_network()
    return ""


def _root_users() -> str:
    missing = [name for name, number in _CAPABILITIES.items() if not effective_capabilities() >> number & 1]
    if missing:
        raise PermissionError(errno.EPERM, f"the worker doesn't have {', '.join(missing)}")
    first = find_range().first
    become(first, first)
    return ""


def _enter_user_namespace(kinds: int = 0) -> Path:
    """Enter a user namespace, as the same user, and a private mount namespace; return the mount namespace before."""
    user, outside = (os.geteuid(), os.getegid()), mount_namespace()
    call("unshare", NEW_USERS)
    map_user(*user, inside=user)
    unshare_mounts(kinds)
    return outside


def _control_groups(version: int) -> str:
    groups = own_groups(version)
    if not groups:
        raise OSError(f"no group of version {version} has a controller for memory, pids or cpu")
    fixed = [group for group in groups if not group.is_writable]
    if fixed:
        raise PermissionError(errno.EACCES, f"{fixed[0].directory} is not writable")
    return ", ".join(name for group in groups for name in group.controllers)


_PROBES: Final[dict[Mechanism, Callable[[], str]]] = {
    Mechanism.NO_NEW_PRIVILEGES: _no_new_privileges,
    Mechanism.SECCOMP: _seccomp,
    Mechanism.LANDLOCK: _landlock,
    Mechanism.USER_NAMESPACES: _user_namespaces,
    Mechanism.USER_MOUNTS: _user_mounts,
    Mechanism.USER_PROC: _user_proc,
    Mechanism.USER_NETWORK: _user_network,
    Mechanism.ROOT_MOUNTS: _root_mounts,
    Mechanism.ROOT_PROC: _root_proc,
    Mechanism.ROOT_NETWORK: _root_network,
    Mechanism.ROOT_USERS: _root_users,
    Mechanism.CGROUP_V2: lambda: _control_groups(2),
    Mechanism.CGROUP_V1: lambda: _control_groups(1),
}
