"""The root directory of all sessions of a worker: in memory, with the machine's directories that they may read.

It is a mount namespace, made by a child of the zygote. The zygote itself stays where it is, since it works with files
of the machine; its forks join the namespace. Nothing in it can be changed, so they add mounts of their own to it, for
which there are empty directories.

Directories are shared with the machine. Files of /etc are copied: they are small, most of them are links to elsewhere,
and each of the thirty would otherwise be a mount, which the kernel copies for every session.

Things that don't work:
- Building it in the zygote, which then has to return: a process in a user namespace can't return to the machine's
  network.
- A part of /proc only, by its option `subset=pid`: psutil, OpenBLAS and joblib read /proc/meminfo and /proc/cpuinfo.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from skep_workers.sandbox.file_access import DEVICES, SHARED_MEMORY_DIRECTORY, outermost, readable_paths
from skep_workers.sandbox.kernel.mounts import (
    NO_DEVICES,
    NO_PROGRAMS,
    NO_SET_USER_ID,
    READ_ONLY,
    attach,
    change_root,
    copy_tree,
    mount_memory,
    set_attributes,
    text_of,
)
from skep_workers.sandbox.kernel.namespaces import unshare_mounts
from skep_workers.sandbox.policy import SandboxPolicy

OWN: Final = "/run/session"  # a session's own file system, see session_mounts.py
ENVIRONMENT: Final = "/run/environment"  # the Python environment that sessions begin with
TEMPORARY: Final = "/tmp"  # noqa: S108 - where programs expect it
PROCESSES: Final = "/proc"
ACCOUNTS: Final = ("passwd", "group")  # of /etc; the user of a session is added
_STAGING: Final = "/dev"  # exists everywhere, and what is in it is not needed once the root directory is built
_MOST_COPIED_BYTES: Final = 4 * 1024 * 1024
_CONFIGURATION: Final = ("/etc/", "/run/", "/var/run/")  # where the targets of links in /etc are, too
_MOST_LINKS: Final = 40  # as in the kernel
_SIZE: Final = "mode=755,size=64m"


def build_root(policy: SandboxPolicy, place: str, environment: str = "") -> None:
    """Move this process to a new mount namespace with the root directory of sessions. Raises OSError.

    place: the directory of the sessions' directories. environment: the directory to copy to ENVIRONMENT, if any.
    """
    unshare_mounts()
    names = readable_paths(policy)
    trees, copies = _gather(policy)
    links = dict(link for name in names for link in _links_on(name))
    opened = os.open(environment, os.O_PATH | os.O_DIRECTORY) if environment else None  # it may be below _STAGING
    mount_memory(_STAGING, text_of(_SIZE))
    os.chdir(_STAGING)
    for path in (OWN, TEMPORARY, PROCESSES, place):
        _make_directory(path)
    for path in sorted(trees):
        _attach(path, trees[path])
    for path, content in copies.items():
        _make_parent(path)
        _inside(path).write_bytes(content)
    if opened is not None:
        _copy_tree(Path(f"/proc/self/fd/{opened}"), _inside(ENVIRONMENT))
        os.close(opened)
    shared_memory = {SHARED_MEMORY_DIRECTORY: f"{OWN}/shm"}
    accounts = {f"/etc/{name}": f"{OWN}/{name}" for name in ACCOUNTS}
    descriptors = {"/dev/fd": "/proc/self/fd"} | {
        f"/dev/{name}": f"/proc/self/fd/{number}" for number, name in enumerate(("stdin", "stdout", "stderr"))
    }
    for path, target in (links | shared_memory | accounts | descriptors).items():
        _link(path, target)
    set_attributes(".", READ_ONLY | NO_SET_USER_ID | NO_DEVICES)
    change_root()


def shared_paths(policy: SandboxPolicy) -> list[str]:
    """Return the real paths of the machine's directories and files that sessions use, except devices and /proc."""
    return [path for path in _readable(policy) if not _is_copied(path)] + _writable(policy)


def _readable(policy: SandboxPolicy) -> list[str]:
    return [path for path in outermost(readable_paths(policy)) if path != PROCESSES and _kind(path)]


def _writable(policy: SandboxPolicy) -> list[str]:
    return [os.path.realpath(path) for path in policy.writable]


def _is_copied(path: str) -> bool:
    """Return whether a real path is that of a file that belongs to /etc; links of /etc may lead to /run or /var."""
    return path.startswith(_CONFIGURATION) and stat.S_ISREG(_kind(path))


def _gather(policy: SandboxPolicy) -> tuple[dict[str, int], dict[str, bytes]]:
    """Return copies of the mounts that sessions see, and the contents of files, each by its path."""
    read_only = READ_ONLY | NO_SET_USER_ID | NO_DEVICES
    trees: dict[str, int] = {}
    copies: dict[str, bytes] = {}
    for path in _readable(policy):
        if _is_copied(path):
            copies |= _content(path)
        else:
            trees[path] = copy_tree(path, read_only, is_recursive=True)
    for path in _writable(policy):
        trees[path] = copy_tree(path, NO_SET_USER_ID | NO_DEVICES, is_recursive=True)
    for path in DEVICES:
        trees[path] = copy_tree(path, NO_SET_USER_ID | NO_PROGRAMS)
    # A process in a user namespace may only mount a /proc where there is one.
    trees[PROCESSES] = copy_tree(PROCESSES, is_recursive=True)
    return trees, copies


def _kind(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except OSError:
        return 0


def _content(path: str) -> dict[str, bytes]:
    """Return the content of a file by its path; nothing if it can't be read, or is too large to be configuration."""
    try:
        file = Path(path)
        return {path: file.read_bytes()} if file.stat().st_size <= _MOST_COPIED_BYTES else {}
    except OSError:
        return {}


def _links_on(path: str) -> Iterator[tuple[str, str]]:
    """Yield the symbolic links on the way to a path, each with its target."""
    done, left = Path("/"), list(Path(path).parts[1:])
    links = 0
    while left and links < _MOST_LINKS:
        done /= left.pop(0)
        if done.is_symlink():
            target = os.readlink(done)  # noqa: PTH115 - as it is written
            yield str(done), target
            links += 1
            left = [*Path(os.path.normpath(done.parent / target)).parts[1:], *left]
            done = Path("/")


def _inside(path: str) -> Path:
    return Path(f".{path}")


def _make_directory(path: str) -> None:
    _inside(path).mkdir(mode=0o755, parents=True, exist_ok=True)


def _make_parent(path: str) -> None:
    _inside(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)


def _attach(path: str, tree: int) -> None:
    """Attach a tree at its path, for which a directory or a file is made."""
    target = _inside(path)
    if not target.exists():
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            _make_directory(path)
        else:
            _make_parent(path)
            target.touch()
    attach(tree, str(target))


def _copy_tree(source: Path, target: Path) -> None:
    """Copy a directory for sessions of other users: they may read it, and run what its owner may run."""
    target.mkdir(mode=0o755, parents=True)
    for each in source.iterdir():
        copy = target / each.name
        if each.is_symlink():
            copy.symlink_to(each.readlink())
        elif each.is_dir():
            _copy_tree(each, copy)
        else:
            copy.write_bytes(each.read_bytes())
            copy.chmod(0o755 if each.stat().st_mode & stat.S_IXUSR else 0o644)


def _link(path: str, target: str) -> None:
    """Make a symbolic link, unless the path is in a directory of the machine, or is there."""
    place = _inside(path)
    if place.is_symlink() or place.is_dir():
        return
    _make_parent(path)
    place.unlink(missing_ok=True)
    place.symlink_to(target)
