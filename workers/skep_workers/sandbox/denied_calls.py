"""The system calls that fail in a sandbox: what a session never needs and an attack on its neighbours does.

The list names what is denied, so that a library meets no surprise on a newer kernel. Landlock covers files, signals and
tracing. This covers what Landlock does not: sockets of any network, System V memory and queues (which have no paths),
and other processes' priorities and limits (the worker and all its sessions are the same user).

Things that don't work:
- Denying `kill`: the filter sees a number, and can't distinguish a session's own child from another session.
- Denying `chmod`, `chown` and `utime`, which Landlock permits everywhere: copying a file with its mode needs them.
- EPERM for `clone3`: its arguments are in memory, which a filter can't read. With ENOSYS the C library uses `clone`.
"""

import errno
import socket
from typing import Final

from skep_shared.isolation.network import Network
from skep_workers.sandbox.kernel.seccomp import Comparison, Condition, Denial

_NEW_NAMESPACES: Final = (
    0x0002_0000  # CLONE_NEWNS
    | 0x0200_0000  # CLONE_NEWCGROUP
    | 0x0400_0000  # CLONE_NEWUTS
    | 0x0800_0000  # CLONE_NEWIPC
    | 0x1000_0000  # CLONE_NEWUSER
    | 0x2000_0000  # CLONE_NEWPID
    | 0x4000_0000  # CLONE_NEWNET
)
_CLONE_NEWTIME: Final = 0x80  # of `unshare` only; in `clone` these bits are the child's exit signal
_USER_MODE_ONLY: Final = 1  # UFFD_USER_MODE_ONLY: faults of the kernel itself can't be held up with it
_TYPE_BITS: Final = 0xF  # of the second argument of `socket`; the others are flags
_FAST_OPEN: Final = 0x2000_0000  # MSG_FASTOPEN
_FLAGS_OF_SENDING: Final = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}  # the argument with the flags
_TERMINAL_INPUT: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: type into a terminal

_ALWAYS: Final = (
    # File systems and roots.
    "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig",
    "fsmount", "fspick", "mount_setattr", "open_by_handle_at", "quotactl", "quotactl_fd", "fanotify_init",
    "setns",
    # Shows the names of files in directories that can't be listed, such as other sessions' shared memory.
    "inotify_add_watch",
    # Parts of the kernel that have had many holes, and that sessions don't use.
    "bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key",
    "keyctl",
    # The machine. As root without capabilities most of these fail anyway.
    "acct", "clock_adjtime", "clock_settime", "delete_module", "finit_module", "init_module", "ioperm", "iopl",
    "kexec_file_load", "kexec_load", "reboot", "setdomainname", "sethostname", "settimeofday", "swapoff", "swapon",
    "syslog", "vhangup",
    # Memory, semaphores and queues that all processes of this user find by a number.
    "msgctl", "msgget", "msgrcv", "msgsnd", "mq_open", "mq_unlink", "semctl", "semget", "semop", "semtimedop", "shmat",
    "shmctl", "shmget",
)  # fmt: skip
_OF_OTHER_PROCESSES: Final = {  # the argument that is a process
    "prlimit64": 0, "sched_setaffinity": 0, "sched_setattr": 0, "sched_setparam": 0, "sched_setscheduler": 0,
    "ioprio_set": 1, "setpriority": 1,
}  # fmt: skip
_OF_A_USER: Final = {"ioprio_set": 3, "setpriority": 2}  # IOPRIO_WHO_USER, PRIO_USER: all processes of this user


# What tiers with namespaces permit: it concerns a session's own part of the machine only.
_HARMLESS_IN_NAMESPACES: Final = frozenset({
    "inotify_add_watch",
    "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmget",
})  # fmt: skip
# What these tiers need themselves before they run code of a session.
_FOR_NAMESPACES: Final = frozenset({"clone", "mount", "move_mount", "open_tree", "setns", "unshare"})


def denials_in_namespaces() -> list[Denial]:
    """Return what is denied to every session in tiers with namespaces, except what these tiers need themselves."""
    without = _HARMLESS_IN_NAMESPACES | _FOR_NAMESPACES
    return [denial for denial in basic_denials() if denial.name not in without]


def denials_after_mounts() -> list[Denial]:
    """Return the rest of what is denied in these tiers."""
    return [denial for denial in basic_denials() if denial.name in _FOR_NAMESPACES]


def basic_denials() -> list[Denial]:
    """Return what is denied to every session in tier `basic`, whatever its network is."""
    namespaces = Condition(0, Comparison.ANY_BIT, _NEW_NAMESPACES)
    return [
        *(Denial(name) for name in _ALWAYS),
        Denial("clone", errno.EPERM, (namespaces,)),
        Denial("clone3", errno.ENOSYS),
        Denial("unshare", errno.EPERM, (Condition(0, Comparison.ANY_BIT, _NEW_NAMESPACES | _CLONE_NEWTIME),)),
        Denial("socketpair", errno.EACCES, (_is_not(0, socket.AF_UNIX),)),
        Denial("userfaultfd", errno.EPERM, (Condition(0, Comparison.NO_BIT, _USER_MODE_ONLY),)),
        *(Denial("ioctl", errno.EPERM, (Condition(1, Comparison.EQUAL, request),)) for request in _TERMINAL_INPUT),
    ]


def network_denials(network: Network) -> list[Denial]:
    """Return which sockets are denied to a session with this network.

    With an allow-list, sockets of TCP are passed on to the proxy, which makes them (see proxy/socket_supply.py).
    """
    if network is Network.NONE:
        return [_denial_of_families(socket.AF_UNIX)]
    if network is Network.HOST:
        # The C library asks for the machine's addresses by netlink; its other protocols configure the machine.
        other_netlink = (Condition(0, Comparison.EQUAL, socket.AF_NETLINK), _is_not(2, 0))
        families = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
        return [_denial_of_families(*families), Denial("socket", errno.EACCES, other_netlink)]
    is_internet = Condition(0, Comparison.EQUAL, socket.AF_INET)
    not_stream = Condition(1, Comparison.ANY_BIT, _TYPE_BITS & ~socket.SOCK_STREAM)
    return [
        _denial_of_families(socket.AF_UNIX, socket.AF_INET),
        Denial("socket", errno.EACCES, (is_internet, not_stream)),
        # Landlock's rules for TCP do not cover other protocols, such as multipath TCP.
        Denial("socket", errno.EACCES, (is_internet, _is_not(2, 0), _is_not(2, socket.IPPROTO_TCP))),
        Denial("socket", conditions=(is_internet,), is_passed_on=True),
        # Connects while sending, which Landlock does not see (measured on Linux 6.18).
        *(
            Denial(name, errno.EOPNOTSUPP, (Condition(argument, Comparison.ANY_BIT, _FAST_OPEN),))
            for name, argument in _FLAGS_OF_SENDING.items()
        ),
    ]


def _denial_of_families(*permitted: int) -> Denial:
    return Denial("socket", errno.EACCES, tuple(_is_not(0, family) for family in permitted))


def denials_of_other_processes(pid: int) -> list[Denial]:
    """Return denials of changes of priorities and limits, except a process's own, named by 0 or by this pid.

    The ids of other threads are not known in advance, so a thread can't be bound to a processor by its id.
    """
    others = [
        Denial(name, errno.EPERM, (_is_not(argument, 0), _is_not(argument, pid)))
        for name, argument in _OF_OTHER_PROCESSES.items()
    ]
    users = [Denial(name, errno.EPERM, (Condition(0, Comparison.EQUAL, which),)) for name, which in _OF_A_USER.items()]
    return others + users


def _is_not(argument: int, value: int) -> Condition:
    return Condition(argument, Comparison.NOT_EQUAL, value)
