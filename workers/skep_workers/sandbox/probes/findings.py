"""What a probe found, and what it reads of the machine to explain that."""

from dataclasses import dataclass
from enum import StrEnum


class Mechanism(StrEnum):
    """What the tiers of the sandbox consist of."""

    NO_NEW_PRIVILEGES = "no_new_privs"
    SECCOMP = "seccomp"
    LANDLOCK = "landlock"
    USER_NAMESPACES = "user_namespaces"
    USER_MOUNTS = "user_mounts"
    USER_PROC = "user_proc"
    USER_NETWORK = "user_network"
    ROOT_MOUNTS = "root_mounts"
    ROOT_PROC = "root_proc"
    ROOT_NETWORK = "root_network"
    ROOT_USERS = "root_users"
    CGROUP_V2 = "cgroup_v2"
    CGROUP_V1 = "cgroup_v1"


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a mechanism works here.

    detail: how well, or why not. remedy: what the operator can do if it doesn't work, a line for each environment.
    """

    mechanism: Mechanism
    works: bool
    detail: str = ""
    remedy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Settings of the machine and of this process; None where the machine doesn't have the setting.

    seccomp_mode: 2 if a filter is active, as in most containers. modules: the security modules of the kernel.
    has_autogroup: the kernel divides processor time among sessions of processes, setsid(2), by itself.
    """

    uid: int
    capabilities: int
    seccomp_mode: int
    modules: tuple[str, ...] | None
    most_user_namespaces: int | None
    unprivileged_user_namespaces: int | None
    apparmor_restricts_user_namespaces: int | None
    has_autogroup: bool = False
