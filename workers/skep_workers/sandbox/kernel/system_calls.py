"""The numbers of the system calls that the sandbox makes or denies, and a way to make them.

The C library has no functions for most of them. Calls from 424 on have the same number on every machine.
"""

import ctypes
import errno
import os
import platform
from typing import Final

MACHINE: Final = platform.machine()

# name: (x86_64, aarch64); None: the machine doesn't have this call. See asm/unistd_64.h and asm-generic/unistd.h.
NUMBERS: Final[dict[str, tuple[int | None, int | None]]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "capset": (126, 91),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "inotify_add_watch": (254, 27),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioperm": (173, None),
    "iopl": (172, None),
    "ioprio_set": (251, 30),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "landlock_add_rule": (445, 445),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "msgctl": (71, 187),
    "msgget": (68, 186),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "seccomp": (317, 277),
    "semctl": (66, 191),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "settimeofday": (164, 170),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmget": (29, 194),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}

_MACHINES: Final = {"x86_64": 0, "aarch64": 1}
_MOST_ARGUMENTS: Final = 6
# Looked up now, so that a fork of this process needs no dynamic linker; not shared with other users of the C library.
# All calls go through this one object: a fork copies the memory of each object that it uses.
_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall: Final = _libc.syscall
_syscall.argtypes = (ctypes.c_long,) * (1 + _MOST_ARGUMENTS)
_syscall.restype = ctypes.c_long


def number_of(name: str) -> int | None:
    """Return the number of a system call on this machine, or None if the machine, or its call, is not known."""
    column = _MACHINES.get(MACHINE)
    return None if column is None else NUMBERS[name][column]


def call(name: str, *arguments: int) -> int:
    """Make a system call and return its result. An argument is a number or the address of memory. Raises OSError."""
    number = number_of(name)
    if number is None:
        reason = f"this machine ({MACHINE}) is not supported, only {' and '.join(_MACHINES)} are"
        raise OSError(errno.ENOSYS, f"{name}: {reason}")
    result: int = _syscall(number, *arguments, *(0,) * (_MOST_ARGUMENTS - len(arguments)))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def control_process(option: int, *arguments: int) -> int:
    """Call prctl(2) and return its result. Raises OSError."""
    return call("prctl", option, *arguments)
