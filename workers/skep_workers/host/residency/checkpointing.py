"""The state of one session between its process and Redis: storing its snapshots, restoring it into a new process."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final

import structlog

from skep_shared import packed_events
from skep_shared.broker.script_replies import Claim
from skep_shared.checkpoints.checkpoint_ids import CheckpointId
from skep_shared.checkpoints.manifest import Group, Manifest
from skep_shared.chunks.blobs import RedisBlobs
from skep_shared.chunks.stored_manifest import IN_REDIS, Chunk, StoredManifest, UnstoredManifest
from skep_shared.errors import OperationFailed, RedisFull, SignatureRefused, StartError, StoreUnavailable
from skep_shared.protocol.frames import Blob, Hello, Resend, Restore, Restored, Saved
from skep_workers.host.broker.backoff import persist
from skep_workers.host.checkpoint.catalog import CheckpointCatalog, retention_rule
from skep_workers.host.checkpoint.chunk_inventory import ChunkInventory
from skep_workers.host.checkpoint.chunk_storage import ChunkStorage
from skep_workers.host.checkpoint.file_change import FileChange
from skep_workers.host.checkpoint.tenant_bytes import TenantBytes
from skep_workers.host.checkpoint.writer import CheckpointWriter, SavedState
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.residency.cells.reporter import Reporter
from skep_workers.host.residency.context import Host
from skep_workers.host.residency.journal import Journal

log = structlog.get_logger()

MAX_FAILURES: Final = 2  # then an earlier checkpoint is restored: a third process would only hang too


class HostCheckpoints:
    """Stores the snapshots of a session, prunes old checkpoints, and restores the state into new processes."""

    def __init__(
        self,
        host: Host,
        claim: Claim,
        journal: Journal,
        reporter: Reporter,
        on_saved: Callable[[SavedState], None],
    ) -> None:
        """`on_saved` is called when all chunks of a snapshot are stored."""
        self._host = host
        self._claim = claim
        self._journal = journal
        self._reporter = reporter
        self._inventory = inventory = ChunkInventory(IN_REDIS if host.store is None else claim.epoch)
        redis_blobs = RedisBlobs(host.redis, host.scripts.keys)
        self._storage = storage = ChunkStorage(
            redis_blobs, host.store, claim, host.settings.store_outage_seconds, host.scripts.signer
        )
        self._writer = CheckpointWriter(storage, inventory, on_saved, self._on_snapshot_failed, self._on_room)
        rule = retention_rule(host.settings)
        self._catalog = CheckpointCatalog(host.scripts, host.redis, claim, storage, inventory, rule)
        self.head = claim.head  # the one that Redis has; the journal's head may not have been written yet
        self._process: SessionProcess | None = None
        self._prune = asyncio.Event()
        self._tenant_bytes = TenantBytes(host.redis, host.scripts.keys, claim)
        self._restored: asyncio.Future[Restored] | None = None
        self._failures: Counter[CheckpointId] = Counter()  # of processes that were restoring that checkpoint
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)

    async def load(self) -> None:
        """Read from Redis which checkpoints exist."""
        await self._catalog.load()
        if self._tenant_bytes.has_tenant:
            self._prune.set()  # an owner that died may not have reported what it stored

    async def store(self) -> None:
        """Store chunks until cancelled."""
        await self._writer.run()

    async def prune(self) -> None:
        """Remove old checkpoints as new ones are committed, until cancelled. Raises Fenced, EventGap."""
        while True:
            await self._prune.wait()
            self._prune.clear()
            await self._catalog.prune()
            await self.report_bytes()

    async def report_bytes(self) -> None:
        """Count what the session stores for its tenant. Raises Fenced."""
        await self._tenant_bytes.report(self._catalog.stored_bytes)

    def receive_frame(self, frame: Blob | Saved, process: SessionProcess | None) -> None:
        """Receive a part of a snapshot; its process pauses sending while too much of it waits to be stored."""
        self._process = process
        self._writer.receive_frame(frame)
        if process is not None and self._writer.is_full:
            process.pause_snapshots(paused=True)

    def discard_unstored(self) -> None:
        """Forget what a crashed process has sent and is not stored yet: its cells will run again."""
        self._writer.discard_unstored()

    def committed(self, checkpoint: CheckpointId, manifest: StoredManifest, stored_bytes: int) -> None:
        """Record that a checkpoint has been committed, and prune older ones. stored_bytes: of its manifest in Redis."""
        self.head = checkpoint
        self._catalog.add(checkpoint, manifest, stored_bytes)
        self._prune.set()

    def roll_back(self, checkpoint: CheckpointId) -> None:
        """Continue from an earlier checkpoint, which Redis has as the latest one."""
        self.head = checkpoint

    async def store_chunks(self, chunks: Mapping[bytes, bytes]) -> None:
        """Store chunks that belong to no snapshot, and retain them until a snapshot names them or until `release`.

        Raises StoreUnavailable, RedisFull; then those that were stored are removed again.
        """
        for name in chunks:
            self._inventory.expect(name)
        await self._inventory.wait_for_removal(chunks)
        new = [(name, data) for name, data in chunks.items() if not self._inventory.is_stored(name)]
        try:
            for chunk in await self._storage.store_chunks(new) if new else ():
                self._inventory.record_stored(chunk)
        except (StoreUnavailable, RedisFull):
            self._inventory.record_failure(chunks)
            self._prune.set()
            raise

    def release(self, names: Iterable[bytes]) -> None:
        """Stop retaining chunks that `store_chunks` has stored."""
        self._inventory.release(names)
        self._prune.set()

    def with_files(self, state: SavedState, change: FileChange) -> SavedState:
        """Return a snapshot that is about to be committed with its files changed. Raises ValueError."""
        assert state.manifest is not None  # noqa: S101 - only a state with a manifest has files
        manifest = self._with_files(state.manifest.content(), state.manifest.chunks, change)
        self._inventory.add_snapshot(state.seq, [chunk.name for chunk in manifest.chunks], ())
        return replace(state, manifest=manifest)

    def _with_files(
        self, content: Manifest, chunks: Iterable[Chunk], change: FileChange, *, is_upload: bool = False
    ) -> StoredManifest:
        """Return the manifest with its files changed. chunks: where those of `content` are."""
        known = {chunk.name: chunk for chunk in chunks}
        changed = UnstoredManifest.of(change.apply(content))
        found = [known.get(name) or self._inventory.find(name) for name in changed.names]
        return changed.with_chunks(found, is_upload=is_upload)

    async def amended(self, change: FileChange, brought: Sequence[bytes]) -> tuple[SavedState, FileChange]:
        """Return the latest checkpoint with its files changed, to be saved as the next one, and the reverse change.

        brought: the chunks that were stored for it. Raises OperationFailed if the latest one can't be read.
        """
        before = Manifest(seq=0, groups=[], definitions=None, bindings={}, lost={}, ambient=Group([], []))
        chunks: list[Chunk] = []
        try:
            if self.head:
                latest = await self._catalog.read_manifest(self.head)
                if latest is None:
                    raise ValueError("it does not exist")
                before, chunks = latest.content(), latest.chunks
            manifest = self._with_files(before, chunks, change, is_upload=True)
        except (ValueError, TypeError, KeyError) as exc:
            raise OperationFailed(f"the latest checkpoint, {self.head}, can't be read: {exc}") from exc
        checkpoint = self.newest.after(self.newest.seq)
        self._inventory.add_snapshot(checkpoint.seq, [chunk.name for chunk in manifest.chunks], brought)
        in_redis = [chunk.name for chunk in manifest.chunks if chunk.name in brought and chunk.epoch == IN_REDIS]
        blobs = tuple((name, b"") for name in in_redis)
        lost = tuple(sorted(manifest.lost.items()))
        state = SavedState(checkpoint.seq, manifest, blobs, lost, kind="last", part=checkpoint.part)
        return state, change.reversed_for(before)

    @property
    def newest(self) -> CheckpointId:
        """The last checkpoint that has been committed, NO_CHECKPOINT without one."""
        return self._catalog.newest

    def has(self, checkpoint: CheckpointId) -> bool:
        """Return whether a checkpoint is retained."""
        return self._catalog.has(checkpoint)

    def restored(self, frame: Restored) -> None:
        """Receive a process's answer to Restore."""
        if self._restored is not None and not self._restored.done():
            self._restored.set_result(frame)

    def ended(self, cause: str) -> None:
        """Record that the process has ended; a restore that was under way fails."""
        if self._restored is not None and not self._restored.done():
            self._restored.set_exception(StartError("session process", f"it ended while it was restored: {cause}"))
            self._restored.exception()  # marked as retrieved, in case its chunks are still being sent

    async def settled(self) -> None:
        """Wait until every snapshot that was received is stored and committed. Raises Fenced, EventGap."""
        await self._writer.wait_until_stored()
        await self._journal.written()

    async def head_manifest(self) -> StoredManifest | None:
        """Return the manifest of the latest checkpoint, None if there is none or it can't be read."""
        head = self._journal.head
        if not head or not self._catalog.has(head):
            return None
        try:
            return await self._catalog.read_manifest(head)
        except (ValueError, TypeError):
            return None  # reported when the checkpoint is restored

    def reading_ahead(self) -> AbstractAsyncContextManager[None]:
        """Read the checkpoint that a new process will probably be restored from while the process starts."""
        return self._catalog.reading_ahead(self._journal.head)

    async def restore_into(
        self, process: SessionProcess, hello: Hello, *, is_lagging: bool, is_live: bool = False
    ) -> None:
        """Restore the session's state from the latest checkpoint that is not damaged. Raises StartError, Fenced.

        is_lagging: cells may have committed ahead of their checkpoint; a warning event names them. is_live: the process
        is a fork of one that has the state.
        """
        await self.settled()  # the state to begin from may be in a commit that has not been written
        if is_lagging:
            await self._warn_of_lag()
        elif self._journal.cursor > self._journal.head.seq:
            await self._warn_of_unsaved()
        self._writer.restart()
        began_at = time.monotonic()
        started = {"pid": process.pid, "start_ms": round(process.start_ms, 1)}
        head = self._journal.head
        for checkpoint in self._catalog.up_to(head):
            restore = self._restore_fork if is_live else self._restore
            restored = await restore(process, checkpoint)
            if restored is None:
                continue
            if not restored.damage:
                notes = [*restored.notes]
                if checkpoint != head:
                    notes.append(f"checkpoint {head} can't be restored; this is an earlier one")
                self._reporter.session_event(
                    packed_events.session_restored,
                    worker_id=self._host.worker_id,
                    python=hello.python,
                    checkpoint=str(checkpoint),
                    lost=restored.lost,
                    notes=notes,
                    is_live=is_live,
                )
                restore_ms = round((time.monotonic() - began_at) * 1000, 1)
                self._log.info(
                    "session.restored",
                    **started,
                    restore_ms=restore_ms,
                    checkpoint=str(checkpoint),
                    lost=len(restored.lost),
                    is_live=is_live,
                )
                return
            # The damage may only look like one: a newer owner of the session may have pruned what this manifest names.
            await persist(lambda: self._host.scripts.confirm(self._claim), "damage", session_id=self._claim.session_id)
            self._log.error("checkpoint.damaged", checkpoint=str(checkpoint), damage=restored.damage)
            message = f"checkpoint {checkpoint} can't be restored: {restored.damage}"
            self._reporter.session_event(packed_events.warning, category="checkpoint.damaged", message=message)
        self._reporter.session_event(packed_events.session_started, worker_id=self._host.worker_id, python=hello.python)
        self._log.info("session.started", **started)

    async def _warn_of_lag(self) -> None:
        """Report which cells' effects are lost because they had committed ahead of their checkpoint."""
        key = self._host.scripts.keys.session(self._claim.session_id)
        saved = int(await persist(lambda: self._host.redis.execute_command("HGET", key, "saved"), "saved") or 0)
        first, last = saved + 1, self._journal.cursor
        if first <= last:
            which = f"cell {first}" if first == last else f"cells {first} to {last}"
            message = f"the effects of {which} are lost: durability is relaxed, and no checkpoint had them yet"
            self._reporter.session_event(packed_events.warning, category="checkpoint.behind", message=message)

    async def _warn_of_unsaved(self) -> None:
        """Report which cells' effects are lost if no checkpoint could be made after them."""
        key = self._host.scripts.keys.session(self._claim.session_id)
        first = await persist(lambda: self._host.redis.execute_command("HGET", key, "unsaved"), "unsaved")
        if first:
            which = (
                f"cell {int(first)} and those after it" if int(first) < self._journal.cursor else f"cell {int(first)}"
            )
            message = f"the effects of {which} are lost: no checkpoint could be made, and the process has ended"
            self._reporter.session_event(packed_events.warning, category="checkpoint.behind", message=message)
            self._journal.discard_unsaved()

    async def _restore(self, process: SessionProcess, checkpoint: CheckpointId) -> Restored | None:
        """Restore a checkpoint. Return None if it does not exist. Raises StartError."""
        if self._failures[checkpoint] >= MAX_FAILURES:
            return Restored(f"{self._failures[checkpoint]} processes hung or ended over it", {}, [])
        is_careful = self._failures[checkpoint] > 0
        self._failures[checkpoint] += 1
        try:
            restored = await self._send_checkpoint(process, checkpoint, is_careful=is_careful)
        except StoreUnavailable as exc:  # not damage: an earlier checkpoint would lose state, and can't be read either
            self._failures[checkpoint] -= 1
            process.kill()
            await process.gone.wait()
            raise StartError("session process", str(exc)) from exc
        del self._failures[checkpoint]
        return restored

    async def _restore_fork(self, process: SessionProcess, checkpoint: CheckpointId) -> Restored:
        """Make a fork of a live process equal to a restored one. Raises StartError: the next process is restored."""
        restored = await self._send_checkpoint(process, checkpoint, sends_chunks=False)
        damage = "it does not exist" if restored is None else restored.damage
        if restored is None or damage:
            process.kill()
            await process.gone.wait()
            raise StartError("session process", f"checkpoint {checkpoint} is not what the fork has: {damage}")
        return restored

    async def _send_checkpoint(
        self, process: SessionProcess, checkpoint: CheckpointId, *, sends_chunks: bool = True, is_careful: bool = False
    ) -> Restored | None:
        """Send a checkpoint to the process; return its answer, or None if the checkpoint does not exist."""
        try:
            manifest = await self._catalog.read_manifest(checkpoint)
            if manifest is None:
                return None
            if process.gone.is_set():
                raise StartError("session process", "it ended before it was restored")
            self._restored = asyncio.get_running_loop().create_future()
            if sends_chunks:
                await self._catalog.send_chunks(manifest, process.send_state)
            await process.send_state(Restore(manifest.packed, is_careful))
        except SignatureRefused as exc:
            return Restored(str(exc), {}, [])
        except (ValueError, TypeError) as exc:
            return Restored(f"its manifest can't be read: {exc}", {}, [])
        try:
            async with asyncio.timeout(self._host.settings.restore_seconds):
                return await self._restored
        except TimeoutError:
            process.kill()
            await process.gone.wait()
            raise StartError("session process", "its restore hung") from None

    def _on_snapshot_failed(self) -> None:
        """Ask the process to send all of its state again. It continues; its cells commit without a checkpoint."""
        self._prune.set()  # removes the chunks of the snapshot that were stored
        if self._process is not None and not self._process.is_ending:
            self._process.control(Resend())

    def _on_room(self) -> None:
        # Not only when a snapshot is complete: the paused process may have the rest of this one still to send.
        if self._process is not None:
            self._process.pause_snapshots(paused=False)
