"""Makes the directory of a session's packages its own: its functions run in sessions and in programs that they start.

A session begins with a link to its worker's environment. The first one that could install something replaces that by
a copy. Two processes may do so at the same time, so the copy is made aside, and moved to its place: one of them wins,
and both then change the link, to the same target.

The environment has a copy of this file, which every interpreter that is started in a session runs. It imports nothing
that an interpreter has not imported when it does so, and the functions get the module `os` of their caller.
"""

TYPE_CHECKING = False  # importing it would take longer than everything else here
if TYPE_CHECKING:
    from typing import Any

SUFFIX = ".own"
HOOK = "aaa_make_own.pth"  # the first one: those after it are read from the copy
SOURCE = "make_own.py"  # below the root of the environment


def make_own(root: str, os: "Any") -> None:
    """Replace a link to a worker's environment by one to a copy of it, next to it. Raises OSError.

    Anything else than such a link remains as it is.
    """
    own = root + SUFFIX
    if not os.path.islink(root) or os.readlink(root) == os.path.basename(own):
        return
    made = f"{own}-{os.getpid()}"
    _copy(os.readlink(root), made, os)
    try:
        os.rename(made, own)
    except OSError:
        if not os.path.isdir(own):
            raise
        _remove(made, os)
    link = f"{made}.link"
    os.symlink(os.path.basename(own), link)
    os.rename(link, root)


def _copy(source: str, target: str, os: "Any") -> None:
    os.mkdir(target, 0o700)
    for name in os.listdir(source):
        path, copy = f"{source}/{name}", f"{target}/{name}"
        if os.path.islink(path):
            os.symlink(os.readlink(path), copy)
        elif os.path.isdir(path):
            _copy(path, copy, os)
        elif name not in {HOOK, SOURCE}:
            _copy_file(path, copy, os)


def _copy_file(source: str, target: str, os: "Any") -> None:
    read = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    mode = 0o700 if os.fstat(read).st_mode & 0o100 else 0o600  # other users of the machine need none of it
    write = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    os.write(write, os.read(read, os.fstat(read).st_size))
    os.close(write)
    os.close(read)


def _remove(directory: str, os: "Any") -> None:
    for place, folders, files in os.walk(directory, topdown=False):
        for name in files:
            os.unlink(f"{place}/{name}")
        for name in folders:
            os.rmdir(f"{place}/{name}")
    os.rmdir(directory)
