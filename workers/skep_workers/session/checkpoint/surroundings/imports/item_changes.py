"""Items that cells have changed in dicts, lists and sets of libraries: `jinja2.filters.FILTERS["x"] = f`.

A cell's source shows which containers it may change: by a subscript, by an in-place operator, or by a method such as
`update` and `append`. These are compared after every later cell, and what differs from the library's own content is
saved, for a dict entry by entry. A restore puts it into the content that the library has then.

Of a container whose library the changing cell has imported itself, the library's own content isn't known. Then the keys
that the source names, and functions, classes and their instances of cells, count as changes. What may be missing is
reported, and so are changes of containers of other types.

Not noticed: containers that are reached through a call, another item or a local name; and changes that a library's
function makes.
"""

from collections.abc import Set as AbstractSet
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from skep_workers.session.checkpoint.hidden_names import ITEMS, pop_prefixed
from skep_workers.session.checkpoint.lost_names import describe
from skep_workers.session.checkpoint.reducers.definitions import class_names, module_of
from skep_workers.session.checkpoint.reducers.origins import is_class, origins
from skep_workers.session.checkpoint.reducers.owned_objects import owned
from skep_workers.session.checkpoint.surroundings.imports.library_changes import (
    AttributePlace,
    follow,
    inside,
    missing,
    place_of_attribute,
    start_of,
    value_at,
)
from skep_workers.session.checkpoint.surroundings.imports.mentions import ANY_KEY, Mentions, Path
from skep_workers.session.checkpoint.surroundings.imports.watched_container import (
    CHANGES,
    CONTAINERS,
    WatchedContainer,
)

MOST_WATCHED: Final = 100
MOST_ENTRIES: Final = 5000  # of one container: comparing these takes some microseconds after each cell
MOST_UNRESOLVED: Final = 100  # cells between two reads
# Modules whose containers other parts of a checkpoint save, or that belong to the process.
_ELSEWHERE: Final = frozenset({"sys", "os", "warnings", "logging", "copyreg", "builtins", "signal", "gc"})
_SAVED_TYPES: Final = frozenset({"os", "matplotlib", "plotly", "pandas"})  # likewise, where types of these are defined
_UNKNOWN: Final = (
    "what the library had put there is not known, because the cell that imported it has changed it too: "
    "import it in an earlier cell"
)


class ItemChanges:
    """The containers of libraries that cells of one session may have changed."""

    def __init__(self) -> None:
        self._watched: dict[AttributePlace, WatchedContainer] = {}
        self._unresolved: list[Mentions] = []
        self.is_used = False  # whether there is anything to read: a cell may have changed an item of a library
        self._not_saved: dict[str, str] = {}
        self.lost: Final[dict[str, str]] = {}  # what the latest `read` has not saved, and why

    def before(self, mentions: Mentions, names: dict[str, Any]) -> None:
        """Note what a cell may change, before it runs: the present content is the library's own."""
        later = False
        for path in mentions.items:
            if path[0] not in names or path[0] in mentions.aliases:
                later = True
            elif len(path) == 1 and id(names[path[0]]) not in owned.numbers:
                continue  # a variable's own container, as in most cells
            self._note(path, mentions, names, is_before=True)
        if later:
            self._unresolved = [*self._unresolved[-MOST_UNRESOLVED:], mentions]
            self.is_used = True

    def imported(self, mentions: Mentions, names: dict[str, Any]) -> None:
        """Note what a module of the session's own, with these names, may change or has changed in libraries."""
        self._note_all(mentions, names)

    def read(self, names: dict[str, Any]) -> dict[str, Any]:
        """Return the changed items, by hidden names; after a cell.

        First note what could not be found before the cell ran, such as containers of modules that it imported itself.
        """
        for mentions in self._unresolved:
            self._note_all(mentions, names)
        self._unresolved.clear()
        self.is_used = bool(self._watched or self._not_saved)
        self.lost.clear()
        self.lost.update(self._not_saved)
        found: dict[str, Any] = {}
        for place, watched in self._watched.items():
            if value_at(place) is not watched.container:
                continue
            try:
                reason = _reason_against(watched.container)
                found |= {} if reason else watched.read()
            except Exception as exc:  # noqa: BLE001 - keys may compare by code of cells
                reason = f"its items can't be compared: {describe(exc)}"
            if reason:
                self.lost[_shown_place(place)] = reason
        return found

    def restore(self, names: dict[str, Any], lost: dict[str, str]) -> None:
        """Remove the hidden names from restored names, and change containers again; failures are added to `lost`."""
        changes: dict[str, Any] = pop_prefixed(names, ITEMS)
        self.is_used = bool(changes)
        for text, change in changes.items():
            module, _, rest = text.partition(":")
            place = AttributePlace(module, tuple(rest.partition("[")[0].split(".")))
            try:
                import_module(module)
                container = value_at(place)
                if container is missing:
                    raise AttributeError(f"{module} has no {'.'.join(place.path)}")
                if place not in self._watched and type(container) in CONTAINERS:
                    self._watched[place] = WatchedContainer(container, ITEMS + place.text, None)
                CHANGES[change[0]](container, *change[1:])
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - an import, and the code of other types
                lost[text.replace(":", ".", 1)] = f"changing it again raised {describe(exc)}"

    def _note_all(self, mentions: Mentions, names: dict[str, Any]) -> None:
        for path in mentions.items:
            self._note(path, mentions, names, is_before=False)

    def _note(self, path: Path, mentions: Mentions, names: dict[str, Any], *, is_before: bool) -> None:
        container, place = _resolve(path, mentions.aliases, names)
        if place is None or place in self._watched:
            return
        reason = _reason_against(container)
        if not reason and len(self._watched) >= MOST_WATCHED:
            reason = f"changes of items are saved for {MOST_WATCHED} containers of libraries, and not for more"
        if not reason:
            reason = self._watch(place, container, mentions.items[path], is_before=is_before)
        if reason and (type(container) in CONTAINERS or path in mentions.stores_items):
            self._not_saved[_shown_place(place)] = reason
            self.is_used = True

    def _watch(self, place: AttributePlace, container: Any, keys: AbstractSet[Any], *, is_before: bool) -> str:
        """Watch a container of which a cell changes these keys; return why a change may not be saved, '' if it is."""
        changed_keys = None if is_before else keys - {ANY_KEY}
        try:
            watched = WatchedContainer(container, ITEMS + place.text, changed_keys)
            is_recognised = is_before or ANY_KEY not in keys or bool(watched.read())
        except Exception as exc:  # noqa: BLE001 - keys may compare by code of cells
            return f"its items can't be compared: {describe(exc)}"
        self._watched[place] = watched
        self.is_used = True
        return "" if is_recognised else _UNKNOWN


def _reason_against(container: Any) -> str:
    """Return why the items of a container can't be saved, '' if they can."""
    if type(container) not in CONTAINERS:
        return f"its type {type(container).__qualname__} is a library's own, and items of these are not saved"
    if len(container) > MOST_ENTRIES:
        return f"it has {len(container)} entries, and changes of more than {MOST_ENTRIES} are not saved"
    return ""


def _resolve(path: Path, aliases: dict[str, str], names: dict[str, Any]) -> tuple[Any, AttributePlace | None]:
    """Return the object at a path in a source, and its place if it belongs to a library."""
    start = start_of(path[0], aliases, names)
    owner = follow(start, path[1:-1])
    value = inside(owner, path[-1]) if len(path) > 1 else start
    kind = type(value)
    if value is missing or issubclass(kind, type | ModuleType) or module_of(kind).partition(".")[0] in _SAVED_TYPES:
        return value, None
    found = owned.place(value)
    if found is not None:
        place = AttributePlace(found.module, (found.name,)) if found.name else None
    elif len(path) > 1 and is_class(owner):
        definer = next((each for each in type.mro(owner) if path[-1] in class_names(each)), owner)
        place = place_of_attribute(definer, (), path[-1])
    else:
        place = place_of_attribute(start, path[1:-1], path[-1]) if len(path) > 1 else None
    if place is None or place.module.partition(".")[0] in _ELSEWHERE or _is_replaced(place):
        return value, None
    return value, place


def _is_replaced(place: AttributePlace) -> bool:
    """Return whether cells have bound another object there, which is saved as a whole."""
    return any((place.module, ".".join(place.path[:end])) in origins.replaced for end in range(1, len(place.path) + 1))


def _shown_place(place: AttributePlace) -> str:
    return place.text.replace(":", ".", 1)
