"""Landlock: a process gives up rights to files, TCP, signals and abstract sockets, for itself and its descendants.

A ruleset lists what is still permitted below which directories; every other path is denied what the ruleset handles.
Later kernels handle more, see `ABI`; what this kernel doesn't handle stays permitted. Landlock never restricts `stat`,
`chdir`, changing modes, owners, times and attributes, UDP, or connecting to a socket that has a path. A restricted
process can only trace, and look into, processes that are restricted in the same way or more.

See landlock(7) and linux/landlock.h.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

from skep_workers.sandbox.kernel.system_calls import call

_VERSION: Final = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH: Final = 1  # LANDLOCK_RULE_PATH_BENEATH
_NET_PORT: Final = 2  # LANDLOCK_RULE_NET_PORT
_RULE: Final = Struct("=Qi")  # struct landlock_path_beneath_attr: permitted rights, descriptor
_PORT_RULE: Final = Struct("=QQ")  # struct landlock_net_port_attr: permitted rights, port
_CONNECT_TCP: Final = 1 << 1  # LANDLOCK_ACCESS_NET_CONNECT_TCP
_TCP: Final = 1 << 0 | _CONNECT_TCP  # LANDLOCK_ACCESS_NET_BIND_TCP
_SCOPES: Final = 1 << 0 | 1 << 1  # LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, _SIGNAL


class ABI(IntEnum):
    """The version of the kernel's Landlock from which on it handles something."""

    FILES = 1
    REFER = 2
    TRUNCATE = 3
    TCP = 4
    DEVICES = 5
    SCOPES = 6  # signals and abstract sockets


class Right(IntFlag):
    """What may be done with files; the kernel's LANDLOCK_ACCESS_FS_… flags."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


FILE_RIGHTS: Final = (
    Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
)  # the others are about directories
_NEWER: Final = ((ABI.REFER, Right.REFER), (ABI.TRUNCATE, Right.TRUNCATE), (ABI.DEVICES, Right.IOCTL_DEV))


@dataclass(frozen=True, slots=True)
class PathRule:
    """Rights to a file, or to a directory and everything below it."""

    path: str
    rights: Right


def abi_version() -> int:
    """Return the version of this kernel's Landlock, 0 if it has none. Raises OSError for other failures."""
    try:
        return call("landlock_create_ruleset", 0, 0, _VERSION)
    except OSError as exc:
        if exc.errno in {errno.ENOSYS, errno.EOPNOTSUPP}:
            return 0
        raise


def handled_rights(abi: int) -> Right:
    """Return the rights to files that this version handles."""
    handled = Right(sum(Right))
    for version, right in _NEWER:
        if abi < version:
            handled &= ~right
    return handled


class RulesetPlan:
    """Everything about a ruleset that is known before a fork, which then only makes the system calls.

    The rules are one piece of memory, without objects: a fork that reads many objects has to copy the memory of each,
    and computing with flags in the fork took as long as all the system calls.
    """

    def __init__(
        self, common: Iterable[tuple[int, Right]], own: Right, abi: int, *, restricts_tcp: bool = True
    ) -> None:
        """Handle everything that this version can.

        common: open files and directories (O_PATH is enough) with their rights. own: the rights to those added later.
        restricts_tcp: permit no port that isn't added later; otherwise every port may be bound and connected to.
        """
        handled = handled_rights(abi)
        attributes = [int(handled)]
        if abi >= ABI.TCP:
            attributes.append(_TCP if restricts_tcp else 0)
        if abi >= ABI.SCOPES:
            attributes.append(_SCOPES)
        self._attributes = (ctypes.c_uint64 * len(attributes))(*attributes)
        packed = b"".join(_RULE.pack(rights & handled, opened) for opened, rights in common)
        self._common = ctypes.create_string_buffer(packed, len(packed))
        self._own_rights = int(own & handled)
        self._rule = ctypes.create_string_buffer(_RULE.size)

    def make(self, own: Iterable[int], ports: Iterable[int] = ()) -> int:
        """Return the descriptor of a new ruleset, with the rules for these open directories too. Raises OSError.

        ports: that may be connected to, on every machine. Landlock has no rules about addresses.
        """
        attributes = self._attributes
        ruleset = call("landlock_create_ruleset", ctypes.addressof(attributes), ctypes.sizeof(attributes), 0)
        start = ctypes.addressof(self._common)
        for address in range(start, start + len(self._common), _RULE.size):
            call("landlock_add_rule", ruleset, _PATH_BENEATH, address, 0)
        for opened in own:
            _RULE.pack_into(self._rule, 0, self._own_rights, opened)
            call("landlock_add_rule", ruleset, _PATH_BENEATH, ctypes.addressof(self._rule), 0)
        for port in ports:
            rule = ctypes.create_string_buffer(_PORT_RULE.pack(_CONNECT_TCP, port), _PORT_RULE.size)
            call("landlock_add_rule", ruleset, _NET_PORT, ctypes.addressof(rule), 0)
        return ruleset


def restrict_to(ruleset: int) -> None:
    """Restrict the calling thread and its future children; it must have no new privileges. Raises OSError."""
    call("landlock_restrict_self", ruleset, 0)


def open_rule(rule: PathRule) -> tuple[int, Right] | None:
    """Open the path of a rule; return it with the rights that its kind of file can have, None if it doesn't exist."""
    try:
        opened = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    is_directory = stat.S_ISDIR(os.fstat(opened).st_mode)
    return opened, rule.rights if is_directory else rule.rights & FILE_RIGHTS
