"""The environment that all sessions of a worker begin with: a virtual environment on top of the worker's packages.

It has no packages of its own. It has what makes an interpreter use it: `pyvenv.cfg` next to a link to Python, and a
`.pth` file that adds the worker's packages behind those of the environment. The zygote makes it once, and no session
changes it: a session that installs something makes a copy of it first, see own_copy.py.
"""

import site
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from skep_shared.originals import os, read_file
from skep_workers.session.packages import own_copy

VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBRARY: Final = f"lib/python{VERSION}/site-packages"
PYTHONS: Final = ("python", "python3")
WORKER_PACKAGES_FILE: Final = "zzz_worker_packages.pth"  # the last one: the session's own .pth files come first
PATH_FILES: Final = frozenset({own_copy.HOOK, WORKER_PACKAGES_FILE})  # the .pth files that are no package's
_PIPS: Final = ("pip", "pip3")


def _find_worker_packages() -> list[str]:
    """Return the directories of the worker's packages."""
    places = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    return [place for place in places if place in sys.path or os.path.isdir(place)]


WORKER_PACKAGES: Final = _find_worker_packages()
_INTERPRETER: Final = os.path.realpath(sys.executable)
_CONFIGURATION: Final = (
    f"home = {os.path.dirname(_INTERPRETER)}\ninclude-system-site-packages = false\nversion = {VERSION}\n"
)
_ADDING: Final = "".join(f"import site; site.addsitedir({place!r})\n" for place in WORKER_PACKAGES)
# An interpreter goes on with the environment itself if there is no room for a copy.
_COPYING: Final = f"import sys; exec(open(sys.prefix + '/{own_copy.SOURCE}').read(), {{}})\n"
_COPY_CALL: Final = """
import contextlib, os, sys
with contextlib.suppress(OSError):
    make_own(sys.prefix, os)
"""
# By the name that it was called with: the environment is found by a link of each session.
_RUNNING: Final = """#!/bin/sh
tools=${0%/*}
exec "${tools%/*}/bin/python" -m pip "$@"
"""
_REFUSING: Final = "#!/bin/sh\necho 'ERROR: {0}' >&2\nexit 1\n"


def make_environment(root: str, index: Mapping[str, str], refusal: str = "") -> None:
    """Make the environment, or make it again. Raises OSError.

    index: settings of pip. refusal: what the command pip prints instead of running; '': it runs.
    """
    library = f"{root}/{LIBRARY}"
    for directory in (f"{root}/bin", f"{root}/tools", library):
        os.makedirs(directory, 0o700, exist_ok=True)
    for name in PYTHONS:
        _link(_INTERPRETER, f"{root}/bin/{name}")
    _write(f"{root}/pyvenv.cfg", _CONFIGURATION)
    _write(f"{root}/pip.conf", _pip_configuration(index))
    _write(f"{root}/{own_copy.SOURCE}", read_file(own_copy.__file__).decode() + _COPY_CALL)
    _write(f"{library}/{own_copy.HOOK}", _COPYING)
    _write(f"{library}/{WORKER_PACKAGES_FILE}", _ADDING)
    command, *others = _PIPS
    _write(f"{root}/tools/{command}", _REFUSING.format(refusal) if refusal else _RUNNING, 0o700)
    for name in others:
        _link(command, f"{root}/tools/{name}")


def is_of_environment(path: str) -> bool:
    """Return whether a path below the root is made by `make_environment`, and so in every session's directory."""
    folder, _, name = path.rpartition("/")
    if folder in {"", "tools"}:
        return name in {"pyvenv.cfg", "pip.conf", *_PIPS}
    return (folder == "bin" and name in PYTHONS) or name in PATH_FILES


def _pip_configuration(index: Mapping[str, str]) -> str:
    """Return pip.conf: the settings of the operator, and no cache, since sessions must not write to a common one."""
    settings = {"disable-pip-version-check": "true", "no-cache-dir": "true", **index}
    lines = [f"{name} = {' '.join(value.split())}" for name, value in settings.items()]
    return "\n".join(["[global]", *lines, "[install]", "user = false", ""])


def _link(target: str, path: str) -> None:
    with suppress(FileExistsError):
        os.symlink(target, path)


def _write(path: str, text: str, mode: int = 0o600) -> None:
    """Write a file, which only the worker's user can read: pip.conf may hold a password."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
