"""The packages of a session, as its cells and their magics use them."""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from skep_shared.errors import InvalidArgument
from skep_shared.isolation.network import Network
from skep_shared.originals import os
from skep_shared.packages import PackageMode, check_packages
from skep_workers.session.packages.directory import VARIABLES, PackageDirectory
from skep_workers.session.packages.distributions import Distribution, installed_in
from skep_workers.session.packages.kept import KeptPackages
from skep_workers.session.packages.loading import PathFiles, imported_before
from skep_workers.session.packages.pip_runs import PackagesNotInstalled, check_pip, hint_for, run_pip

DEFAULT_QUOTA_BYTES: Final = 64 * 1024 * 1024
DEFAULT_SECONDS: Final = 300.0
DEFAULT_RESTORE_SECONDS: Final = 60.0
REHEARSALS: Final = 10  # after which the interpreter has specialized the functions
OFF: Final = "installing packages is off on this worker (SKEP_PACKAGES=off): ask its operator for what you need"
_CHANGING: Final = frozenset({"install", "uninstall", "download", "wheel"})


class PackagesOff(Exception):
    """The operator of the worker has switched the installation of packages off."""


class SessionPackages:
    """Installs packages for one session. `kept` saves and restores them."""

    def __init__(self, environment: str, warn: Callable[[str, str], None]) -> None:
        """`environment`: the one that the worker has made. warn: is called with a category and a message, in cells."""
        self._environment = environment
        self._warn = warn
        self._private = ""
        self._workspace = ""
        self._network = Network.HOST
        self._directory: PackageDirectory | None = None
        self._obstacle = ""  # why there is no directory
        self._mode = PackageMode.SAVED
        self._wanted: tuple[str, ...] = ()
        self._seconds = DEFAULT_SECONDS
        self._preloaded: frozenset[str] = frozenset()
        self._path_files = PathFiles()
        self._installed: dict[str, Distribution] = {}
        self._seen = (0, 0)
        self.kept: Final = KeptPackages()

    def prepare(self) -> None:
        """Record what every process of the worker has imported; once, in the process that they are forked from."""
        self._preloaded = frozenset(name for name in sys.modules if "." not in name)

    def rehearse(self, directory: str, use: Callable[[PackageDirectory | None, PackageDirectory], None]) -> None:
        """Make and use a directory of packages below this one, and undo all of it; see warmup.py."""
        path = [*sys.path]
        variables = {name: os.environ.get(name) for name in VARIABLES}
        for _ in range(REHEARSALS):
            made = PackageDirectory(os.path.join(directory, "rehearsal"))
            made.begin(self._environment)
            use(None, made)
            installed_in(made.site)
            made.remove()
            sys.path[:] = path
            for name, value in variables.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def begin(self, private: str, workspace: str, network: Network | None = None) -> None:
        """Begin in a session's process. private: its private directory. network: None if it is the one from before."""
        self._private, self._workspace = private, workspace
        self._network = self._network if network is None else network

    def configure(self, options: Mapping[str, Any]) -> "tuple[PackageDirectory | None, PackageDirectory] | None":
        """Begin with the worker's environment, as the session's directory; return the one from before, and the new one.

        Return None if nothing has changed. Sets `sys.executable`, since programs that it runs are to find the packages.
        """
        self._mode = PackageMode(options.get("packages_mode") or PackageMode.SAVED)
        self._wanted = tuple(options.get("packages") or ())
        self._seconds = float(options.get("packages_seconds") or DEFAULT_SECONDS)
        before, after = self._directory, PackageDirectory(self._private)
        if not self._private or (before is not None and before.root == after.root):
            return None
        try:
            after.begin(self._environment)
        except OSError as exc:
            self._obstacle = _obstacle(exc)
            return None
        self._directory, self._obstacle = after, ""
        sys.executable = after.python
        spawning: Any = sys.modules.get("multiprocessing.spawn")
        if spawning is not None:
            spawning.set_executable(after.python)
        self.kept.begin(
            after,
            self._workspace,
            self._mode,
            int(options.get("packages_bytes", DEFAULT_QUOTA_BYTES)),
            float(options.get("packages_restore_seconds") or DEFAULT_RESTORE_SECONDS),
        )
        return before, after

    # --- in cells -----------------------------------------------------------------------------------------------------

    def pip(self, arguments: Sequence[str]) -> int:
        """Run pip, and return its status. Raises PackagesOff, PackagesNotInstalled."""
        directory = self._made()
        command = next((word for word in arguments if not word.startswith("-")), "")
        if self._mode is PackageMode.OFF and command in _CHANGING:
            raise PackagesOff(OFF)
        check_pip()
        if command == "uninstall" and not {"-y", "--yes"} & set(arguments):
            arguments = [*arguments, "--yes"]  # pip could not ask: its input is not the user's
        try:
            status = run_pip(directory, arguments)
        finally:
            self.refresh()
        if status and command in {"install", "download", "wheel"} and (hint := hint_for(self._network)):
            print(f"Note: {hint}", file=sys.stderr)
        return status

    @property
    def is_pending(self) -> bool:
        """Return whether packages that the session's options name have not been installed yet."""
        return bool(self._wanted) and not self.kept.has_initial

    def installing_first(self, around: AbstractContextManager[None]) -> AbstractContextManager[None]:
        """Return a context manager that installs the packages of the session's options before it enters `around`."""
        return self._installing_first(around)

    @contextmanager
    def _installing_first(self, around: AbstractContextManager[None]) -> Iterator[None]:
        with around:
            self._install_wanted()
            yield

    def _install_wanted(self) -> None:
        """Install the packages of the session's options. Raises PackagesNotInstalled; the next cell tries it again."""
        named = shlex.join(self._wanted)
        try:
            directory = self._made()
            if self._mode is PackageMode.OFF:
                raise PackagesNotInstalled(OFF)
            check_packages(self._wanted)  # the options may be written by something that doesn't check them
            check_pip()
            status = run_pip(directory, ["install", *self._wanted], self._seconds)
        except InvalidArgument as exc:
            raise PackagesNotInstalled(str(exc)) from None
        finally:
            self.refresh()
        if status:
            hint = hint_for(self._network)
            reason = f"the packages of this session ({named}) could not be installed: pip ended with status {status}"
            raise PackagesNotInstalled(
                f"{reason}; its output is above. The cell has not run; the next one tries again"
                + (f". Note: {hint}" if hint else "")
            )
        self.kept.has_initial = True

    def _made(self) -> PackageDirectory:
        """Return the session's own directory, which is made for the first package. Raises PackagesNotInstalled."""
        self.make_own()
        if self._directory is None or self._obstacle:
            raise PackagesNotInstalled(self._obstacle or "this session has no directory for packages")
        return self._directory

    def make_own(self) -> None:
        """Make the directory one that the session can change, before a program runs that may install packages."""
        if self._directory is None:
            return
        try:
            self._directory.make_own()
        except OSError as exc:
            self._obstacle = _obstacle(exc)
        else:
            self._obstacle = ""

    def refresh(self) -> None:
        """Make what was installed or removed since the last call importable, and warn of what needs a new process."""
        directory = self._directory
        if directory is None:
            return
        try:
            status = os.stat(directory.site)
        except OSError:
            return
        if (seen := (status.st_mtime_ns, status.st_ino)) == self._seen:
            return
        self._seen = seen
        before, self._installed = self._installed, installed_in(directory.site)
        for problem in self._path_files.read_new(directory.site):
            self._warn("packages", problem)
        for warning in imported_before(before, self._installed, directory.site, self._preloaded):
            self._warn("packages", warning)

    # --- in checkpoints -----------------------------------------------------------------------------------------------

    def note_restored(self) -> list[str]:
        """Make the restored packages importable, before any variable is loaded; return what went wrong."""
        if self._directory is None:
            return []
        self._installed = installed_in(self._directory.site)
        return [f"packages: {each}" for each in self._path_files.read_new(self._directory.site)]

    @property
    def reason_against_twin(self) -> str:
        """Return why a fork of this process can't be another session's, '' if it can."""
        is_used = self.kept.is_used or (self._directory is not None and installed_in(self._directory.site))
        return "packages are installed in its directory" if is_used else ""


def _obstacle(reason: OSError) -> str:
    return f"the directory of the session's packages can't be made: {reason}"
