"""`%autoreload`: reloads modules whose files have changed before a cell, and updates the objects made from them.

The setting is a variable of the session, so that it also applies on the next worker. While it is off, it costs a cell
one dictionary lookup.
"""

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

from skep_shared.originals import gc, os
from skep_workers.session.display.publisher import DisplayPublisher
from skep_workers.session.runtime.namespace import NamespaceManager

SETTING: Final = "__autoreload__"  # in the namespace: {"mode": "all" | "explicit", "only": [...], "never": [...]}

_MODES: Final = {"0": "off", "off": "off", "1": "explicit", "explicit": "explicit", "2": "all", "all": "all"}
_MODES_OF_MORE: Final = {"3": "all", "complete": "all"}
_OURS: Final = ("skep_workers", "skep_shared")
_UNTOUCHED: Final = frozenset({"__name__", "__loader__", "__spec__", "__path__", "__file__", "__builtins__"})
_KEPT_IN_CLASSES: Final = frozenset({"__dict__", "__weakref__", "__module__", "__qualname__", "__name__"})


class ReloadingMagics:
    """Reloads changed modules."""

    def __init__(self, namespace: NamespaceManager, publisher: DisplayPublisher) -> None:
        self._namespace = namespace
        self._publisher = publisher
        self._seen: dict[str, tuple[int, int]] = {}  # module -> time (ns) and size of its file when it was loaded

    @property
    def is_reloading(self) -> bool:
        """Whether the files of modules are checked before each cell."""
        return SETTING in self._namespace.names

    def load_extension(self, rest: str) -> None:
        """Accept `autoreload`, which is always loaded; warn about any other extension."""
        name = rest.strip()
        if name != "autoreload":
            self._publisher.warn("magic", f"the extension {name!r} isn't loaded: sessions only have autoreload")

    def autoreload(self, rest: str) -> None:
        """Reload before each cell from now on, stop that, or reload once now. Raises ValueError for an unknown mode."""
        word = rest.strip().lower()
        if word in {"", "now"}:
            self._reload_changed({"mode": "all"} | self._setting())
            return
        mode = (_MODES | _MODES_OF_MORE).get(word)
        if mode is None:
            raise ValueError(f"the argument of %autoreload is now, off, explicit, all, 0, 1 or 2, not {rest!r}")
        if mode == "off":
            self._namespace.names.pop(SETTING, None)
        else:
            self._namespace.names[SETTING] = {**self._setting(), "mode": mode}
            self._note_files()

    def aimport(self, rest: str) -> None:
        """Import modules that `%autoreload 1` reloads, or exclude modules (`-module`) from reloading."""
        setting = {"mode": "explicit", "only": [], "never": []} | self._setting()
        words = rest.replace(",", " ").split()
        if not words:
            print("Modules to reload:\n" + (" ".join(setting["only"]) or "all"))
            print("Modules to skip:\n" + " ".join(setting["never"]))
        for word in words:
            name = word.removeprefix("-")
            there, not_there = ("never", "only") if word.startswith("-") else ("only", "never")
            setting[there] = [*(each for each in setting[there] if each != name), name]
            setting[not_there] = [each for each in setting[not_there] if each != name]
            if there == "only":
                importlib.import_module(name)
                top = name.partition(".")[0]
                self._namespace.names[top] = sys.modules[top]
        self._namespace.names[SETTING] = setting
        self._note_files()

    @contextmanager
    def reloading(self, inner: AbstractContextManager[None]) -> Iterator[None]:
        """Reload changed modules, run a cell inside `inner`, and record the files of the modules that it imports."""
        self._reload_changed(self._setting())
        try:
            with inner:
                yield
        finally:
            self._note_files()

    def _setting(self) -> dict[str, Any]:
        setting = self._namespace.names.get(SETTING)
        return setting if type(setting) is dict else {}

    def _reload_changed(self, setting: dict[str, Any]) -> None:
        only, never = setting.get("only", []), setting.get("never", [])
        is_explicit = setting.get("mode") == "explicit"
        for name, module, stamp in _modules_with_files():
            if self._seen.get(name, stamp) == stamp or name in never or (is_explicit and name not in only):
                continue
            self._seen[name] = stamp
            try:
                reload_in_place(module)
            except Exception:  # noqa: BLE001 - the module is unchanged; its file may be half written
                print(f"[autoreload of {name} failed: {traceback.format_exc()}]", file=sys.stderr)
        self._note_files()

    def _note_files(self) -> None:
        for name, _, stamp in _modules_with_files():
            self._seen.setdefault(name, stamp)


def _modules_with_files() -> Iterator[tuple[str, ModuleType, tuple[int, int]]]:
    """Yield the loaded modules that have source files, except those of the standard library and of the engine."""
    interpreters = sysconfig.get_path("stdlib") + os.sep
    packages = tuple(sysconfig.get_path(kind) + os.sep for kind in ("purelib", "platlib"))
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
        if type(file) is not str or not file.endswith(".py") or name == "__main__" or name.startswith(_OURS):
            continue
        if file.startswith(interpreters) and not file.startswith(packages):
            continue
        with suppress(OSError):  # a file that was removed has not changed
            found = os.stat(file)
            yield name, module, (found.st_mtime_ns, found.st_size)


def reload_in_place(module: ModuleType) -> None:
    """Reload a module and update its old functions and classes in place. Raises whatever the module's code raises.

    If its code raises, the module is unchanged.
    """
    old = dict(vars(module))
    # Cached bytecode would be used again if the new file has the same size, and the same modification time in seconds.
    with suppress(OSError, NotImplementedError, ValueError):
        Path(importlib.util.cache_from_source(str(module.__file__))).unlink()
    for name in [name for name in old if name not in _UNTOUCHED]:
        del vars(module)[name]
    try:
        importlib.reload(module)
    except BaseException:
        vars(module).clear()
        vars(module).update(old)
        raise
    for name, new in list(vars(module).items()):
        if name in old and old[name] is not new:
            _update(old[name], new)


def _update(old: Any, new: Any) -> bool:
    """Make an old definition behave like the new one; return False if its kind can't be updated."""
    for kind, update in _UPDATES:
        if isinstance(old, kind) and isinstance(new, kind):
            with suppress(AttributeError, TypeError, ValueError):  # for example, it has other free variables
                update(old, new)
                return True
    return False


def _update_function(old: FunctionType, new: FunctionType) -> None:
    for name in ("__code__", "__defaults__", "__kwdefaults__", "__doc__", "__annotations__"):
        setattr(old, name, getattr(new, name))
    old.__dict__.clear()
    old.__dict__.update(new.__dict__)


def _update_class(old: type, new: type) -> None:
    for name in [name for name in vars(old) if name not in vars(new) and name not in _KEPT_IN_CLASSES]:
        delattr(old, name)
    for name, member in list(vars(new).items()):
        if name not in _KEPT_IN_CLASSES and not _update(vars(old).get(name), member):
            setattr(old, name, member)
    for referrer in gc.get_referrers(old):
        if type(referrer) is old:
            with suppress(TypeError):  # the new class has another memory layout
                object.__setattr__(referrer, "__class__", new)


def _update_property(old: property, new: property) -> None:
    if not all(_same_kind(getattr(old, part), getattr(new, part)) for part in ("fget", "fset", "fdel")):
        raise TypeError("its functions can't be replaced")
    for part in ("fget", "fset", "fdel"):
        if getattr(old, part) is not None:
            _update_function(getattr(old, part), getattr(new, part))


def _same_kind(old: object, new: object) -> bool:
    return type(old) is type(new) and (old is None or isinstance(old, FunctionType))


def _update_wrapped(old: Any, new: Any) -> None:
    if not _same_kind(old.__func__, new.__func__):
        raise TypeError("it wraps no function")
    _update_function(old.__func__, new.__func__)


_UPDATES: Final[tuple[tuple[type, Callable[[Any, Any], None]], ...]] = (
    (FunctionType, _update_function),
    (type, _update_class),
    (property, _update_property),
    (staticmethod, _update_wrapped),
    (classmethod, _update_wrapped),
)
