"""State of a session's imports: modules of its own, submodules, changes of libraries, registrations.

The interface for the checkpointer, which reports each cell before it runs and reads the state after it.
"""

import ast
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from types import CodeType, ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import MODULE, pop_prefixed
from skep_workers.session.checkpoint.reducers.module_files import source_of, stored_names_of
from skep_workers.session.checkpoint.reducers.modules import relocate
from skep_workers.session.checkpoint.reducers.origins import is_module, names_of, origins
from skep_workers.session.checkpoint.surroundings.imports.item_changes import ItemChanges
from skep_workers.session.checkpoint.surroundings.imports.library_changes import LibraryChanges, content_of
from skep_workers.session.checkpoint.surroundings.imports.loaded_modules import LoadedModules
from skep_workers.session.checkpoint.surroundings.imports.mentions import Mentions, mentions_in, texts_in
from skep_workers.session.checkpoint.surroundings.imports.registrations import Registrations
from skep_workers.session.checkpoint.surroundings.imports.submodules import ImportWatch, Submodules

MOST_KNOWN: Final = 100  # sources whose mentions are remembered
MOST_UNREAD: Final = 100  # cells between two reads

SUBMODULES: Final = "submodules"  # their key in the ambient state


class Imports:
    """Follows the imports of one session process."""

    def __init__(self) -> None:
        self._loaded = LoadedModules()
        self._submodules = Submodules()
        self._changes = LibraryChanges()
        self._items = ItemChanges()
        self._registrations = Registrations(self._changes)
        self._known: OrderedDict[int, tuple[ast.AST, Mentions]] = OrderedDict()
        self._unread: list[tuple[Mentions, list[CodeType]]] = []
        self.lost: Final = self._items.lost  # changes of libraries that are not saved, and why; after `read`

    def prepare(self) -> None:
        """Record everything that is loaded and registered now as the environment's."""
        self._loaded.prepare()
        self._registrations.prepare()

    def begin(self, directory: str) -> None:
        """Start with a session whose files are in this directory."""
        origins.begin(directory)

    def begin_as_twin(self, directory: str) -> None:
        """Continue in a fork, with a directory of its own."""
        old = origins.home
        origins.begin(directory)
        for module in self._loaded.own.values():
            relocate(module, old, origins.home)

    def before_cell(self, tree: ast.AST, code: Iterable[CodeType | None], names: dict[str, Any]) -> None:
        """Note a cell that runs next."""
        parts = [each for each in code if each is not None]
        mentions = self._mentions(tree, parts)
        self._changes.before(mentions, names)
        if mentions.items:
            self._items.before(mentions, names)
        if len(self._unread) == MOST_UNREAD:
            del self._unread[0]
        self._unread.append((mentions, parts))

    def read(self, names: dict[str, Any]) -> dict[str, Any]:
        """Return the objects that have to be saved besides variables, by hidden names; after a cell."""
        cells, self._unread = self._unread, []
        for module in self._loaded.find_new(lambda text: _is_in(text, cells)):
            if origins.is_own(module):
                self._note_module(module)
        for module, _ in list(origins.imported_again.values()):
            if stored_names_of(module) is None:
                origins.save_by_value_again(module)
        self._changes.after(names)
        for mentions, code in cells:
            self._registrations.after(mentions, names)
            self._submodules.note(code)
        own = {MODULE + name: module for name, module in self._loaded.own.items() if origins.is_own(module)}
        own |= {MODULE + name: value for name, value in self._loaded.stand_ins.items()}
        found = own | self._changes.read() | self._registrations.read()
        return found | self._items.read(names) if self._items.is_used else found

    def submodules(self) -> list[str]:
        """Return the submodules that have to be imported again; after `read`."""
        return self._submodules.read()

    def restore_submodules(self, names: Iterable[str], watch: ImportWatch) -> list[str]:
        """Import these again, within the limits of `watch`; return the failures."""
        return self._submodules.restore(names, watch)

    def restore(self, names: dict[str, Any], lost: dict[str, str]) -> None:
        """Remove the hidden names from restored names, and change libraries again; failures are added to `lost`."""
        for name, value in pop_prefixed(names, MODULE).items():
            if not is_module(value):
                sys.modules[name] = value  # type: ignore[assignment]
        self._changes.restore(names, lost)
        self._items.restore(names, lost)
        self._registrations.restore(names, lost)

    def _note_module(self, module: ModuleType) -> None:
        """Note what an imported file of the session's own changes in libraries, and which submodules it uses."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import has shown them already
            try:
                tree = ast.parse(source_of(module))
                code = [compile(tree, module.__name__, "exec", dont_inherit=True)]
            except (SyntaxError, ValueError, RecursionError):  # the file has changed since its import
                return
        self._submodules.note(code)
        mentions = mentions_in(tree, code)
        self._changes.imported(mentions, names_of(module))
        self._items.imported(mentions, names_of(module))

    def _mentions(self, tree: ast.AST, code: list[CodeType]) -> Mentions:
        known = self._known.get(id(tree))
        if known is not None:
            self._known.move_to_end(id(tree))
            return known[1]
        mentions = mentions_in(tree, code)
        self._known[id(tree)] = tree, mentions  # the tree is kept alive, so that its id isn't reused
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return mentions


def import_again(module: ModuleType, made_by_import: frozenset[str]) -> dict[str, Any]:
    """Save a module by its name from now on; return the hidden names of its other content."""
    origins.import_again(module, made_by_import)
    return content_of(module, made_by_import)


def _is_in(text: str, cells: list[tuple[Mentions, list[CodeType]]]) -> bool:
    return any(text == found for _, code in cells for each in code for found in texts_in(each))
