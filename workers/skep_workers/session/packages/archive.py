"""The stored form of a directory of packages: the contents of its files one after the other, then a list of them.

One sequence of bytes, because a manifest that named thousands of files would be written after every cell. The files
are in the order of their times: packages that are installed later are added at the end, and the chunks before stay the
same. Bytecode is left out, and so is what every session's
directory has.

The list is msgpack: the root, and for each entry its path below that, its kind ("file", "directory" or "link"), mode,
time of its last change in ns, size, and the target of a link. The last eight bytes are the length of the list.
"""

import mmap
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgpack

from skep_shared.originals import os
from skep_workers.session.packages.directory import PackageDirectory
from skep_workers.session.packages.environment import is_of_environment

LENGTH_BYTES: Final = 8
MOST_ENTRIES: Final = 100_000
SCRIPT_HEAD_BYTES: Final = 1024  # of a console script, with the path of its interpreter
_BYTECODE: Final = "__pycache__"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class TooLarge(Exception):
    """The packages have more bytes or files than are saved; the text says how many."""


class _Found(NamedTuple):
    path: str
    kind: str
    mode: int
    modified_ns: int
    size: int
    target: str


def pack(directory: PackageDirectory, quota_bytes: int, use: Callable[[memoryview], None]) -> None:
    """Call `use` with the stored form, which is gone afterwards. Raises TooLarge, and OSError if a file changes."""
    entries = _entries(directory, quota_bytes)
    scratch = os.path.join(directory.root, ".archive")
    with suppress(FileNotFoundError):
        os.unlink(scratch)
    descriptor = os.open(scratch, _NEW & ~os.O_WRONLY | os.O_RDWR, 0o600)
    try:
        os.unlink(scratch)
        for entry in entries:
            if entry.kind == "file":
                _append(descriptor, os.path.join(directory.root, entry.path), entry.size)
        index: bytes = msgpack.packb([directory.root, [[*entry] for entry in entries]], unicode_errors="surrogatepass")
        _write_all(descriptor, index + len(index).to_bytes(LENGTH_BYTES, "big"))
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
            use(view)
    finally:
        os.close(descriptor)


def unpack(directory: PackageDirectory, stored: memoryview) -> None:
    """Write the packages into a directory that has none. Raises OSError, ValueError for another form."""
    length = int.from_bytes(stored[-LENGTH_BYTES:], "big")
    contents = len(stored) - LENGTH_BYTES - length
    if contents < 0:
        raise ValueError(f"the list of the stored packages has {length} bytes, and there are {len(stored)} in all")
    root, rows = msgpack.unpackb(stored[contents:-LENGTH_BYTES], unicode_errors="surrogatepass")
    start = 0
    for row in rows:
        entry = _Found(*row)
        if not _is_inside(entry.path):
            raise ValueError(f"{entry.path!r} is not below the directory of packages")
        size = entry.size if entry.kind == "file" else 0
        content, start = stored[start : start + size], start + size
        if not is_of_environment(entry.path):
            _make(directory, entry, _relocated(entry, content, str(root), directory.root))


def _entries(directory: PackageDirectory, quota_bytes: int) -> list[_Found]:
    """Return what is to be stored: directories first, then files in the order of their times. Raises TooLarge."""
    found: list[_Found] = []
    total = 0
    for entry in _walk(directory, ""):
        found.append(entry)
        total += entry.size
        if len(found) > MOST_ENTRIES:
            raise TooLarge(f"they have more than {MOST_ENTRIES} files")
    if total > quota_bytes:
        raise TooLarge(f"they have {total} bytes, and the quota is {quota_bytes} (SKEP_PACKAGES_BYTES)")
    return sorted(found, key=lambda entry: (entry.kind != "directory", entry.modified_ns))


def _walk(directory: PackageDirectory, prefix: str) -> Iterator[_Found]:
    with os.scandir(os.path.join(directory.root, prefix)) as scanned:
        names = sorted(scanned, key=lambda entry: entry.name)
    for each in names:
        path = prefix + each.name
        if each.name == _BYTECODE or is_of_environment(path):
            continue
        status = each.stat(follow_symlinks=False)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            yield _Found(path, "directory", mode, 0, 0, "")
            yield from _walk(directory, f"{path}/")
        elif stat.S_ISLNK(status.st_mode):
            yield _Found(path, "link", 0, 0, 0, os.readlink(each.path))
        elif stat.S_ISREG(status.st_mode):
            yield _Found(path, "file", mode, status.st_mtime_ns, status.st_size, "")


def _append(descriptor: int, path: str, size: int) -> None:
    source = os.open(path, _READ)
    try:
        left = size
        while left and (copied := os.sendfile(descriptor, source, None, left)):
            left -= copied
        if left or os.read(source, 1):
            raise OSError(f"{path} has changed while it was saved")
    finally:
        os.close(source)


def _make(directory: PackageDirectory, entry: _Found, content: bytes | memoryview) -> None:
    place = os.path.join(directory.root, entry.path)
    if entry.kind == "directory":
        with suppress(FileExistsError):
            os.mkdir(place)
        os.chmod(place, entry.mode | stat.S_IRWXU)
    elif entry.kind == "link":
        os.symlink(entry.target, place)
    else:
        descriptor = os.open(place, _NEW, 0o600)
        try:
            _write_all(descriptor, content)
            os.fchmod(descriptor, entry.mode)
            os.utime(descriptor, ns=(entry.modified_ns, entry.modified_ns))
        finally:
            os.close(descriptor)


def _relocated(entry: _Found, content: memoryview, before: str, after: str) -> bytes | memoryview:
    """Return the content of a file; a console script that names the interpreter of another session names ours."""
    is_script = entry.path.startswith("bin/") and before != after and bytes(content[:2]) == b"#!"
    if not is_script:
        return content
    head = bytes(content[:SCRIPT_HEAD_BYTES])
    return head.replace(f"{before}/bin/".encode(), f"{after}/bin/".encode()) + content[SCRIPT_HEAD_BYTES:]


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view: Any = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _is_inside(path: Any) -> bool:
    return (
        isinstance(path, str)
        and bool(path)
        and not path.startswith("/")
        and all(part not in {"", ".", ".."} for part in path.split("/"))
    )
