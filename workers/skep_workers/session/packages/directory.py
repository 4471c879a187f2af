"""The directory of a session's packages: a virtual environment on top of the worker's packages.

It is in the private directory of the session, which is not among its files. It begins as a link to the environment of
the worker (see environment.py), since most sessions install nothing: making a directory took 14 system calls and 0.4 ms
of each session's start. Its path remains the same when it becomes the session's own, see own_copy.py.

So pip installs and upgrades here, refuses to remove what belongs to the worker, and lists both; console scripts and
programs that cells start find the same packages as the session.

Things that don't work:
- `pip install --target`: an upgrade leaves the old version's metadata behind, and `pip uninstall` doesn't look there.
- `pip install --prefix`: an upgrade removes the old version from the worker's environment.
- The module `venv`: it takes some hundred times as long, and a virtual environment made from another one does not see
  that one's packages.
- PYTHONPATH: interpreters of other versions would load extension modules that are not made for them.
- No directory until a cell uses `%pip`: `subprocess.run([sys.executable, …])` and `os.system("pip …")` would find
  nothing, or the worker's environment, and nothing in the session notices such a call before it is made.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from skep_shared.originals import os
from skep_workers.session.packages.environment import LIBRARY, PYTHONS, WORKER_PACKAGES, is_of_environment
from skep_workers.session.packages.own_copy import make_own

NAME: Final = ".packages"
VARIABLES: Final = ("PATH", "VIRTUAL_ENV")  # of the environment, which `variables` changes


class PackageDirectory:
    """The directory of one session's packages.

    root: the directory. bin: console scripts, and Python. tools: the command pip, which no package can replace.
    site: what is on `sys.path`.
    """

    def __init__(self, private: str) -> None:
        """`private`: the private directory of the session."""
        # Not os.path.join: each function that a fork runs, and no other session did, is in memory of its own.
        self.root: Final = f"{private}/{NAME}"
        self.bin: Final = f"{self.root}/bin"
        self.tools: Final = f"{self.root}/tools"
        self.site: Final = f"{self.root}/{LIBRARY}"
        self.python: Final = f"{self.bin}/{PYTHONS[0]}"

    def begin(self, environment: str) -> None:
        """Begin with the environment of the worker, unless the directory exists. Raises OSError."""
        try:
            os.symlink(environment, self.root)
        except FileExistsError:
            pass
        except FileNotFoundError:
            os.mkdir(os.path.dirname(self.root), 0o700)
            os.symlink(environment, self.root)

    def make_own(self) -> None:
        """Make the directory one that the session can change; call this before something is installed. Raises OSError.

        An interpreter that is started in it does so by itself.
        """
        make_own(self.root, os)

    def remove(self) -> None:
        """Remove the directory, which nothing was installed in, and the private one above it. Raises OSError."""
        os.unlink(self.root)
        os.rmdir(os.path.dirname(self.root))

    def clear(self) -> None:
        """Remove the packages from a directory that is the session's own, as far as that is possible."""
        for place, folders, names in os.walk(self.root, topdown=False):
            below = place[len(self.root) + 1 :]
            for name in (*names, *folders):
                path = f"{place}/{name}"
                with suppress(OSError):
                    if name in folders and not os.path.islink(path):
                        os.rmdir(path)  # not those that have files of the environment
                    elif not is_of_environment(f"{below}/{name}" if below else name):
                        os.unlink(path)

    def search_path(self, entries: Iterable[str], before: "PackageDirectory | None") -> list[str]:
        """Return the entries of `sys.path` with this directory before the worker's packages.

        before: the directory that it replaces.
        """
        found = [self.site if before is not None and entry == before.site else entry for entry in entries]
        if self.site not in found:
            place = next((index for index, entry in enumerate(found) if entry in WORKER_PACKAGES), len(found))
            found.insert(place, self.site)
        return found

    def variables(self, present: Mapping[str, str], before: "PackageDirectory | None") -> dict[str, str]:
        """Return the variables of the environment that make programs use this directory, instead of the one before."""
        path, own = VARIABLES
        return {path: self._commands(present.get(path, os.defpath), before), own: self.root}

    def _commands(self, path: str, before: "PackageDirectory | None") -> str:
        """Return the value of PATH with this directory's commands first, or in the place of those `before`."""
        own = [self.bin, self.tools]
        if before is None:
            return os.pathsep.join([*own, *([path] if path else [])])
        moved = {before.bin: self.bin, before.tools: self.tools}
        return os.pathsep.join(moved.get(part, part) for part in path.split(os.pathsep))
