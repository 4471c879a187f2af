"""A session process without a process: it takes the host's frames and answers as a real one would, in virtual time.

What a cell does is its code: `oracle`, `fail` (raises, changes nothing), `crash` (ends its process half-way), `poison`
(ends its worker half-way) or `stubborn` (does not heed an interrupt), with the number of lines and the seconds it takes.
State is saved as the real one does it: in place with the cell's end, or by a child while the next cell runs; only
chunks that were not sent before are sent, and what a chunk holds may come back later.
"""

import asyncio
from collections import deque
from contextvars import copy_context
from random import Random
from typing import TYPE_CHECKING, Any

import msgpack

from skep_shared.errors import ProtocolError
from skep_shared.packed_events import EndedWork
from skep_shared.protocol.frames import (
    Blob,
    Configure,
    Done,
    Execute,
    Expect,
    Failure,
    Frame,
    Interrupt,
    Output,
    Restore,
    Restored,
    Result,
    Saved,
    Shutdown,
    Withdraw,
    Work,
)
from skep_workers.host.process.leave_requests import Patience
from skep_workers.host.process.listener import ProcessEnd, ProcessListener
from skep_workers.host.process.process import DEFAULT_PATIENCE
from skep_workers.host.process.snapshot_order import SnapshotOrder

from ..checker.oracle import NOTHING, absorb, lines_of
from .cell_plan import Plan, chunks_of
from .network import NET, Machine

if TYPE_CHECKING:
    from .world import World

HOP_SECONDS = 0.0002
KILL_SECONDS = 2.0


class SimulatedProcess:
    """One session process, as `SessionProcess` shows it to the host."""

    def __init__(self, world: "World", machine: Machine, listener: ProcessListener) -> None:
        self._world = world
        self._loop = world.loop
        self._rng: Random = world.rng
        self._machine = machine
        self._host_context = copy_context()
        self._listener = listener
        self._is_alive = True
        self._cause = ""
        self._queue: deque[Execute] = deque()
        self._running: Execute | None = None
        self._epoch = 0  # of what runs: a timer of an earlier cell does nothing
        self._interrupted: set[tuple[int, int]] = set()
        self._withdrawn: set[tuple[int, int]] = set()
        self._state = NOTHING
        self._stored: set[bytes] = set()
        self._restoring: dict[bytes, bytes] = {}
        self._saved_state: tuple[int, str] | None = None
        self._is_saving = False
        self._is_wanted = False
        self._latest_seq = 0
        self._held: list[Frame] = []
        self._held_snapshots: list[Frame] = []
        self._is_held = False
        self._are_snapshots_held = False
        self._is_leaving = False
        self._arrives = 0.0
        self._snapshots_arrive = 0.0
        self._snapshot_order = SnapshotOrder(listener.receive_snapshot_part)
        self._sent_apart = 0
        self.is_new = True  # until it is given its first cells
        self.gone = asyncio.Event()
        self.pid = 4242
        self.start_ms = 0.0

    # --- what the host calls

    @property
    def is_ending(self) -> bool:
        """Return whether the host has been notified of its end."""
        return self.gone.is_set()

    def execute(self, frames: list[Configure | Execute]) -> None:
        """Receive cells."""
        cells = [frame for frame in frames if isinstance(frame, Execute)]
        self.is_new = self.is_new and not cells
        if cells and self._is_alive:
            self._loop.call_later(HOP_SECONDS, self._queue_cells, cells, context=NET)

    def control(self, frame: Any) -> None:
        """Receive a request."""
        if self._is_alive:
            self._loop.call_later(HOP_SECONDS, self._receive_request, frame, context=NET)

    def ping(self, now: float) -> float:
        """It always answers."""
        return 0.0

    def pause_reading(self) -> None:
        """Keep what comes."""
        self._is_held = True

    def resume_reading(self) -> None:
        """Receive the stored state."""
        self._is_held = False
        held, self._held = self._held, []
        for frame in held:
            self._hand_over(frame)

    def pause_snapshots(self, *, paused: bool) -> None:
        """Keep what comes on the snapshot socket, or take it again."""
        self._are_snapshots_held = paused
        if not paused:
            held, self._held_snapshots = self._held_snapshots, []
            for frame in held:
                self._hand_over_snapshot(frame)

    async def send_state(self, frame: Blob | Expect | Restore) -> None:
        """Receive a part of a checkpoint."""
        if isinstance(frame, Blob):
            self._restoring[frame.name] = frame.data
        elif isinstance(frame, Restore):
            self._loop.call_later(self._rng.random() * 0.01, self._restore, frame, context=NET)

    async def work(self, patience_seconds: float) -> Work | None:
        """Work between cells, at times, or don't answer."""
        await asyncio.sleep(HOP_SECONDS)
        chance = self._rng.random()
        return None if chance < 0.1 else Work(1, ["task"] if chance < 0.3 else [], [], [])

    async def leave(self, order: Shutdown, patience: Patience = DEFAULT_PATIENCE) -> EndedWork:
        """End: asked, then killed."""
        if not self.gone.is_set():
            self._is_leaving = True
            if self._running is None:
                if order.seq and self._is_alive and not self._is_saving:
                    self._send(*self._save_last(order.seq))
                self._die("exited with status 0")
            try:
                async with asyncio.timeout(sum(patience)):
                    await self.gone.wait()
            except TimeoutError:
                self.kill()
                await self.gone.wait()
        return EndedWork(tasks=["task"]) if self._rng.random() < 0.5 else EndedWork()

    async def stop(self) -> None:
        """End without saving."""
        await self.leave(Shutdown())

    def kill(self) -> None:
        """End at once."""
        self.resume_reading()
        self._die("killed by SIGKILL")

    # --- how it ends

    def crash(self, cause: str) -> None:
        """End by itself."""
        self._die(cause)

    def vanish(self) -> None:
        """End with the machine; no node is notified."""
        self._is_alive = False
        self.gone.set()

    def _die(self, cause: str) -> None:
        if self._is_alive:
            self._is_alive = False
            self._epoch += 1
            self._world.processes.pop(self, None)
            self._loop.call_at(
                max(self._arrives, self._loop.time()) + HOP_SECONDS, self._end, cause, context=self._host_context
            )

    def _end(self, cause: str) -> None:
        if not self.gone.is_set():
            self.gone.set()
            self._listener.process_ended(ProcessEnd(self._cause or cause))

    # --- frames to the host

    def _send(self, *frames: Frame) -> None:
        """Send on the cell socket, in order."""
        self._arrives = max(self._arrives, self._loop.time() + HOP_SECONDS)
        for frame in frames:
            self._loop.call_at(self._arrives, self._hand_over, frame, context=self._host_context)

    def _hand_over(self, frame: Frame) -> None:
        if self._is_held:
            self._held.append(frame)
        elif not self.gone.is_set():
            try:
                if isinstance(frame, Blob | Saved):
                    self._snapshot_order.receive_from_cells(frame)
                elif isinstance(frame, Done):
                    self._listener.receive_done(frame)
                elif isinstance(frame, Restored):
                    self._listener.receive_restored(frame)
                else:
                    self._listener.receive_output(frame)  # type: ignore[arg-type] - it sends no other kinds
            except ProtocolError as exc:
                self._world.note("protocol", self._machine, str(exc))
                self._cause = f"it broke the protocol ({exc})"
                self.kill()

    def _hand_over_snapshot(self, frame: Frame) -> None:
        if self._are_snapshots_held:
            self._held_snapshots.append(frame)
        elif not self.gone.is_set():
            self._snapshot_order.receive_from_snapshots(frame)

    # --- cells

    def _queue_cells(self, cells: list[Execute]) -> None:
        self._queue.extend(cells)
        if self._running is None:
            self._start_next()

    def _receive_request(self, frame: Any) -> None:
        match frame:
            case Interrupt(seq, attempt):
                self._interrupted.add((seq, attempt))
                running = self._running
                if running is not None and (running.seq, running.attempt) == (seq, attempt):
                    self._loop.call_later(self._rng.random() * 0.02, self._interrupt, self._epoch, context=NET)
            case Withdraw(seq, attempt):
                self._withdrawn.add((seq, attempt))

    def _start_next(self) -> None:
        while self._is_alive and self._running is None and self._queue:
            cell = self._queue.popleft()
            key = (cell.seq, cell.attempt)
            if key in self._withdrawn:
                self._send(Done(cell.seq, cell.attempt, "cancelled", 0, "unknown", {}), *self._save(cell.seq))
                continue
            self._running = cell
            self._epoch += 1
            plan = Plan.of(cell.code)
            end = plan.seconds + 0.0005
            if plan.kind in {"crash", "poison"}:
                self._loop.call_later(end / 2, self._break, plan, self._epoch, context=NET)
            text = lines_of(cell.cell_id, plan.lines)
            early = plan.kind == "oracle" and self._rng.random() < 0.5
            if early:
                self._state = absorb(self._state, cell.cell_id)
            # Short cells say everything at once, as the real one coalesces.
            groups = [text] if plan.seconds < 0.01 else [[line] for line in text]
            for number, group in enumerate(groups if text else []):
                at = end * (number + 1) / (len(groups) + 1)
                self._loop.call_later(at, self._print, "".join(group), self._epoch, context=NET)
            self._loop.call_later(end, self._finish, plan, early, self._epoch, context=NET)
            if key in self._interrupted:
                self._loop.call_later(0.0001, self._interrupt, self._epoch, context=NET)

    def _print(self, text: str, epoch: int) -> None:
        if epoch == self._epoch and self._running is not None:
            self._send(Output(self._running.seq, self._running.attempt, "stdout", text))

    def _break(self, plan: Plan, epoch: int) -> None:
        if epoch != self._epoch or not self._is_alive:
            return
        if plan.kind == "crash":
            self.crash("killed by SIGSEGV")
        else:
            self._world.kill(self._machine, "by a cell")

    def _interrupt(self, epoch: int) -> None:
        cell = self._running
        if epoch == self._epoch and cell is not None and Plan.of(cell.code).kind != "stubborn":
            self._over(cell, "interrupted", Failure(cell.seq, cell.attempt, "KeyboardInterrupt", "", ""))

    def _finish(self, plan: Plan, early: bool, epoch: int) -> None:
        cell = self._running
        if epoch != self._epoch or cell is None:
            return
        if plan.kind == "fail":
            self._over(cell, "failed", Failure(cell.seq, cell.attempt, "ZeroDivisionError", "division by zero", ""))
            return
        if not early:
            self._state = absorb(self._state, cell.cell_id)
        n, h = self._state
        self._over(
            cell, "finished", Result(cell.seq, cell.attempt, {"text/plain": f"({n}, '{h}')"}, msgpack.packb((n, h)))
        )

    def _over(self, cell: Execute, status: str, last_word: Frame) -> None:
        self._epoch += 1
        self._running = None
        done = Done(cell.seq, cell.attempt, status, 1000, "simple_sync", {})
        self._send(last_word, done, *self._save(cell.seq))
        if self._is_leaving:
            self._die("exited with status 0")
            return
        for frame in self._save_if_wanted():
            self._send(frame)
        self._loop.call_later(0.00005, self._start_if_idle, context=NET)

    def _start_if_idle(self) -> None:
        if self._running is None:
            self._start_next()

    # --- state

    def _save(self, seq: int) -> list[Frame]:
        self._latest_seq = seq
        if self._is_saving:
            self._is_wanted = True
            return []
        self._is_wanted = False
        if self._state == self._saved_state:
            return [Saved(seq, b"", {}, self._sent_apart)]
        chunks = chunks_of(self._state, returning=self._world.scenario.has_returning_chunks)
        fresh = {name: data for name, data in chunks.items() if name not in self._stored}
        manifest = msgpack.packb({"blobs": list(chunks), "lost": {}, "seq": seq, "state": self._state})
        chance = self._rng.random()
        if chance < 0.6:
            self._note_saved(chunks)
            return [Saved(seq, manifest, fresh, self._sent_apart)]
        if chance < 0.75:
            self._note_saved(chunks)
            return [*(Blob(name, data) for name, data in fresh.items()), Saved(seq, manifest, {}, self._sent_apart)]
        self._is_saving = True
        frames = [*(Blob(name, data) for name, data in fresh.items()), Saved(seq, manifest, {})]
        self._loop.call_later(self._rng.random() * 0.3, self._child_done, frames, chunks, self._state, context=NET)
        return []

    def _save_last(self, seq: int) -> list[Frame]:
        """Save what tasks have done since the last cell; here that is nothing that a cell could tell."""
        if self._state == self._saved_state and self._rng.random() < 0.5:
            return [Saved(seq, b"", {}, self._sent_apart)]
        chunks = chunks_of(self._state, returning=self._world.scenario.has_returning_chunks)
        fresh = {name: data for name, data in chunks.items() if name not in self._stored}
        manifest = msgpack.packb({"blobs": list(chunks), "lost": {}, "seq": seq, "state": self._state, "left": True})
        if self._rng.random() < 0.5:
            return [Saved(seq, manifest, fresh, self._sent_apart)]
        return [*(Blob(name, data) for name, data in fresh.items()), Saved(seq, manifest, {}, self._sent_apart)]

    def _note_saved(self, chunks: dict[bytes, bytes]) -> None:
        self._saved_state, self._stored = self._state, set(chunks)

    def _child_done(self, frames: list[Frame], chunks: dict[bytes, bytes], state: tuple[int, str]) -> None:
        if not self._is_alive:
            return
        for frame in frames:
            at = self._loop.time() + HOP_SECONDS * self._rng.choice((0.5, 1.0, 3.0))
            self._snapshots_arrive = max(self._snapshots_arrive, at)
            self._loop.call_at(self._snapshots_arrive, self._hand_over_snapshot, frame, context=self._host_context)
        self._saved_state, self._stored = state, set(chunks)
        self._sent_apart += 1
        self._is_saving = False
        for frame in self._save_if_wanted():
            self._send(frame)

    def _save_if_wanted(self) -> list[Frame]:
        if self._running is None and self._is_wanted and not self._is_saving:
            return self._save(self._latest_seq)
        return []

    def _restore(self, frame: Restore) -> None:
        manifest = msgpack.unpackb(frame.manifest)
        chunks, self._restoring = self._restoring, {}
        missing = [name for name in manifest["blobs"] if name not in chunks]
        if missing:
            self._send(Restored(f"{len(missing)} chunks are missing", {}, []))
            return
        n, h = msgpack.unpackb(chunks[manifest["blobs"][0]])
        self._state = (n, h)
        self._stored = set(manifest["blobs"])
        self._send(Restored("", {}, []))
