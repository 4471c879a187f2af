"""Mounts, by the calls that take descriptors: a part of the file system is copied, changed, and attached elsewhere.

These calls are in Linux since 5.2, `mount_setattr` since 5.12: every kernel with Landlock has them. Only a process that
is in a mount namespace of its own may call `attach`, `mount_memory`, `mount_processes` and `change_root`.

See mount_setattr(2), linux/mount.h and linux/fcntl.h.
"""

import ctypes
import errno
import os
from struct import Struct
from typing import Final

from skep_workers.sandbox.kernel.system_calls import call

READ_ONLY: Final = 1 << 0  # MOUNT_ATTR_…
NO_SET_USER_ID: Final = 1 << 1
NO_DEVICES: Final = 1 << 2
NO_PROGRAMS: Final = 1 << 3
_HERE: Final = -100  # AT_FDCWD
_EMPTY_PATH: Final = 0x1000  # AT_EMPTY_PATH
_RECURSIVE: Final = 0x8000  # AT_RECURSIVE
_CLONE: Final = 1 | os.O_CLOEXEC  # OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC
_FROM_DESCRIPTOR: Final = 4  # MOVE_MOUNT_F_EMPTY_PATH
_DETACH: Final = 2  # MNT_DETACH
_MS_NOSUID: Final = 1 << 1
_MS_NODEV: Final = 1 << 2
_MS_NOEXEC: Final = 1 << 3
_ATTRIBUTES: Final = Struct("=QQQQ")  # struct mount_attr: to set, to clear, propagation, user namespace
# Made before the fork, which then writes to less memory.
_PATH_BYTES: Final = 4096  # PATH_MAX
_PATH: Final = ctypes.create_string_buffer(_PATH_BYTES)
_EMPTY: Final = ctypes.create_string_buffer(b"")
_NONE: Final = ctypes.create_string_buffer(b"none")
_MEMORY: Final = ctypes.create_string_buffer(b"tmpfs")
_PROCESSES: Final = ctypes.create_string_buffer(b"proc")
# Processes that the reader can't trace are not shown: the first one of the namespace has the zygote's arguments. With 2
# instead of 4, members of group 0 would see them.
_OWN_ONLY: Final = ctypes.create_string_buffer(b"hidepid=4")


def copy_tree(path: str, attributes: int = 0, *, is_recursive: bool = False) -> int:
    """Return the descriptor of a copy of the mount at a path, or of a part of it; it is attached nowhere yet.

    attributes: set for the copy. is_recursive: with the mounts below. Raises OSError.
    """
    text = _put(path)
    depth = _RECURSIVE if is_recursive else 0
    tree = call("open_tree", _HERE, ctypes.addressof(text), _CLONE | depth)
    if attributes:
        try:
            _set_attributes(tree, _EMPTY, _EMPTY_PATH | depth, attributes)
        except OSError:
            os.close(tree)
            raise
    return tree


def set_attributes(path: str, attributes: int) -> None:
    """Set attributes of the mount at a path. Raises OSError."""
    _set_attributes(_HERE, text_of(path), 0, attributes)


def _set_attributes(directory: int, path: "ctypes.Array[ctypes.c_char]", flags: int, attributes: int) -> None:
    packed = ctypes.create_string_buffer(_ATTRIBUTES.pack(attributes, 0, 0, 0), _ATTRIBUTES.size)
    call("mount_setattr", directory, ctypes.addressof(path), flags, ctypes.addressof(packed), _ATTRIBUTES.size)


def attach(tree: int, target: str) -> None:
    """Attach the copy of a mount at a path, and close its descriptor. Raises OSError."""
    text = _put(target)
    try:
        call("move_mount", tree, ctypes.addressof(_EMPTY), _HERE, ctypes.addressof(text), _FROM_DESCRIPTOR)
    finally:
        os.close(tree)


def mount_memory(target: str, options: "ctypes.Array[ctypes.c_char]") -> None:
    """Mount an empty file system in memory, with options as in tmpfs(5), see `text_of`. Raises OSError."""
    _mount(_MEMORY, target, _MS_NOSUID | _MS_NODEV, options)


def mount_own_processes(target: str) -> None:
    """Mount a /proc of this process's pid namespace, without the processes that the reader can't trace."""
    _mount(_PROCESSES, target, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, _OWN_ONLY)


def change_root() -> None:
    """Make the working directory, which is a mount, the root of this mount namespace; detach the old one."""
    dot = text_of(".")
    call("pivot_root", ctypes.addressof(dot), ctypes.addressof(dot))
    call("umount2", ctypes.addressof(dot), _DETACH)  # the old root, which is now on top of the new one
    os.chdir("/")


def _mount(
    kind: "ctypes.Array[ctypes.c_char]", target: str, flags: int, options: "ctypes.Array[ctypes.c_char]"
) -> None:
    text = _put(target)
    addresses = ctypes.addressof(_NONE), ctypes.addressof(text), ctypes.addressof(kind)
    call("mount", *addresses, flags, ctypes.addressof(options))


def text_of(text: str) -> "ctypes.Array[ctypes.c_char]":
    """Return a text as the kernel reads it. In a fork this would make a new type for each length, and take memory."""
    return ctypes.create_string_buffer(os.fsencode(text))


def _put(path: str) -> "ctypes.Array[ctypes.c_char]":
    """Return the one buffer for paths, which then contains this path. Raises OSError."""
    encoded = os.fsencode(path)
    if len(encoded) >= _PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, f"{path}: {os.strerror(errno.ENAMETOOLONG)}")
    _PATH.value = encoded
    return _PATH
