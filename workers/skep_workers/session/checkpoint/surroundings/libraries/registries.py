"""What cells have registered with libraries by a name: colour maps, templates, profiles.

What is registered is an object like any other: it may be a variable's value as well, and is one with it after a
restore.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final

from skep_workers.session.checkpoint.surroundings.part import Part, Reading, is_plain


@dataclass(frozen=True, slots=True)
class Registry:
    """One registry of a module: what is in it, how more is put there, and which entry is chosen for the process.

    size: changes with each entry that comes or goes, and costs little. chosen: '' where the library's own is.
    """

    told: str
    size: Callable[[Any], Any]
    entries: Callable[[Any], Mapping[str, Any]]
    register: Callable[[Any, str, Any], object]
    chosen: Callable[[Any], str] = lambda _: ""
    choose: Callable[[Any, str], object] = lambda *_: None


class LibraryRegistry(Part):
    """The entries of one registry that cells have put there."""

    name: ClassVar[str]  # of the instance here: how it is told

    def __init__(self, library: str, registry: Registry) -> None:
        self.library = self._library = library
        self.name = registry.told  # type: ignore[misc]
        self._registry: Final = registry
        self._given: Mapping[str, Any] = {}
        self._entries: dict[str, Any] = {}
        self._size: Any = None

    def begin(self) -> None:
        """Note the entries that exist before any cell runs: they are not the session's."""
        if self._library in sys.modules:
            self._given = self._registry.entries(sys.modules[self._library])

    def begin_as_twin(self) -> None:
        """Keep what was given: a fork has it too."""

    def read(self) -> Reading | None:
        """Return the entries; those of a library that a cell has imported are among them."""
        module = sys.modules[self._library]
        size = self._registry.size(module)
        if size != self._size:
            found = self._registry.entries(module)
            self._entries = {name: entry for name, entry in found.items() if name not in self._given}
            self._size = size
        chosen = self._registry.chosen(module)
        if not self._entries and not chosen:
            return None
        if not is_plain(chosen):
            chosen = ""
        return (chosen, list(self._entries)), {f"{self.name}[{name!r}]": each for name, each in self._entries.items()}

    def restore_objects(self, state: Any, objects: dict[str, Any]) -> None:
        """Register them again, and choose the one that was chosen."""
        chosen, names = state
        module = import_module(self._library)
        for name in names:
            if (told := f"{self.name}[{name!r}]") in objects:
                self._registry.register(module, name, objects[told])
        if chosen:
            self._registry.choose(module, chosen)


def _own_colormaps(matplotlib: Any) -> dict[str, Any]:
    cm: Any = import_module("matplotlib.cm")
    listed = {*cm.datad, *getattr(cm, "cmaps_listed", ())}
    builtin = listed | {f"{name}_r" for name in listed}
    return {name: matplotlib.colormaps[name] for name in list(matplotlib.colormaps) if _american(name) not in builtin}


def _american(name: str) -> str:
    # matplotlib has the other spellings too, in no list.
    return name.replace("grey", "gray").replace("Grays", "Greys").replace("yerg", "yarg")


_TEMPLATES: Final = frozenset(
    {
        "ggplot2", "seaborn", "simple_white", "plotly", "plotly_white", "plotly_dark", "presentation", "xgridoff",
        "ygridoff", "gridon", "none",
    }
)  # fmt: skip


def _own_templates(io: Any) -> dict[str, Any]:
    return {name: io.templates[name] for name in list(io.templates) if name not in _TEMPLATES}


def _profile(hypothesis: Any) -> str:
    current = getattr(hypothesis.settings, "get_current_profile_name", None)  # an older version doesn't tell
    name: str = current() if current is not None else ""
    return "" if name in {"default", "ci"} else name


def _own_types(mimetypes: Any) -> dict[str, str]:
    """Return the types by extension, and beside the standard ones '+' and the extension, that files don't have."""
    if not mimetypes.inited:
        return {}
    base = mimetypes.MimeTypes()
    for path in mimetypes.knownfiles:
        try:
            base.read(path)
        except OSError:
            continue
    own: dict[str, str] = {}
    for prefix, types, known in (
        ("", mimetypes.types_map, base.types_map[True]),
        ("+", mimetypes.common_types, base.types_map[False]),
    ):
        own |= {prefix + extension: kind for extension, kind in types.items() if known.get(extension) != kind}
    return own


def _add_type(mimetypes: Any, name: str, kind: str) -> None:
    mimetypes.add_type(kind, name.removeprefix("+"), strict=not name.startswith("+"))


def _own_adapters(sqlite3: Any) -> dict[str, Any]:
    found = {f"{key[0].__module__}.{key[0].__qualname__}": (key[0], call) for key, call in sqlite3.adapters.items()}
    return {name: entry for name, entry in found.items() if not _is_sqlites(entry[1])}


def _own_converters(sqlite3: Any) -> dict[str, Any]:
    return {name: call for name, call in sqlite3.converters.items() if not _is_sqlites(call)}


def _is_sqlites(call: Any) -> bool:
    return str(getattr(call, "__module__", "")).partition(".")[0] == "sqlite3"


def _active_patches(mock: Any) -> list[Any]:
    # Nothing public lists them. A version that keeps them elsewhere goes without: `stop` does nothing after a restore.
    found = getattr(getattr(mock, "_patch", None), "_active_patches", None)
    return found if type(found) is list else []


def _add_patch(mock: Any, _: str, patch: Any) -> None:
    if not any(each is patch for each in _active_patches(mock)):
        _active_patches(mock).append(patch)


REGISTRIES: Final[Iterable[tuple[str, Registry]]] = (
    (
        "matplotlib",
        Registry(
            "matplotlib.colormaps",
            lambda matplotlib: len(matplotlib.colormaps),
            _own_colormaps,
            lambda matplotlib, name, each: matplotlib.colormaps.register(each, name=name, force=True),
        ),
    ),
    (
        "plotly.io",
        Registry(
            "plotly.io.templates",
            lambda io: len(io.templates),
            _own_templates,
            lambda io, name, each: io.templates.__setitem__(name, each),
            lambda io: "" if io.templates.default == "plotly" else io.templates.default,
            lambda io, name: setattr(io.templates, "default", name),
        ),
    ),
    (
        "hypothesis",
        Registry(
            "hypothesis.settings.get_profile",
            _profile,
            lambda hypothesis: {name: hypothesis.settings.get_profile(name) for name in [_profile(hypothesis)] if name},
            lambda hypothesis, name, each: hypothesis.settings.register_profile(name, parent=each),
            _profile,
            lambda hypothesis, name: hypothesis.settings.load_profile(name),
        ),
    ),
    (
        "mimetypes",
        Registry(
            "mimetypes.types_map",
            lambda mimetypes: (len(mimetypes.types_map), len(mimetypes.common_types)),
            _own_types,
            _add_type,
        ),
    ),
    (
        "unittest.mock",
        Registry(
            "unittest.mock.patch",
            lambda mock: list(map(id, _active_patches(mock))),
            lambda mock: {str(index): each for index, each in enumerate(_active_patches(mock))},
            _add_patch,
        ),
    ),
    (
        "sqlite3",
        Registry(
            "sqlite3.adapters",
            lambda sqlite3: len(sqlite3.adapters),
            _own_adapters,
            lambda sqlite3, _, entry: sqlite3.register_adapter(*entry),
        ),
    ),
    (
        "sqlite3",
        Registry(
            "sqlite3.converters",
            lambda sqlite3: len(sqlite3.converters),
            _own_converters,
            lambda sqlite3, name, call: sqlite3.register_converter(name, call),
        ),
    ),
)
