"""From a manifest and its chunks back to a namespace.

In this order, since each step needs what the one before made: files, ambient state and sources, groups that need no
definition, definitions, the other groups. A group that fails costs its own variables only; each is reported with its
reason.
"""

import gc
import linecache
import pickle
import platform
from dataclasses import dataclass, field
from typing import Any

from skep_workers.session.checkpoint import stored_names
from skep_workers.session.checkpoint.manifest import Group, Manifest
from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.restoring.chunk_store import ChunkStore
from skep_workers.session.checkpoint.surroundings.ambient import Ambient
from skep_workers.session.checkpoint.surroundings.imports import SUBMODULES, Imports
from skep_workers.session.checkpoint.surroundings.workspace import Workspace

stored_names.register()


@dataclass(slots=True)
class Restored:
    """What came of a restore: the names, and what was lost, with reasons."""

    names: list[str]
    lost: dict[str, str]
    notes: list[str] = field(default_factory=list)
    future_flags: int = 0


def restore(
    manifest: Manifest,
    store: ChunkStore,
    names: dict[str, Any],
    ambient: Ambient,
    workspace: Workspace,
    imports: Imports,
) -> Restored:
    """Fill the namespace and the directory. Raises DamagedCheckpoint, before anything is bound or written."""
    contents = {entry.path: store.joined(list(entry.chunks)) for entry in manifest.files if entry.kind == "file"}
    groups = {id(group): _parts(group, store) for group in _all_groups(manifest)}  # all are checked first
    result = Restored([], dict(manifest.lost))
    if manifest.python != platform.python_version():
        result.notes.append(f"saved by Python {manifest.python}, restored by {platform.python_version()}")
    result.lost.update(workspace.restore(manifest.files, contents))
    # Nothing that is being made here is garbage, and looking for some takes twice as long as making it.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        state = _load(groups[id(manifest.ambient)])
        ambient.restore(state)
        result.future_flags = state.get("future_flags", 0)
        result.notes += imports.restore_submodules(state.get(SUBMODULES, ()))
        if manifest.sources is not None:
            _register_sources(groups[id(manifest.sources)])
        # What runs code of cells comes last: it may use modules, functions and plain data by their names.
        for group in manifest.groups:
            if not group.named:
                _restore_group(group, groups[id(group)], names, result)
        if manifest.definitions is not None:
            _restore_definitions(manifest.definitions, groups[id(manifest.definitions)], names, result)
        _bind(manifest.bindings, names, result)
        for group in manifest.groups:
            if group.named:
                _restore_group(group, groups[id(group)], names, result)
    finally:
        if was_enabled:
            gc.enable()
    return result


def _bind(bindings: dict[str, str], names: dict[str, Any], result: Restored) -> None:
    for name, key in bindings.items():
        if key in registry.definitions:
            names[name] = registry.definitions[key]
            result.names.append(name)
        else:
            result.lost.setdefault(name, "its definition could not be restored")


def _all_groups(manifest: Manifest) -> list[Group]:
    optional = [group for group in (manifest.definitions, manifest.sources) if group is not None]
    return [*manifest.groups, manifest.ambient, *optional]


def _parts(group: Group, store: ChunkStore) -> tuple[bytearray, list[Any]]:
    buffers: list[Any] = []
    for buffer in group.buffers:
        data = store.joined(buffer.chunks)
        buffers.append(bytes(data) if buffer.readonly else data)
    return store.joined(group.chunks), buffers


def _load(parts: tuple[bytearray, list[Any]]) -> Any:
    return pickle.loads(parts[0], buffers=parts[1])


def _register_sources(parts: tuple[bytearray, list[Any]]) -> None:
    for name, source in _load(parts).items():
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)


def _restore_definitions(
    group: Group, parts: tuple[bytearray, list[Any]], names: dict[str, Any], result: Restored
) -> None:
    try:
        loaded = _load(parts)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - user code runs in __setstate__, and imports may fail
        reason = f"restoring it raised {type(exc).__name__}: {exc}"[:300]
        result.notes.append(f"functions and classes of cells could not be restored: {reason}")
        result.lost.update(dict.fromkeys(group.names, reason))
        return
    registry.definitions = loaded["definitions"]
    names.update(loaded["names"])
    result.names += loaded["names"]


def _restore_group(group: Group, parts: tuple[bytearray, list[Any]], names: dict[str, Any], result: Restored) -> None:
    try:
        loaded = _load(parts)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - as above
        reason = f"restoring it raised {type(exc).__name__}: {exc}"[:300]
        result.lost.update(dict.fromkeys(group.names, reason))
        return
    names.update(loaded)
    result.names += loaded
