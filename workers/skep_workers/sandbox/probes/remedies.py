"""What an operator can do about a mechanism that doesn't work: the line for this machine, the container, the pod."""

import errno

from skep_workers.sandbox.kernel.privileges import CAP_SYS_ADMIN
from skep_workers.sandbox.probes.findings import MachineFacts, Mechanism

_CONTAINER_SECCOMP = (
    "container: --security-opt seccomp=unconfined, or a profile that permits {calls}",
    "pod: securityContext.seccompProfile.type: Unconfined, or a Localhost profile that permits {calls}",
)


def remedies_for(mechanism: Mechanism, error: int | None, facts: MachineFacts) -> tuple[str, ...]:
    """Return what lifts a mechanism's failure with this error number, a line for each kind of environment."""
    match mechanism:
        case Mechanism.LANDLOCK:
            return _for_landlock(error, facts)
        case Mechanism.SECCOMP:
            return ("kernel: CONFIG_SECCOMP_FILTER=y; some sandboxes around a worker have no seccomp",)
        case Mechanism.USER_NAMESPACES:
            return _for_user_namespaces(facts)
        case Mechanism.USER_MOUNTS | Mechanism.USER_NETWORK:
            return _for_user_mounts(facts)
        case Mechanism.ROOT_USERS:
            return _for_users()
        case Mechanism.ROOT_PROC if not _may_administer(facts):
            return _for_root(facts)
        case Mechanism.USER_PROC | Mechanism.ROOT_PROC:
            return (
                "container: --security-opt systempaths=unconfined, since /proc is masked",
                "pod: securityContext.procMount: Unmasked, with hostUsers: false",
            )
        case Mechanism.ROOT_MOUNTS | Mechanism.ROOT_NETWORK:
            return _for_root(facts)
        case Mechanism.CGROUP_V2 | Mechanism.CGROUP_V1:
            return (
                "systemd: Delegate=yes in the [Service] section of the worker's unit, and no other process in it",
                "container: --cgroupns=private and a writable /sys/fs/cgroup",
            )
    return ()


def _for_landlock(error: int | None, facts: MachineFacts) -> tuple[str, ...]:
    if facts.modules is not None and "landlock" not in facts.modules:
        return (f"kernel command line: lsm=landlock,{','.join(facts.modules)}",)
    if error == errno.ENOSYS and facts.seccomp_mode:
        return _lines("landlock_create_ruleset, landlock_add_rule, landlock_restrict_self")
    return ("kernel: 5.13 or newer with CONFIG_SECURITY_LANDLOCK=y, and lsm=landlock,… on its command line",)


def _for_user_namespaces(facts: MachineFacts) -> tuple[str, ...]:
    if facts.most_user_namespaces == 0:
        return ("sysctl -w user.max_user_namespaces=16384",)
    if facts.unprivileged_user_namespaces == 0 and facts.uid != 0:
        return ("sysctl -w kernel.unprivileged_userns_clone=1",)
    if facts.apparmor_restricts_user_namespaces == 1:
        return ("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",)
    if facts.seccomp_mode:
        return _lines("unshare, clone, mount, umount2 and pivot_root")
    return ("kernel: CONFIG_USER_NS=y; a process in a chroot can't make user namespaces",)


def _for_user_mounts(facts: MachineFacts) -> tuple[str, ...]:
    if facts.apparmor_restricts_user_namespaces == 1:
        return ("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",)
    apparmor = ("container: --security-opt apparmor=unconfined, whose default profile denies mounts",)
    return (*(_lines("mount, umount2 and pivot_root") if facts.seccomp_mode else ()), *apparmor)


def _for_root(facts: MachineFacts) -> tuple[str, ...]:
    if not _may_administer(facts):
        return (
            "systemd: run the worker as root, without User=",
            "container: --cap-add SYS_ADMIN --security-opt apparmor=unconfined",
            "pod: securityContext.capabilities.add: [SYS_ADMIN]",
        )
    return _for_user_mounts(facts)


def _for_users() -> tuple[str, ...]:
    return (
        "systemd: run the worker as root, without User= and CapabilityBoundingSet=",
        "container: a user namespace with 65536 ids, and the engine's default capabilities",
        "pod: securityContext.runAsUser: 0, without capabilities.drop: [ALL]",
    )


def _may_administer(facts: MachineFacts) -> bool:
    return bool(facts.capabilities >> CAP_SYS_ADMIN & 1)


def _lines(calls: str) -> tuple[str, ...]:
    return tuple(line.format(calls=calls) for line in _CONTAINER_SECCOMP)
