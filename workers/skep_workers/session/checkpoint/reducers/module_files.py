"""The files of the session's own modules: their sources, and whether they have changed since the import.

The latter matters only for a module that can't be saved completely by value; it is imported again if its file is the
same.
"""

import struct
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, Final

from skep_shared.originals import open_file, os
from skep_workers.session.checkpoint.reducers.definitions import module_of
from skep_workers.session.checkpoint.reducers.origins import attribute_of, leads_to, names_of, origins

_HEADER: Final = struct.Struct("<4sIII")  # of a .pyc: magic, flags, time in seconds and size of its source
_LOADERS: Final = frozenset({"_frozen_importlib_external", "zipimport"})
_STORED: Final = 0xFFFFFFFF
_signatures: Final[dict[int, tuple[Any, tuple[int, ...]]]] = {}  # by the id of the spec, which each import makes


def note_file(module: ModuleType) -> None:
    """Record the signature of a module's file, once, soon after its import."""
    file = _source_file(module)
    spec = names_of(module).get("__spec__")
    if file is None or id(spec) in _signatures or origins.is_restored(module):
        return
    signature = _signature(file)
    if signature is not None and _was_imported_from(module, signature):
        _signatures[id(spec)] = spec, signature


def stored_names_of(module: ModuleType) -> frozenset[str] | None:
    """Return the names that importing a module again would bind; None if its file has changed since the import."""
    file = _source_file(module)
    spec: Any = names_of(module).get("__spec__")
    known = _signatures.get(id(spec))
    if file is None or known is None or known[0] is not spec or _signature(file) != known[1]:
        return None
    try:
        code = spec.loader.get_code(spec.name)
    except (ImportError, SyntaxError, OSError, ValueError):
        return None
    return frozenset(code.co_names) if isinstance(code, CodeType) else None


def source_of(module: ModuleType) -> str:
    """Return the source of a module that was imported from a file, '' if it is gone."""
    spec = names_of(module).get("__spec__")
    loader = attribute_of(spec, "loader")
    if module_of(type(loader)) not in _LOADERS:
        return ""  # it may be user code
    try:
        source = loader.get_source(attribute_of(spec, "name"))
    except (ImportError, SyntaxError, ValueError, OSError):  # edited or deleted meanwhile
        return ""
    return source if isinstance(source, str) else ""


def _source_file(module: ModuleType) -> str | None:
    names = names_of(module)
    spec, name = names.get("__spec__"), names.get("__name__")
    if type(attribute_of(spec, "loader")) is not SourceFileLoader or not isinstance(name, str):
        return None
    file = attribute_of(spec, "origin")
    return file if isinstance(file, str) and leads_to(name, module, [os.path.abspath(file)]) else None


def _signature(file: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _was_imported_from(module: ModuleType, signature: tuple[int, ...]) -> bool:
    """Return False if the .pyc, which has the source's time, shows an edit between the import and now."""
    cached: Any = names_of(module).get("__cached__")
    try:
        with open_file(cached, "rb") as file:
            _, flags, seconds, size = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, TypeError, struct.error):
        return True
    _, now_size, now_ns = signature
    return flags != 0 or (seconds, size) == (now_ns // 10**9 & _STORED, now_size & _STORED)
