"""Objects that cells have registered with libraries by a name: colour maps, templates, profiles.

A registered object is saved like a variable: a variable that refers to it has the same object after a restore.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final

from skep_workers.session.checkpoint.surroundings.part import Part, Reading, is_plain


@dataclass(frozen=True, slots=True)
class Registry:
    """One registry of a module: how to read and add entries, and which entry is selected for the process.

    shown: its name in reports. size: changes with each entry that is added or removed, and is cheap to read. chosen:
    the selected entry, '' if it is the library's own.
    """

    shown: str
    size: Callable[[Any], Any]
    entries: Callable[[Any], Mapping[str, Any]]
    register: Callable[[Any, str, Any], object]
    chosen: Callable[[Any], str] = lambda _: ""
    choose: Callable[[Any, str], object] = lambda *_: None


class LibraryRegistry(Part):
    """The entries that cells have added to one registry."""

    name: ClassVar[str]  # set for each instance: the registry's name in reports

    def __init__(self, library: str, registry: Registry) -> None:
        self.library = self._library = library
        self.name = registry.shown  # type: ignore[misc]
        self._registry: Final = registry
        self._given: Mapping[str, Any] = {}
        self._entries: dict[str, Any] = {}
        self._size: Any = None

    def begin(self) -> None:
        """Note the entries that exist before any cell runs: they are not the session's."""
        if self._library in sys.modules:
            self._given = self._registry.entries(sys.modules[self._library])

    def begin_as_twin(self) -> None:
        """Do nothing: a fork has the same entries."""

    def read(self) -> Reading | None:
        """Return the entries, including those of a library that a cell has imported."""
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
        """Register the entries again, and select the one that was selected."""
        chosen, names = state
        module = import_module(self._library)
        for name in names:
            if (shown := f"{self.name}[{name!r}]") in objects:
                self._registry.register(module, name, objects[shown])
        if chosen:
            self._registry.choose(module, chosen)


def _own_colormaps(matplotlib: Any) -> dict[str, Any]:
    cm: Any = import_module("matplotlib.cm")
    listed = {*cm.datad, *getattr(cm, "cmaps_listed", ())}
    builtin = listed | {f"{name}_r" for name in listed}
    return {name: matplotlib.colormaps[name] for name in list(matplotlib.colormaps) if _american(name) not in builtin}


def _american(name: str) -> str:
    # matplotlib also has the other spellings, but lists them nowhere.
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
    current = getattr(hypothesis.settings, "get_current_profile_name", None)  # older versions don't have it
    name: str = current() if current is not None else ""
    return "" if name in {"default", "ci"} else name


def _own_types(mimetypes: Any) -> dict[str, str]:
    """Return types by extension; for those outside the standard, the key is '+' and the extension."""
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
    # No public interface lists them. If a version stores them elsewhere, `stop` does nothing after a restore.
    found = getattr(getattr(mock, "_patch", None), "_active_patches", None)
    return found if type(found) is list else []


def _add_patch(mock: Any, _: str, patch: Any) -> None:
    if not any(each is patch for each in _active_patches(mock)):
        _active_patches(mock).append(patch)


def _formats(shutil: Any, name: str) -> dict[str, Any]:
    # The public functions that list formats leave out what a format consists of. `shutil`'s own are its functions.
    found = getattr(shutil, name, None)
    return {
        key: entry
        for key, entry in (found if type(found) is dict else {}).items()
        if not any(getattr(part, "__module__", "") == "shutil" for part in entry)
    }


def _add_archive_format(shutil: Any, name: str, entry: Any) -> None:
    function, arguments, description, *_ = entry
    shutil.register_archive_format(name, function, arguments, description)


def _add_unpack_format(shutil: Any, name: str, entry: Any) -> None:
    if name not in {each[0] for each in shutil.get_unpack_formats()}:
        extensions, function, arguments, description = entry
        shutil.register_unpack_format(name, extensions, function, arguments, description)


_PREFIXES: Final = frozenset({"xml", "html", "rdf", "wsdl", "xs", "xsi", "dc"})


def _own_namespaces(tree: Any) -> dict[str, str]:
    # No public interface lists the prefixes.
    found = getattr(tree, "_namespace_map", None)
    return {uri: prefix for uri, prefix in (found or {}).items() if prefix not in _PREFIXES}


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
    (
        "shutil",
        Registry(
            "shutil.get_archive_formats",
            lambda shutil: len(shutil.get_archive_formats()),
            lambda shutil: _formats(shutil, "_ARCHIVE_FORMATS"),
            _add_archive_format,
        ),
    ),
    (
        "shutil",
        Registry(
            "shutil.get_unpack_formats",
            lambda shutil: len(shutil.get_unpack_formats()),
            lambda shutil: _formats(shutil, "_UNPACK_FORMATS"),
            _add_unpack_format,
        ),
    ),
    (
        "xml.etree.ElementTree",
        Registry(
            "xml.etree.ElementTree.register_namespace",
            lambda tree: len(_own_namespaces(tree)),
            _own_namespaces,
            lambda tree, uri, prefix: tree.register_namespace(prefix, uri),
        ),
    ),
)
