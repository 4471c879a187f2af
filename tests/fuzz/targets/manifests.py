"""Manifests, chunks and files' changes, as hosts and clients read them: nothing is unpickled there."""

import contextlib
from collections.abc import Iterable
from typing import Any, ClassVar

from skep_shared.broker.keys import Keys
from skep_shared.broker.script_replies import Claim
from skep_shared.broker.signatures import manifest_seal, open_manifest
from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT, CheckpointId
from skep_shared.checkpoints.content_chunks import digest
from skep_shared.checkpoints.manifest import Entry, Group, Manifest
from skep_shared.chunks.stored_form import DamagedChunk, from_stored, to_stored
from skep_shared.chunks.stored_manifest import Chunk, StoredManifest, UnstoredManifest, unpack_content
from skep_shared.errors import SignatureRefused
from skep_shared.settings import WorkerSettings
from skep_shared.signing import Signer
from skep_workers.host.checkpoint.catalog import CheckpointCatalog, retention_rule
from skep_workers.host.checkpoint.chunk_inventory import ChunkInventory
from skep_workers.host.checkpoint.file_change import FileChange, file_entry

from ..target import Finding, as_bytes, items_of, unpack_input
from .frames import CHUNK, NAME, packed_manifest

SIGNER = Signer(["key-of-the-shard-0123456789abcdef0123"], "t")
CHECKPOINT = CheckpointId(3, 1)
CHANGE = FileChange("a/new", file_entry("a/new", 0o600, 1, 1, [NAME]), (Entry("a", "directory", 0o700, 0, 0, (), ""),))
SETTINGS = WorkerSettings.load(prefix="t")


class Manifests:
    """Operations: the stored manifest, the stored chunk. Other inputs are both."""

    name: ClassVar[str] = "manifests"

    def __init__(self) -> None:
        self._sealed = manifest_seal(SIGNER, "s", CHECKPOINT, _stored(1)) + _stored(1)

    def close(self) -> None:
        """Nothing is open."""

    def seeds(self) -> Iterable[object]:
        """Yield manifests plain, compressed and signed, and chunks likewise."""
        yield [_stored(1), b"\0" + CHUNK]
        large = Manifest(1, [Group([f"x{n}"], [digest(b"%d" % n)]) for n in range(300)], None, {}, {}, Group([], []))
        chunks = [Chunk(name, 9, 9, 0, 0) for name in large.digests()]
        yield [UnstoredManifest.of(large).with_chunks(chunks).pack(), to_stored([b"x" * 9000])[0]]
        yield [self._sealed, SIGNER.seal("chunk", "s", NAME, b"\0" + CHUNK)]
        yield [packed_manifest(2), b"\1"]
        yield _stored(2, is_upload=True)

    def execute(self, data: bytes) -> None:
        """Read the manifest as each of its readers does, and the chunk."""
        operations = unpack_input(data)
        stored, chunk = (data, data) if operations is None else map(as_bytes, items_of(operations, 2))
        self._read_signed(stored)
        self._read_in_catalog(stored)
        try:
            manifest = StoredManifest.unpack(stored)
        except ValueError:
            pass
        else:
            self._use(manifest)
        for read in (unpack_content, UnstoredManifest.unpack):
            try:
                read(stored)
            except ValueError:
                continue
        with contextlib.suppress(DamagedChunk):
            from_stored(chunk)

    def _read_signed(self, stored: bytes) -> None:
        try:
            open_manifest(SIGNER, "s", CHECKPOINT, stored)
        except SignatureRefused:
            return
        if stored != self._sealed:
            raise Finding("a manifest was accepted that is not signed")

    def _read_in_catalog(self, stored: bytes) -> None:
        """Read it as the owner does which finds it in Redis, and prune as if it were old."""
        nothing: Any = None
        scripts: Any = _Scripts()
        claim = Claim("s", "token", 1, 3, 3, 0, 0, "", closing=False, options=b"", head=NO_CHECKPOINT)
        inventory = ChunkInventory(0)
        catalog = CheckpointCatalog(scripts, nothing, claim, nothing, inventory, retention_rule(SETTINGS))
        catalog._add_stored(CHECKPOINT, stored)
        for seq in range(5, 40):
            catalog.add(CheckpointId(seq), StoredManifest(b"", [Chunk(NAME, 7, 8)], {}), 10)
        catalog._history.to_remove(retention_rule(SETTINGS), frozenset())
        inventory.needed()

    def _use(self, manifest: StoredManifest) -> None:
        """Do what is done with a manifest that was read: a fork, a changed file, and its form in Redis."""
        try:
            forked = manifest.for_fork()
        except ValueError:
            return
        if [chunk.home for chunk in StoredManifest.unpack(forked.pack()).chunks] != [
            chunk.home + 1 for chunk in manifest.chunks
        ]:
            raise Finding("a fork's chunks are not one origin further away")
        try:
            content = manifest.content()
        except ValueError:
            return
        changed = UnstoredManifest.of(CHANGE.apply(content))
        known = {chunk.name: chunk for chunk in manifest.chunks}
        stored = changed.with_chunks([known.get(name, Chunk(name)) for name in changed.names], is_upload=True)
        again = StoredManifest.unpack(stored.pack()).content()
        if CHANGE.entry not in again.files:
            raise Finding("a changed file is missing in the manifest that was made for it")
        _ = again.names, again.state_bytes


class _Scripts:
    """What a catalog needs of the scripts to read: no key."""

    signer = None
    keys = Keys("t")


def _stored(seq: int, *, is_upload: bool = False) -> bytes:
    return (
        UnstoredManifest.unpack(packed_manifest(seq)).with_chunks([Chunk(NAME, 7, 8, 0, 1)], is_upload=is_upload).pack()
    )
