"""Namespaces and mounts. A mount is only made in a mount namespace of the process's own, never in the machine's."""

import ctypes
import os
from pathlib import Path
from typing import Final

from skep_workers.sandbox.kernel.system_calls import call

NEW_MOUNTS: Final = 0x0002_0000  # CLONE_NEWNS
NEW_HOST_NAME: Final = 0x0400_0000  # CLONE_NEWUTS
NEW_IPC: Final = 0x0800_0000  # CLONE_NEWIPC
NEW_USERS: Final = 0x1000_0000  # CLONE_NEWUSER
NEW_PIDS: Final = 0x2000_0000  # CLONE_NEWPID; for the next child
NEW_NETWORK: Final = 0x4000_0000  # CLONE_NEWNET
_MS_NOSUID: Final = 1 << 1
_MS_NODEV: Final = 1 << 2
_MS_NOEXEC: Final = 1 << 3
_MS_REC: Final = 1 << 14
_MS_PRIVATE: Final = 1 << 18
_MS_SLAVE: Final = 1 << 19
_OWN_MOUNTS: Final = Path("/proc/self/ns/mnt")


def unshare(kinds: int) -> None:
    """Move this process to new namespaces of these kinds. Raises OSError."""
    call("unshare", kinds)


def join_namespace(descriptor: int, kind: int) -> None:
    """Move this process, or for NEW_PIDS its next children, to a namespace of this kind. Raises OSError."""
    call("setns", descriptor, kind)


def unshare_mounts(kinds: int = 0, *, follows: bool = False) -> None:
    """Move this process to a private mount namespace, and to new namespaces of these kinds. Raises OSError.

    follows: what is mounted and unmounted later in the namespace that it was copied from, is so here too.
    """
    before = _OWN_MOUNTS.readlink()
    unshare(NEW_MOUNTS | kinds)
    if _OWN_MOUNTS.readlink() == before:  # some sandboxes of others accept the call and do nothing
        raise OSError("unshare: the mount namespace is still the old one")
    # Otherwise mounts could spread to the namespace that it was copied from.
    _mount("none", "/", "", _MS_REC | (_MS_SLAVE if follows else _MS_PRIVATE))


def map_user(uid: int, gid: int, *, inside: tuple[int, int] = (0, 0)) -> None:
    """Map the user and group `inside` of this process's new user namespace to this user outside. Raises OSError."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside[0]} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside[1]} {gid} 1")


def mount_processes(target: str, outside: Path) -> None:
    """Mount /proc with the processes of this pid namespace only. `outside`: see `_check_private`. Raises OSError."""
    _check_private(outside)
    _mount("proc", target, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def mount_namespace() -> Path:
    """Return the identity of this process's mount namespace."""
    return _OWN_MOUNTS.readlink()


def _check_private(outside: Path) -> None:
    """Raise RuntimeError if this process is still in the mount namespace `outside`: the mount would be everybody's."""
    if not _OWN_MOUNTS.exists() or _OWN_MOUNTS.readlink() == outside:
        raise RuntimeError("a mount was about to be made in the machine's own mount namespace")


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    texts = [ctypes.create_string_buffer(os.fsencode(text)) for text in (source, target, kind)]
    call("mount", *map(ctypes.addressof, texts), flags, 0)
