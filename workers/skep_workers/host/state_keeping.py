"""The state of one session between its process and Redis: snapshots that come, checkpoints that fill a new process."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog

from skep_shared.blobs import RedisBlobs
from skep_shared.checkpoint_ids import CheckpointId
from skep_shared.errors import StartError, StoreUnavailable
from skep_shared.frames import Blob, Hello, Resend, Restore, Restored, Saved
from skep_shared.manifests import plain_manifest
from skep_shared.script_replies import Claim
from skep_workers.host.backoff import persist
from skep_workers.host.checkpoints import CheckpointWriter, SavedState
from skep_workers.host.chunk_places import ChunkPlaces
from skep_workers.host.facilities import Host
from skep_workers.host.holdings import Holdings
from skep_workers.host.journal import Journal
from skep_workers.host.process import SessionProcess
from skep_workers.host.reporter import Reporter
from skep_workers.host.shelf import CheckpointShelf, retention_rule

log = structlog.get_logger()

MAX_FAILURES: Final = 2  # then an earlier checkpoint is taken: a third process would only hang too


class StateKeeping:
    """Stores what snapshots bring, prunes what is old, and brings state back."""

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
        holdings, redis_blobs = Holdings(), RedisBlobs(host.redis, host.scripts.keys)
        places = ChunkPlaces(redis_blobs, host.store, claim, host.settings.store_outage_seconds)
        self._writer = CheckpointWriter(places, holdings, on_saved, self._failed, self._go_on)
        rule = retention_rule(host.settings)
        self._shelf = CheckpointShelf(host.scripts, host.redis, claim, places, holdings, rule)
        self._process: SessionProcess | None = None
        self._prune = asyncio.Event()
        self._restored: asyncio.Future[Restored] | None = None
        self._failures: Counter[CheckpointId] = Counter()  # of processes that were restoring that checkpoint
        self._log = log.bind(session_id=claim.session_id, epoch=claim.epoch)

    async def load(self) -> None:
        """Learn which checkpoints there are."""
        await self._shelf.load()

    async def store(self) -> None:
        """Store chunks until cancelled."""
        await self._writer.run()

    async def prune(self) -> None:
        """Remove old checkpoints as new ones come, until cancelled. Raises Fenced, EventGap."""
        while True:
            await self._prune.wait()
            self._prune.clear()
            await self._shelf.prune()

    def take(self, frame: Blob | Saved, process: SessionProcess | None) -> None:
        """Take a part of a snapshot; while much of it waits to be stored, its process waits with the rest."""
        self._process = process
        self._writer.take(frame)
        if process is not None and self._writer.is_full:
            process.pause_snapshots(paused=True)

    def drop(self) -> None:
        """Forget what a process has sent and is not stored yet: it has crashed, its cells run again from before."""
        self._writer.drop()

    def committed(self, checkpoint: CheckpointId, manifest: bytes) -> None:
        """A checkpoint is there for good; older ones may go."""
        self._shelf.add(checkpoint, manifest)
        self._prune.set()

    @property
    def newest(self) -> CheckpointId:
        """Return the last checkpoint that has been committed, NO_CHECKPOINT without one."""
        return self._shelf.newest

    def has(self, checkpoint: CheckpointId) -> bool:
        """Return whether a checkpoint is kept."""
        return self._shelf.has(checkpoint)

    def restored(self, frame: Restored) -> None:
        """Take a process's word on what it made of the checkpoint it was given."""
        if self._restored is not None and not self._restored.done():
            self._restored.set_result(frame)

    def ended(self, cause: str) -> None:
        """The process has ended, perhaps while it was being filled."""
        if self._restored is not None and not self._restored.done():
            self._restored.set_exception(StartError("session process", f"it ended while it was restored: {cause}"))
            self._restored.exception()  # seen, should its chunks still be on their way

    async def settled(self) -> None:
        """Wait until every snapshot that has come is stored and written. Raises Fenced, EventGap."""
        await self._writer.stored()
        await self._journal.written()

    async def head_manifest(self) -> bytes | None:
        """Give the manifest of the latest checkpoint, None if it is not there."""
        async for checkpoint, manifest in self._shelf.manifests(self._journal.head):
            return manifest if checkpoint == self._journal.head else None
        return None

    def reading_ahead(self) -> AbstractAsyncContextManager[None]:
        """Read what a new process will probably be filled with, while it starts."""
        return self._shelf.reading_ahead(self._journal.head)

    async def fill(self, process: SessionProcess, hello: Hello, *, is_lagging: bool, is_live: bool = False) -> None:
        """Bring the session's state back, from the latest checkpoint that can be. Raises StartError, Fenced.

        is_lagging: cells may have committed ahead of their checkpoint, which is told. is_live: the process is a fork of
        one that has the state.
        """
        await self.settled()  # the state to begin from may be in a commit that is still on its way
        if is_lagging:
            await self._tell_lag()
        elif self._journal.cursor > self._journal.head.seq:
            await self._tell_unsaved()
        self._writer.restart()
        began_at = time.monotonic()
        started = {"pid": process.pid, "start_ms": round(process.start_ms, 1)}
        where = {"worker_id": self._host.worker_id, "python": hello.python}
        head = self._journal.head
        async for checkpoint, manifest in self._shelf.manifests(head):
            take = self._take_over if is_live else self._restore
            restored = await take(process, checkpoint, manifest)
            if not restored.damage:
                notes = [*restored.notes]
                if checkpoint != head:
                    notes.append(f"checkpoint {head} can't be restored; this is an earlier one")
                self._reporter.session_event(
                    "session.restored",
                    **where,
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
            # Or the session is somebody else's by now, who has pruned what this manifest names.
            await persist(lambda: self._host.scripts.confirm(self._claim), "damage", session_id=self._claim.session_id)
            self._log.error("checkpoint.damaged", checkpoint=str(checkpoint), damage=restored.damage)
            message = f"checkpoint {checkpoint} can't be restored: {restored.damage}"
            self._reporter.session_event("warning", category="checkpoint.damaged", message=message)
        self._reporter.session_event("session.started", **where)
        self._log.info("session.started", **started)

    async def _tell_lag(self) -> None:
        key = self._host.scripts.keys.session(self._claim.session_id)
        saved = int(await persist(lambda: self._host.redis.execute_command("HGET", key, "saved"), "saved") or 0)
        first, last = saved + 1, self._journal.cursor
        if first <= last:
            which = f"cell {first}" if first == last else f"cells {first} to {last}"
            message = f"what {which} did to the names is lost: durability is relaxed, and no checkpoint had it yet"
            self._reporter.session_event("warning", category="checkpoint.behind", message=message)

    async def _tell_unsaved(self) -> None:
        """Say which cells' effects are lost, if no checkpoint could be made after them."""
        key = self._host.scripts.keys.session(self._claim.session_id)
        first = await persist(lambda: self._host.redis.execute_command("HGET", key, "unsaved"), "unsaved")
        if first:
            later = " and those after it" if int(first) < self._journal.cursor else ""
            message = f"what cell {int(first)}{later} did is lost: no checkpoint could be made, and its process has ended"
            self._reporter.session_event("warning", category="checkpoint.behind", message=message)
            self._journal.go_on_without()

    async def _restore(self, process: SessionProcess, checkpoint: CheckpointId, manifest: bytes) -> Restored:
        if self._failures[checkpoint] >= MAX_FAILURES:
            return Restored(f"{self._failures[checkpoint]} processes hung or ended over it", {}, [])
        is_careful = self._failures[checkpoint] > 0
        self._failures[checkpoint] += 1
        try:
            restored = await self._fill_from(process, manifest, is_careful=is_careful)
        except StoreUnavailable as exc:  # not damage: an earlier checkpoint would be a loss, and no easier to read
            self._failures[checkpoint] -= 1
            process.kill()
            await process.gone.wait()
            raise StartError("session process", str(exc)) from exc
        del self._failures[checkpoint]
        return restored

    async def _take_over(self, process: SessionProcess, checkpoint: CheckpointId, manifest: bytes) -> Restored:
        """Have a fork of a live process be what a restore would give. Raises StartError: the next one is restored."""
        restored = await self._fill_from(process, manifest, sends_chunks=False)
        if restored.damage:
            process.kill()
            await process.gone.wait()
            raise StartError("session process", f"checkpoint {checkpoint} is not what the fork has: {restored.damage}")
        return restored

    async def _fill_from(
        self, process: SessionProcess, manifest: bytes, *, sends_chunks: bool = True, is_careful: bool = False
    ) -> Restored:
        if process.gone.is_set():
            raise StartError("session process", "it ended before it was restored")
        self._restored = asyncio.get_running_loop().create_future()
        try:
            if sends_chunks:
                await self._shelf.hand_on(manifest, process.send_state)
            await process.send_state(Restore(plain_manifest(manifest), is_careful))
        except (ValueError, TypeError) as exc:
            return Restored(f"its manifest can't be read: {exc}", {}, [])
        try:
            async with asyncio.timeout(self._host.settings.restore_seconds):
                return await self._restored
        except TimeoutError:
            process.kill()
            await process.gone.wait()
            raise StartError("session process", "its restore hung") from None

    def _failed(self) -> None:
        """A snapshot can't be stored. Its cells commit without it; the process goes on, and sends all of it again."""
        self._prune.set()  # what was stored of it
        if self._process is not None and not self._process.is_ending:
            self._process.control(Resend())

    def _go_on(self) -> None:
        # Not only when a snapshot is complete: what completes this one may be what its process waits with.
        if self._process is not None:
            self._process.pause_snapshots(paused=False)
