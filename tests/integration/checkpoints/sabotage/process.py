"""Session processes without a host: cells run, snapshots are stored, and another process is restored from them."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, Self

from skep_shared.checkpoints.manifest import Manifest
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.models import SessionOptions
from skep_shared.protocol.frames import Blob, Configure, Done, Execute, Failure, Frame, Restore, Restored, Result, Saved
from skep_shared.values import decode_value
from skep_workers.host.process.listener import ProcessEnd
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.process.zygote import SessionSetup, Zygote
from skep_workers.sandbox.policy import SandboxPolicy

from ....sandbox_tier import TIER

START_SECONDS: Final = 30.0
STEP_SECONDS: Final = 60.0  # of a cell, a snapshot or a restore
LIMITS: Final = {"snapshot_seconds": 20.0}


class Ended(Exception):
    """A session process ended, or did not answer in time."""


class SnapshotStore:
    """The chunks and manifests of one session."""

    def __init__(self) -> None:
        self.chunks: dict[bytes, bytes] = {}
        self.manifests: dict[int, bytes] = {}  # by the seq of their cell

    def add(self, frame: Blob | Saved) -> None:
        """Store a frame of a snapshot."""
        if isinstance(frame, Blob):
            self.chunks[frame.name] = bytes(frame.data)
            return
        self.chunks.update(frame.blobs)
        self.manifests[frame.seq] = frame.manifest or self.latest()

    def latest(self) -> bytes:
        """Return the manifest of the latest checkpoint."""
        return self.manifests[max(self.manifests)]


def lost_of(manifest: bytes) -> dict[str, str]:
    """Return what a checkpoint leaves out, with the reasons."""
    return Manifest.unpack(manifest).lost


class Process:
    """One session process."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._process = SessionProcess(self)
        self._news = asyncio.Condition()
        self._notifying: set[asyncio.Task[None]] = set()
        self._seq = 0
        self._done: dict[int, Done] = {}
        self._failures: dict[int, Failure] = {}
        self._results: dict[int, Any] = {}
        self._restored: Restored | None = None
        self._ended = ""

    async def start(self, zygote: Zygote, directory: Path) -> Self:
        """Fork the process, with an empty directory."""
        _empty(directory)
        await self._process.start(zygote, directory, START_SECONDS)
        self._process.execute([Configure(SessionOptions().model_dump() | LIMITS | {"ast_cache_size": None})])
        return self

    async def run(self, code: str) -> Any:
        """Run a cell; return its value. Raises Ended, AssertionError for a cell that fails."""
        self._seq += 1
        seq = self._seq
        self._process.execute([Execute(seq, 1, f"cell-{seq}", code, None, None)])
        await self._until(lambda: seq in self._done, f"cell {seq}")
        if seq in self._failures:
            raise AssertionError(f"{self._failures[seq].traceback}\nin the cell\n{code}")
        return self._results.get(seq)

    async def saved(self) -> bytes:
        """Wait until the state after the latest cell is saved; return its manifest."""
        await self._until(lambda: self._seq in self._store.manifests, f"the snapshot after cell {self._seq}")
        return self._store.latest()

    async def restore(self, manifest: bytes) -> Restored:
        """Restore a checkpoint."""
        for name, data in self._store.chunks.items():
            await self._process.send_state(Blob(name, data))
        await self._process.send_state(Restore(manifest, is_careful=False))
        await self._until(lambda: self._restored is not None, "the restore")
        assert self._restored is not None
        return self._restored

    async def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        await self._process.gone.wait()

    async def _until(self, holds: Any, what: str) -> None:
        try:
            async with asyncio.timeout(STEP_SECONDS), self._news:
                await self._news.wait_for(lambda: holds() or self._ended)
        except TimeoutError:
            raise Ended(f"{what} took longer than {STEP_SECONDS:g} s") from None
        if not holds():
            raise Ended(f"the process ended before {what}: {self._ended}")

    def receive_output(self, frame: Frame) -> None:
        """Record a frame of any kind."""
        if isinstance(frame, Blob | Saved):
            self._store.add(frame)
        elif isinstance(frame, Done):
            self._done[frame.seq] = frame
        elif isinstance(frame, Failure):
            self._failures[frame.seq] = frame
        elif isinstance(frame, Result) and frame.data is not None:
            self._results[frame.seq] = decode_value(frame.data)
        elif isinstance(frame, Restored):
            self._restored = frame
        self._notify()

    receive_done = receive_snapshot_part = receive_restored = receive_reply = receive_output

    def start_ending(self, ending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start the task that completes the end of the process."""
        return asyncio.get_running_loop().create_task(ending)

    def process_ended(self, end: ProcessEnd) -> None:
        """Record how the process ended."""
        self._ended = end.cause
        self._notify()

    def _notify(self) -> None:
        if not self._notifying:
            task = asyncio.get_running_loop().create_task(self._notify_all())
            self._notifying.add(task)
            task.add_done_callback(self._notifying.discard)

    async def _notify_all(self) -> None:
        async with self._news:
            self._news.notify_all()


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()


class Lab:
    """A zygote, and a directory for each session."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="skep-sabotage-")
        self._count = 0

    async def __aenter__(self) -> Self:
        scratch, place = Path(self._scratch.name, "zygote"), Path(self._scratch.name, "sessions")
        _empty(scratch)
        _empty(place)
        self._zygote = Zygote(
            scratch,
            place,
            SessionSetup(["numpy"], sandbox=SandboxPolicy(Tier(TIER))),
            hash_seed=1,
            start_seconds=START_SECONDS,
        )
        await self._zygote.ensure_started()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._zygote.stop()
        self._scratch.cleanup()

    def new_directory(self) -> Path:
        """Return a directory for a session, which all its processes use."""
        self._count += 1
        return Path(self._scratch.name, "sessions", f"s{self._count}")

    async def process(self, store: SnapshotStore, directory: Path) -> Process:
        """Start a process of a session."""
        return await Process(store).start(self._zygote, directory)
