"""Run a command as in a container of an engine's defaults, as far as a process can be put there by hand.

python -m tests.session.escape.container COMMAND …

Needs root, and Linux 5.13. The command has no capabilities and can't gain any, has the system calls that the default
seccomp profile of Docker and containerd leaves to a container without capabilities, and a private mount namespace: all
read-only, without a writable cgroup, except /proc and empty file systems at /tmp and /dev/shm. It keeps the user, the
processes and the network of its caller, whose Python may be readable for root only. Nothing is mounted on the machine.

The profile: https://github.com/moby/profiles/blob/main/seccomp/default.json. What it permits for a capability is denied
here, like everything that it doesn't name. Calls that skep's own filter has no number for are left out: they are older
ones that current kernels refuse, and NUMA calls.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Final

from skep_workers.sandbox.kernel.mounts import mount_memory, text_of
from skep_workers.sandbox.kernel.namespaces import mount_namespace, unshare_mounts
from skep_workers.sandbox.kernel.privileges import drop_capabilities, give_up_new_privileges, limit_capabilities
from skep_workers.sandbox.kernel.seccomp import Comparison, Condition, Denial, build_filter, install_filter
from skep_workers.sandbox.kernel.system_calls import call

_DENIED: Final = (
    "acct", "add_key", "bpf", "chroot", "clock_settime", "delete_module", "fanotify_init", "finit_module", "fsconfig",
    "fsmount", "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm", "iopl",
    "kexec_file_load", "kexec_load", "keyctl", "mount", "mount_setattr", "move_mount", "open_by_handle_at", "open_tree",
    "perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname", "sethostname",
    "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd", "vhangup",
)  # fmt: skip
_NEW_NAMESPACES: Final = 0x7E020000
_AT_FDCWD: Final = -100
_RECURSIVE: Final = 0x8000  # AT_RECURSIVE
_READ_ONLY: Final = 1  # MOUNT_ATTR_RDONLY
_ATTRIBUTES: Final = struct.Struct("=QQQQ")  # struct mount_attr: set, clear, propagation, userns_fd
_BIND: Final = 1 << 12  # MS_BIND


def enter() -> None:
    """Put this process there. Raises OSError."""
    outside = mount_namespace()
    unshare_mounts()
    if mount_namespace() == outside:
        raise RuntimeError("mounts were about to be made in the machine's own mount namespace")
    _set_read_only("/", recursive=True)
    _set_read_only("/proc", is_on=False)
    _bind_to_itself("/proc/sys")
    _set_read_only("/proc/sys")
    for directory in ("/tmp", "/dev/shm"):  # noqa: S108 - of this mount namespace
        mount_memory(directory, text_of("mode=1777"))
    limit_capabilities()
    drop_capabilities()
    give_up_new_privileges()
    install_filter(build_filter(denials()))


def denials() -> list[Denial]:
    """Return what the default profile denies to a container without capabilities."""
    return [
        *(Denial(name) for name in _DENIED),
        Denial("clone", errno.EPERM, (Condition(0, Comparison.ANY_BIT, _NEW_NAMESPACES),)),
        Denial("clone3", errno.ENOSYS),
        Denial("socket", errno.EPERM, (Condition(0, Comparison.EQUAL, socket.AF_VSOCK),)),
    ]


def _set_read_only(path: str, *, recursive: bool = False, is_on: bool = True) -> None:
    packed = _ATTRIBUTES.pack(_READ_ONLY if is_on else 0, 0 if is_on else _READ_ONLY, 0, 0)
    name, attributes = ctypes.create_string_buffer(path.encode()), ctypes.create_string_buffer(packed, len(packed))
    flags = _RECURSIVE if recursive else 0
    call("mount_setattr", _AT_FDCWD, ctypes.addressof(name), flags, ctypes.addressof(attributes), len(packed))


def _bind_to_itself(path: str) -> None:
    name = ctypes.create_string_buffer(path.encode())
    call("mount", ctypes.addressof(name), ctypes.addressof(name), 0, _BIND, 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit((__doc__ or "").split("\n\n")[1])
    enter()
    os.environ |= {"TMPDIR": "/tmp", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: S108
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - that is what this is for
