"""Reading the state of a session: its names, and everything that surrounds them."""

from collections.abc import Callable
from typing import Any, Final

from skep_workers.session.checkpoint.recipes import Recipes
from skep_workers.session.checkpoint.reducers.origins import origins
from skep_workers.session.checkpoint.state import State
from skep_workers.session.checkpoint.surroundings.ambient import Ambient
from skep_workers.session.checkpoint.surroundings.imports.session_imports import SUBMODULES, Imports
from skep_workers.session.checkpoint.surroundings.workspace import Workspace
from skep_workers.session.packages.directory import PackageDirectory
from skep_workers.session.packages.session_packages import SessionPackages
from skep_workers.session.runtime.internals import OWN_RESULTS, RESULT_NAMES
from skep_workers.session.runtime.namespace import NamespaceManager

_SAVED_INTERNALS: Final = (*RESULT_NAMES, OWN_RESULTS, "__annotations__")


class StateReader:
    """The parts that a session's state consists of."""

    def __init__(self, namespace: NamespaceManager, packages: SessionPackages) -> None:
        self.namespace = namespace
        self.packages = packages
        self.ambient = Ambient(namespace.names)
        self.workspace = Workspace()
        self.recipes = Recipes()
        self.imports = Imports()
        self._future_flags: Callable[[], int] = lambda: 0
        self._is_final: Callable[[], bool] = lambda: False
        self._hidden: dict[str, Any] = {}  # in the latest state, objects that are saved besides variables

    def connect(self, future_flags: Callable[[], int], is_final: Callable[[], bool]) -> None:
        """Set where to read the compiler's future flags, and whether no user code is left to run."""
        self._future_flags = future_flags
        self._is_final = is_final

    def begin(self, directory: str) -> None:
        """Start with a session whose files are in this directory."""
        self.workspace.begin(directory)
        self.ambient.begin(directory)
        self.imports.begin(directory)

    def use_packages(self, before: PackageDirectory | None, after: PackageDirectory) -> None:
        """Use the packages in a directory, instead of the one from before. No cell has changed anything by that."""
        self.ambient.use_packages(before, after)
        origins.use_packages(after.root)

    def begin_as_twin(self, directory: str, state: State) -> None:
        """Continue in a fork, in this directory, at this state. Raises OSError."""
        self.workspace.begin_as_twin(directory, state.files)
        self.ambient.begin_as_twin(directory, state.ambient)
        self.imports.begin_as_twin(directory)

    def forget_saved(self, digests: frozenset[bytes]) -> None:
        """Forget the content of files and packages that a checkpoint has saved."""
        self.workspace.forget_saved(digests)
        self.packages.kept.forget_saved(digests)

    def hold_objects(self) -> None:
        """Hold the objects of the surroundings for a twin, see Ambient."""
        self.ambient.hold_objects(self._future_flags())

    def read(self, before: State | None) -> State:
        """Read the state that has to be saved.

        before: a state whose surroundings are still the same; only the names are read again.
        """
        names, ambient_parts, workspace = self.namespace.names, self.ambient, self.workspace
        kept = [*self.namespace.user_names(), *_SAVED_INTERNALS]
        saved = self.recipes.replace_variables({name: names[name] for name in kept if name in names})
        if before is None or ambient_parts.has_objects(before.ambient):
            ambient = ambient_parts.read(self._future_flags(), saved)
            self._hidden = self.imports.read(names)
            ambient[SUBMODULES] = self.imports.submodules()
        else:
            ambient = before.ambient
        files = workspace.read()
        packages, unstored = self.packages.kept.read(), workspace.unstored
        if self.packages.kept.unstored:
            unstored = unstored | self.packages.kept.unstored
        lost = workspace.lost  # after `read`
        if ambient_parts.lost or self.imports.lost:
            lost = lost | ambient_parts.lost | self.imports.lost
        return State(
            saved | self._hidden,
            ambient,
            files,
            unstored,
            lost,
            self._is_final() and ambient_parts.is_passive(ambient),
            packages,
        )
