"""Who uses the simulated shard: services that submit cells, and readers that follow sessions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from skep_shared.broker.mailbox_entries import UpdateSession
from skep_shared.broker.scripts import Scripts
from skep_shared.broker.submission import append_cells
from skep_shared.errors import BacklogFull, SessionClosed
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.models import CellSpec, SessionOptions
from skep_workers.host.broker.backoff import RETRIABLE, backoff_delays

from ..checker.history import digest
from .cell_plan import Plan
from .memory_client import MemoryClient
from .network import Machine
from .scenario import KEYS

if TYPE_CHECKING:
    from .world import World

_SPEC = {"timeout": None, "max_attempts": 3, "inputs": None, "labels": {}}
_OPTIONS = {tier: SessionOptions(interrupt_grace=0.1, sandbox=tier).pack() for tier in Tier}


def _spec(plan: Plan, on_worker_loss: str, only_after: str | None) -> CellSpec:
    return CellSpec.model_construct(**_SPEC, code=plan.code(), on_worker_loss=on_worker_loss, only_after=only_after)


class Client:
    """A service: submits cells to the sessions, one call at a time, and sometimes changes its mind."""

    def __init__(self, world: "World", machine: Machine, cells: int) -> None:
        self._world = world
        self._machine = machine
        self._cells = cells
        self._redis = MemoryClient(world.network, machine)
        self._scripts = Scripts(self._redis, KEYS)
        self._submitted: list[tuple[str, str]] = []

    async def run(self) -> None:
        world, rng, scenario = self._world, self._world.rng, self._world.scenario
        pace = scenario.fault_seconds / max(1, self._cells)
        while self._cells > 0:
            await asyncio.sleep(rng.expovariate(1.0) * pace)
            chance = rng.random()
            if chance < 0.08 and self._submitted:
                await self._change_mind()
            elif chance < 0.10 and scenario.has_close:
                await self._close(rng.choice(world.sessions))
            elif chance < 0.14 and scenario.has_updates:
                await self._update(rng.choice(world.sessions))
            elif chance < 0.16 and scenario.has_updates and scenario.has_close:
                await self._close_unused(rng.choice(world.sessions))
            else:
                count = min(self._cells, rng.choice((1, 1, 1, 2, 4)))
                self._cells -= count
                await self._submit(rng.choice(world.sessions), count)

    def _plan(self) -> Plan:
        rng = self._world.rng
        lease_seconds = self._world.scenario.settings.lease_seconds
        [kind] = rng.choices(("oracle", "fail", "crash", "poison", "stubborn"), (90, 4, 3, 1, 2))
        seconds = rng.choice((0.0, 0.0, 0.002, 0.05, rng.random() * lease_seconds))
        return Plan(kind, rng.randrange(4), seconds)

    async def _submit(self, session: str, count: int) -> None:
        world = self._world
        plans = {}
        for _ in range(count):
            world.cell_ids += 1
            plans[f"{session}.{world.cell_ids}"] = self._plan()
        cells = []
        before: str | None = None
        befores = {}
        stops = count > 1 and world.cell_ids % 2 == 0  # drawn by no chance: other runs stay as they are
        for cell_id, plan in plans.items():
            befores[cell_id] = before if stops else None
            before = cell_id
            loss = "fail" if world.rng.random() < 0.1 else "retry"
            cells.append((cell_id, _spec(plan, loss, befores[cell_id])))
        started = world.now_ms()
        status, placed = "unknown", []
        try:
            submitted = await self._persist(
                lambda: append_cells(
                    self._scripts,
                    session,
                    cells,
                    max_pending=1000,
                    client_id=self._machine.name,
                    options=_OPTIONS[world.sandbox_of(session)],
                    is_chain=stops,
                )
            )
        except (SessionClosed, BacklogFull):
            status = "fail"
        else:
            if submitted is not None:
                status, placed = "ok", [cell.seq for cell in submitted.cells]
        for number, (cell_id, plan) in enumerate(plans.items()):
            self._submitted.append((session, cell_id))
            world.history.add(
                {
                    "op": "submit", "client": self._machine.name, "session": session, "cell": cell_id,
                    "status": status, "seq": placed[number] if placed else None, "from": started,
                    "to": world.now_ms(), "lines": plan.lines, "kind": plan.kind,
                    "after": befores[cell_id], "sandbox": world.sandbox_of(session),
                }
            )  # fmt: skip

    async def _change_mind(self) -> None:
        rng = self._world.rng
        session, cell = self._submitted[-1 - rng.randrange(min(4, len(self._submitted)))]
        kind = rng.choice(("interrupt", "cancel"))
        await self._persist(lambda: self._scripts.control(session, kind, cell_id=cell))

    async def _update(self, session: str) -> None:
        """Change the times of a session, as `Session.update` does: with what this client has read."""
        rng, key = self._world.rng, KEYS.session(session)
        before = await self._persist(lambda: self._redis.execute_command("HGET", key, "options")) or b""
        idle_seconds = rng.choice((0.2, 1.0, 5.0))
        after = SessionOptions.unpack(before).model_copy(
            update={"idle_seconds": idle_seconds, "expires_in": rng.choice((1.0, 4.0, 60.0))}
        )
        request = UpdateSession(session, idle_seconds)
        await self._persist(lambda: self._scripts.update(session, before, after.pack(), request))

    async def _close_unused(self, session: str) -> None:
        """Close a session if it has expired, as the upkeep of a worker does."""
        closed = await self._persist(lambda: self._scripts.close(session, only_unused=True))
        if closed is None or closed.state in {"CLOSED", "CLOSING"}:
            self._world.history.add({"op": "close", "session": session, "state": closed.state if closed else "unknown"})

    async def _close(self, session: str) -> None:
        closed = await self._persist(lambda: self._scripts.close(session))
        self._world.history.add({"op": "close", "session": session, "state": closed.state if closed else "unknown"})

    async def _persist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        for _, delay in zip(range(6), backoff_delays(), strict=False):
            try:
                return await call()
            except RETRIABLE:
                await asyncio.sleep(delay)
        return None


class Reader:
    """A reader that follows a session, from its first event or from its latest one at the start."""

    def __init__(self, world: "World", name: str, session: str, *, late: bool) -> None:
        self._world = world
        self._late = late
        self.machine = Machine(name, world.scenario.rates.tame())
        self.session = session
        self.start = 0
        self.last = 0
        self.seen: list[tuple[int, str]] = []

    async def run(self) -> None:
        key = KEYS.events(self.session).encode()
        if self._late:
            await asyncio.sleep(self._world.rng.random() * self._world.scenario.fault_seconds)
            stored = self._world.store.xrange(key)
            self.start = self.last = self._world.rng.randrange(len(stored) + 1) if stored else 0
        delays = backoff_delays()
        while True:
            try:
                page = await self._world.network.read(self.machine, key, b"%d-0" % self.last, 50, 2.0)
            except RETRIABLE:
                await asyncio.sleep(next(delays))
                continue
            delays = backoff_delays()
            for entry_id, flat in page:
                self.last = int(entry_id.partition(b"-")[0])
                self.seen.append((self.last, digest(flat[1])))
