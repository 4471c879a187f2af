"""From a manifest and its chunks back to a namespace.

In this order, since each step needs the results of earlier ones: files, packages, ambient state and sources, groups
that need no definition, definitions, the other groups. An object that can't be restored affects the variables that need
it, and no others; each of them is reported with its reason.
"""

import pickle
import platform
from dataclasses import dataclass, field
from typing import Any

from skep_shared.checkpoints.manifest import Group, Manifest
from skep_shared.originals import gc
from skep_workers.session.checkpoint import stored_names
from skep_workers.session.checkpoint.reducers.definitions import registry
from skep_workers.session.checkpoint.restoring.chunk_store import ChunkStore
from skep_workers.session.checkpoint.restoring.guard import Avoided, Guard
from skep_workers.session.checkpoint.restoring.loading import Loaded, StoredStream, load_definitions, load_group
from skep_workers.session.checkpoint.restoring.restore_trial import RestoreTrial
from skep_workers.session.checkpoint.surroundings.ambient import Ambient
from skep_workers.session.checkpoint.surroundings.home import HOME
from skep_workers.session.checkpoint.surroundings.imports.session_imports import SUBMODULES, Imports
from skep_workers.session.checkpoint.surroundings.workspace import Workspace
from skep_workers.session.errors.sources import register_sources
from skep_workers.session.packages.session_packages import SessionPackages

stored_names.register()


@dataclass(slots=True)
class RestoreResult:
    """The result of a restore: the restored names, and the lost ones with reasons."""

    names: list[str]
    lost: dict[str, str]
    notes: list[str] = field(default_factory=list)
    future_flags: int = 0


class Restoring:
    """One restore. The constructor raises DamagedCheckpoint, before anything is bound or written."""

    def __init__(self, manifest: Manifest, store: ChunkStore) -> None:
        self._manifest = manifest
        self._contents = {e.path: store.joined(list(e.chunks)) for e in manifest.files if e.kind == "file"}
        self._packages = store.joined(manifest.packages.archive)
        self._ambient = _stream(manifest.ambient, store)
        self._sources = _optional_stream(manifest.sources, store)
        self._definitions = _optional_stream(manifest.definitions, store)
        # Groups that run code of cells are last: it may use modules, functions and plain data by their names.
        in_order = sorted(manifest.groups, key=lambda group: (group.is_tolerant, bool(group.named)))
        self._groups = [(group, _stream(group, store)) for group in in_order]

    def run(
        self,
        names: dict[str, Any],
        ambient: Ambient,
        workspace: Workspace,
        imports: Imports,
        packages: SessionPackages,
        *,
        is_careful: bool = False,
    ) -> RestoreResult:
        """Fill the namespace and the directory.

        is_careful: find out first, in a forked process, which code hangs or ends the process, and leave it out. For a
        checkpoint whose restore has ended a process before.
        """
        manifest = self._manifest
        result = RestoreResult([], dict(manifest.lost))
        if manifest.python != platform.python_version():
            result.notes.append(f"saved by Python {manifest.python}, restored by {platform.python_version()}")
        ambient.make_room()
        result.lost.update(workspace.restore(manifest.files, self._contents))
        result.notes += packages.kept.restore(manifest.packages, self._packages, manifest.python)
        result.notes += packages.note_restored()
        state = _load_plain(self._ambient)
        registry.is_fork = state.get(HOME, registry.home) != registry.home
        ambient.restore(state)
        result.future_flags = state.get("future_flags", 0)
        if self._sources is not None:
            register_sources(_load_plain(self._sources))
        avoided = self._calls_to_avoid() if is_careful else None
        # Nothing that is made here is garbage, and collecting takes twice as long as making it.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            with Guard(avoided) as guard:
                result.notes += imports.restore_submodules(state.get(SUBMODULES, ()), guard)
                self._fill(names, result, guard)
        finally:
            if was_enabled:
                gc.enable()
        return result

    def _calls_to_avoid(self) -> Avoided | None:
        failures = RestoreTrial(self._definitions, [stream for _, stream in self._groups]).run()
        return None if failures is None else failures.avoided

    def _fill(self, names: dict[str, Any], result: RestoreResult, guard: Guard) -> None:
        failed: list[tuple[int, Group, StoredStream]] = []
        is_defined = False
        for number, (group, stream) in enumerate(self._groups, start=1):
            if (group.named or group.is_tolerant) and not is_defined:
                is_defined = True
                self._define(names, result, guard)
            loaded = self._load(number, stream, guard)
            _bind(loaded, names, result)
            if loaded.lost:
                failed.append((number, group, stream))
        if not is_defined:
            self._define(names, result, guard)
        for number, group, stream in failed:
            # Again: code of cells may have used a name that was bound after it.
            if group.is_tolerant and number < len(self._groups):
                again = self._load(number, stream, guard)
                if not again.lost:
                    _bind(again, names, result)

    def _load(self, number: int, stream: StoredStream, guard: Guard) -> Loaded:
        guard.stream = number
        return load_group(stream, guard)

    def _define(self, names: dict[str, Any], result: RestoreResult, guard: Guard) -> None:
        if self._definitions is None:
            return
        guard.stream = 0
        definitions, shared = load_definitions(self._definitions, guard)
        _bind(shared, names, result)
        result.lost.update(definitions.partial)
        for name, key in self._manifest.bindings.items():
            if key in definitions.values:
                names[name] = definitions.values[key]
                result.names.append(name)
            else:
                result.lost.setdefault(name, definitions.lost.get(key, "its definition is not in the checkpoint"))


def _bind(loaded: Loaded, names: dict[str, Any], result: RestoreResult) -> None:
    names.update(loaded.values)
    result.names += loaded.values
    result.lost.update(loaded.lost)
    for name in loaded.values:
        if (remark := result.lost.pop(name, None)) is not None:
            result.notes.append(f"{name}: {remark}")  # it is restored, except the part that the checkpoint reported


def _optional_stream(group: Group | None, store: ChunkStore) -> StoredStream | None:
    return None if group is None else _stream(group, store)


def _stream(group: Group, store: ChunkStore) -> StoredStream:
    buffers: list[Any] = []
    for buffer in group.buffers:
        data = store.joined(buffer.chunks)
        buffers.append(bytes(data) if buffer.readonly else data)
    return StoredStream(store.joined(group.chunks), buffers, group.is_tolerant, group.names)


def _load_plain(stream: StoredStream) -> Any:
    """Return the plain values of a stream; an empty dict for a session without a state, into which a file was put."""
    return pickle.loads(stream.data, buffers=stream.buffers) if stream.data else {}
