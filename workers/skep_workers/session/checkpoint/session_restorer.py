"""Restoring a checkpoint into a session process: from chunks, or, in a fork of a live process, from what it has."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from skep_shared.checkpoints.manifest import Manifest
from skep_shared.protocol.frames import Blob, Expect, Restore, Restored
from skep_workers.session.checkpoint.hidden_names import shown_name
from skep_workers.session.checkpoint.lost_names import LostName, LostNames, describe
from skep_workers.session.checkpoint.restoring.chunk_store import ChunkStore
from skep_workers.session.checkpoint.restoring.restoring import Restoring
from skep_workers.session.checkpoint.state import State
from skep_workers.session.checkpoint.state_reader import StateReader
from skep_workers.session.checkpoint.surroundings.ambient import FUTURE_FLAGS


class SessionRestorer:
    """Receives the chunks of a checkpoint and restores the session from them."""

    def __init__(self, parts: StateReader, on_restored: Callable[[Manifest, dict[str, Any]], None]) -> None:
        """on_restored: is called with a checkpoint that was restored from its chunks, and the names."""
        self._parts = parts
        self._on_restored = on_restored
        self._chunks = ChunkStore()
        self._inherited: State | None = None  # the state that a fork has, until its checkpoint is restored
        self._is_at: Callable[[Manifest], bool] = lambda _: False
        self._hidden_values: list[Any] = []  # values of a fork's parent that its checkpoint doesn't have
        self.lost = LostNames()

    def prepare_chunks(self, frame: Expect) -> None:
        """Allocate memory for the large parts of a checkpoint, whose chunks arrive next."""
        # A failure here is reported later, when the checkpoint is to be restored.
        with suppress(MemoryError, ValueError, KeyError, TypeError):
            manifest = Manifest.unpack(frame.manifest)
            self._chunks.prepare(manifest.runs(), manifest.sizes)

    def chunk_destination(self, name: bytes, size: int) -> memoryview | None:
        """Return where a chunk can be received, None if it has no place of its own."""
        return self._chunks.destination(name, size)

    def receive_chunk(self, blob: Blob) -> None:
        """Receive a chunk of the checkpoint to restore."""
        self._chunks.add(blob.name, blob.data)

    def restore(self, frame: Restore) -> tuple[Restored, int]:
        """Fill the namespace; return the answer, and the future flags of the session's cells."""
        if self._inherited is not None:
            return self._restore_as_twin(Manifest.unpack(frame.manifest), self._inherited)
        chunks, self._chunks = self._chunks, ChunkStore()
        parts = self._parts
        names = parts.namespace.names
        try:
            manifest = Manifest.unpack(frame.manifest)
            result = Restoring(manifest, chunks).run(
                names,
                parts.ambient,
                parts.workspace,
                parts.imports,
                parts.packages,
                is_careful=frame.is_careful,
            )
        except Exception as exc:  # noqa: BLE001 - the host has to be notified of any failure, and waits for it
            with suppress(OSError):
                parts.ambient.enter_start()
            return Restored(describe(exc), {}, []), 0
        finally:
            chunks.release()
        result.lost = {shown_name(name): reason for name, reason in result.lost.items()}
        parts.imports.restore(names, result.lost)
        _explain_missing(result.lost, parts.packages.kept.failure)
        result.notes += parts.ambient.finish(names)
        parts.recipes.bind(names, result.lost)
        self._record_lost(manifest, result.lost)
        self._on_restored(manifest, names)
        return Restored("", result.lost, result.notes), result.future_flags

    def begin_as_twin(self, state: State, is_at: Callable[[Manifest], bool]) -> None:
        """Continue in a fork of a live process, which has this state. is_at: returns whether it is at a checkpoint."""
        self._inherited, self._is_at = state, is_at

    def _restore_as_twin(self, manifest: Manifest, state: State) -> tuple[Restored, int]:
        """Restore the checkpoint that this process was forked at: remove the names that the checkpoint doesn't have."""
        parts = self._parts
        if not self._is_at(manifest):
            return Restored("the fork is at another checkpoint", {}, []), 0
        self._inherited = None
        kept = manifest.names
        lost = {name: reason for name, reason in manifest.lost.items() if name not in kept}
        # They remain alive, unreachable. Effects of their end, such as deleting a database's journal, are the parent's.
        self._hidden_values += parts.namespace.unbind_all_except(kept)
        notes = parts.ambient.take_over(state.ambient, kept)
        parts.recipes.bind_again(parts.namespace.names, kept, lost)
        self._record_lost(manifest, lost)
        return Restored("", lost, notes), state.ambient.get(FUTURE_FLAGS, 0)

    def _record_lost(self, manifest: Manifest, lost: dict[str, str]) -> None:
        checkpoint = f"{manifest.seq}-0"
        self.lost.record([LostName(name, reason, checkpoint) for name, reason in lost.items()])

    def release_values(self) -> None:
        """Hold no value any more."""
        self._hidden_values.clear()


def _explain_missing(lost: dict[str, str], failure: str) -> None:
    """Add why packages could not be installed to the reasons of the names that needed a module of them."""
    for name, reason in lost.items() if failure else ():
        if "ModuleNotFoundError" in reason:
            lost[name] = f"{reason} (its package could not be installed again: {failure})"
