"""What a session has made of its imports: modules of its own, submodules, patches of libraries, registrations.

One face for the checkpointer: it is told of each cell before it runs and is read after it.
"""

import ast
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from types import CodeType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import MODULE, take
from skep_workers.session.checkpoint.reducers.module_files import source_of, stored_names_of
from skep_workers.session.checkpoint.reducers.modules import relocate
from skep_workers.session.checkpoint.reducers.origins import is_module, names_of, origins
from skep_workers.session.checkpoint.surroundings.library_changes import LibraryChanges, content_of
from skep_workers.session.checkpoint.surroundings.loaded_modules import LoadedModules
from skep_workers.session.checkpoint.surroundings.mentions import Mentions, mentions_in, texts_in
from skep_workers.session.checkpoint.surroundings.registrations import Registrations
from skep_workers.session.checkpoint.surroundings.submodules import ImportWatch, Submodules

MOST_KNOWN: Final = 100  # sources whose mentions are remembered
MOST_UNREAD: Final = 100  # cells between two looks

SUBMODULES: Final = "submodules"  # their key in the ambient state


class Imports:
    """Follows the imports of one session process."""

    def __init__(self) -> None:
        self._loaded = LoadedModules()
        self._submodules = Submodules()
        self._changes = LibraryChanges()
        self._registrations = Registrations(self._changes)
        self._known: OrderedDict[int, tuple[ast.AST, Mentions]] = OrderedDict()
        self._unread: list[tuple[Mentions, list[CodeType]]] = []

    def prepare(self) -> None:
        """Take what is loaded and registered now as the environment's."""
        self._loaded.prepare()
        self._registrations.prepare()

    def begin(self, directory: str) -> None:
        """Start with a session whose files are in this directory."""
        origins.begin(directory)

    def begin_as_twin(self, directory: str) -> None:
        """Go on in a fork, with a directory of its own."""
        old = origins.home
        origins.begin(directory)
        for module in self._loaded.own.values():
            relocate(module, old, origins.home)

    def before_cell(self, tree: ast.AST, code: Iterable[CodeType | None], names: dict[str, Any]) -> None:
        """Take a cell that runs next."""
        parts = [each for each in code if each is not None]
        mentions = self._mentions(tree, parts)
        self._changes.before(mentions, names)
        if len(self._unread) == MOST_UNREAD:
            del self._unread[0]
        self._unread.append((mentions, parts))

    def read(self, names: dict[str, Any]) -> dict[str, Any]:
        """Return what has to be saved beside variables, by hidden names; after a cell."""
        cells, self._unread = self._unread, []
        for module in self._loaded.look(lambda text: _is_in(text, cells)):
            if origins.is_own(module):
                self._note_module(module)
        for module, _ in list(origins.imported_again.values()):
            if stored_names_of(module) is None:
                origins.take_back(module)
        self._changes.after(names)
        for mentions, code in cells:
            self._registrations.after(mentions, names)
            self._submodules.note(code)
        own = {MODULE + name: module for name, module in self._loaded.own.items() if origins.is_own(module)}
        own |= {MODULE + name: value for name, value in self._loaded.stand_ins.items()}
        return own | self._changes.read() | self._registrations.read()

    def submodules(self) -> list[str]:
        """Return the submodules that have to be imported again; after `read`."""
        return self._submodules.read()

    def restore_submodules(self, names: Iterable[str], watch: ImportWatch) -> list[str]:
        """Import these again, each watched; return what has failed."""
        return self._submodules.restore(names, watch)

    def restore(self, names: dict[str, Any], lost: dict[str, str]) -> None:
        """Take what was saved out of restored names, and change libraries again; what fails is added to `lost`."""
        for name, value in take(names, MODULE).items():
            if not is_module(value):
                sys.modules[name] = value  # type: ignore[assignment]
        self._changes.restore(names, lost)
        self._registrations.restore(names, lost)

    def _note_module(self, module: ModuleType) -> None:
        """Take what an imported file of the session's own changes in libraries, and which submodules it uses."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import has given them
            try:
                tree = ast.parse(source_of(module))
                code = [compile(tree, module.__name__, "exec", dont_inherit=True)]
            except (SyntaxError, ValueError, RecursionError):  # it is not what it was when it was imported
                return
        self._submodules.note(code)
        self._changes.imported(mentions_in(tree, code), names_of(module))

    def _mentions(self, tree: ast.AST, code: list[CodeType]) -> Mentions:
        known = self._known.get(id(tree))
        if known is not None:
            self._known.move_to_end(id(tree))
            return known[1]
        mentions = mentions_in(tree, code)
        self._known[id(tree)] = tree, mentions  # the tree is held, so that its id stays its own
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return mentions


def import_again(module: ModuleType, made_by_import: frozenset[str]) -> dict[str, Any]:
    """Save a module by its name from now on; return the hidden names that give it the rest of what it holds."""
    origins.import_again(module, made_by_import)
    return content_of(module, made_by_import)


def _is_in(text: str, cells: list[tuple[Mentions, list[CodeType]]]) -> bool:
    return any(text == found for _, code in cells for each in code for found in texts_in(each))
