"""The parts of one residency without Redis and without a process: what a worker receives is real, what it sends is kept."""

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from skep.outcome import fold_outcome
from skep_shared.broker.keys import Keys
from skep_shared.broker.mailbox_entries import OperationRequest, SubmittedCell
from skep_shared.broker.script_replies import Claim
from skep_shared.checkpoints.checkpoint_ids import NO_CHECKPOINT
from skep_shared.chunks.stored_manifest import StoredManifest
from skep_shared.event_codec import unpack_event
from skep_shared.events import CellFinished
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.models import CellSpec
from skep_shared.process_trees import ProcessId
from skep_shared.protocol.frame_codec import PROTOCOL_VERSION, encode_frame
from skep_shared.protocol.frames import Hello
from skep_shared.settings import WorkerSettings
from skep_shared.states import ResidentStep
from skep_workers.host.broker.answers import Answers
from skep_workers.host.broker.redis_clock import RedisClock
from skep_workers.host.broker.signed_requests import SignedRequests
from skep_workers.host.control_groups.worker_groups import WorkerGroups
from skep_workers.host.network.choice import NetworkChoice
from skep_workers.host.process.listener import ProcessEnd
from skep_workers.host.process.process import SessionProcess
from skep_workers.host.residency.accounting import Accounting
from skep_workers.host.residency.context import Host
from skep_workers.host.residency.parts import ResidencyParts

from ..target import Finding

CELLS = 3
TICKS = 5  # of the event loop after an input, for what it has started
OPERATIONS = ("complete", "variables")
SETTINGS = WorkerSettings.load(prefix="t", flush_ms=1)
HELLO = Hello(PROTOCOL_VERSION, [], 4242, "3.11.7")


class _Redis:
    """Accepts every command of a worker that stores chunks."""

    def pipeline(self, *, transaction: bool) -> "_Redis":
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def hset(self, *_: object) -> None:
        pass

    async def execute(self) -> list[object]:
        return []

    async def execute_command(self, *_: object) -> list[object]:
        return []


class KeptWrites:
    """The scripts of an owner, which keep what they are called with; everything succeeds."""

    def __init__(self) -> None:
        self.keys = Keys("t")
        self.signer = None
        self.events: list[bytes] = []
        self.manifests: list[bytes] = []

    def post_begin(self, claim: Claim, seq: int) -> None:
        """Leave it to `begin`."""

    async def begin(self, claim: Claim, seq: int) -> int:
        """Return the cell's seq."""
        return seq

    async def confirm(self, claim: Claim) -> int:
        """Return the session's last seq."""
        return claim.seq

    async def emit(self, claim: Claim, first_event: int, events: list[bytes], *, said: str = "") -> int:
        """Keep events."""
        self.events += events
        return first_event + len(events) - 1

    async def commit(self, claim: Claim, *, first_event: int, cells: list[Any], **_: Any) -> int:
        """Keep the events and manifests of cells."""
        events = [event for cell in cells for event in cell.events]
        self.events += events
        self.manifests += [cell.manifest for cell in cells if len(cell.manifest) > 1]
        return first_event + len(events) - 1

    async def save(self, claim: Claim, checkpoint: object, manifest: bytes, *_: object, **__: object) -> int:
        """Keep a manifest."""
        if manifest:
            self.manifests.append(manifest)
        return claim.seq

    async def prune(self, *_: object, **__: object) -> Any:
        """Remove everything that is asked for."""
        return SimpleNamespace(is_done=True, protected=frozenset())


class _Process(SessionProcess):
    """A session process without a process."""

    def __init__(self, parts: ResidencyParts) -> None:
        super().__init__(parts)
        self.router = self._router
        self.is_killed = False

    def kill(self) -> None:
        """Record it."""
        self.is_killed = True


class Residency:
    """A session with cells and operations that its process has been sent."""

    def __init__(self) -> None:
        self.writes = KeptWrites()
        redis: Any = _Redis()
        scripts: Any = self.writes
        nothing: Any = None
        places: Any = SimpleNamespace(
            current=SimpleNamespace(path=Path("/nonexistent").joinpath),
            worker=ProcessId(0, 0),
            place=Path("/nonexistent"),
        )
        host = Host(
            "w", SETTINGS, Tier.NONE, redis, redis, scripts, RedisClock(), nothing, places, WorkerGroups(), Accounting(),
            Answers(redis, scripts.keys, 60.0), SignedRequests(None, redis, scripts.keys), NetworkChoice(), nothing,
        )  # fmt: skip
        claim = Claim("s", "token", 1, 0, CELLS, 0, 0, "", closing=False, options=b"", head=NO_CHECKPOINT)
        self.parts = ResidencyParts(host, claim, lambda _: None)
        self.process = _Process(self.parts)
        self._tasks: list[asyncio.Task[Any]] = []
        self._stop = contextlib.ExitStack()

    def start(self) -> None:
        """Attach the process and send it the cells and operations."""
        parts = self.parts
        for work, name in ((parts.journal.run(), "journal"), (parts.checkpoints.store(), "checkpoints")):
            self._begin(work, name)
        self.process.router.receive_cell_data(encode_frame(HELLO))
        parts.lifecycle.step(ResidentStep.START)
        parts.processes.current = self.process
        parts.lifecycle.step(ResidentStep.HELLO)
        parts.attach(self.process)
        for seq in range(1, CELLS + 1):
            body = CellSpec(code="1", labels={"a": "b"}).pack()
            parts.intake.offer(SubmittedCell("s", seq, f"c{seq}", body, 1_700_000_000_000.0))
        for kind in OPERATIONS:
            parts.operations.add(OperationRequest("client", kind, kind, b"\xc0", 5.0))
        parts.send_operations()

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    async def settle(self) -> None:
        """Run what was started; raise what a writer of the residency has raised."""
        for _ in range(2):
            self.parts.journal.flush()
            for _ in range(TICKS):
                await asyncio.sleep(0)
        for task in self._tasks:
            if task.done():
                task.result()

    async def end(self) -> None:
        """End the process, and check what was written."""
        parts, router = self.parts, self.process.router
        self.process.gone.set()
        if parts.processes.current is not None:
            parts.process_ended(ProcessEnd(router.fault or "exited with status 0", (("stdout", "rest"),)))
        await self.settle()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._check_writes()

    def _check_writes(self) -> None:
        """Check that clients can read each event, each outcome and each checkpoint."""
        events = []
        for number, packed in enumerate(self.writes.events, start=1):
            try:
                events.append(unpack_event("s", f"{number}-0", packed))
            except ValueError as exc:
                raise Finding(f"a worker wrote an event that clients can't read: {exc}") from exc
        for cell_id in {event.cell_id for event in events if isinstance(event, CellFinished) and event.cell_id}:
            fold_outcome("s", cell_id, events)
        for packed in self.writes.manifests:
            StoredManifest.unpack(packed)  # the rest is only read where it may fail
