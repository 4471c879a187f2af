"""A shard in virtual time: its workers, clients and readers, what happens to them, and how it ends.

First some seconds of faults, then everything heals, and the shard has to drain.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from skep_shared.broker.redis_client.redis_errors import REDIS_ERRORS
from skep_shared.errors import SkepError
from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.host import worker

from ..checker.history import History
from ..model.memory_redis import MemoryRedis
from .network import CALM, NET, Machine, Network
from .queueing_model import QueueingModel
from .random_faults import befall
from .read_out import read_out
from .scenario import KEYS, Scenario
from .session_process import SimulatedProcess
from .simulated_clients import Client, Reader
from .virtual_loop import NODE, VirtualLoop

EPOCH_MS = 1_700_000_000_000
DRAIN_SECONDS = 60.0
STRONG_WORKERS = 2


class World:
    """One seed's shard."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        bugs: frozenset[str] = frozenset(),
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.rng = random.Random(scenario.seed)
        self.loop = VirtualLoop()
        self.store = MemoryRedis(lambda: EPOCH_MS + int(self.loop.time() * 1000) + self._clock_off_ms)
        self.model = QueueingModel(self.store, bugs)
        self.network = Network(
            self.loop,
            self.rng,
            self.store,
            self.model,
            timeout_seconds=scenario.settings.command_timeout_seconds,
            lease_seconds=scenario.settings.lease_seconds,
            on_kill=self.kill,
            on_fault=self.on_fault,
        )
        self.network.on_claim = self._on_claim
        self.tell = tell
        if tell is not None:
            self.network.trace = lambda node, what, reply: self.report(node.name, f"{what} -> {reply!r}"[:200])
        self.history = History({"seed": scenario.seed, "rollback": scenario.has_rollback})
        self.processes: dict[SimulatedProcess, None] = {}
        self.start_failures = scenario.start_failures
        self.workers: dict[str, Machine] = {}
        self.tiers: dict[str, Tier] = {}  # of every worker, also those that have ended
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.hosts: dict[str, worker.WorkerHost] = {}
        self.counts: Counter[str] = Counter()
        self._starts = 0
        self.draining: list[Machine] = []
        self._is_healed = False
        self._clock_off_ms = 0
        self.sessions = [f"s{number}" for number in range(scenario.sessions)]
        self.cell_ids = 0
        self.main: asyncio.Task[None] | None = None  # what runs the world
        self.defect: BaseException | None = None  # an error that has ended the run
        self.readers: list[Reader] = []
        self._clients: list[Machine] = []

    # --- recording

    def now_ms(self) -> float:
        return EPOCH_MS + self.loop.time() * 1000

    def step_clock(self, by_ms: int) -> None:
        """Set the clock of Redis, and no other clock."""
        self.note("clock", Machine("redis"), f"{by_ms:+d} ms")
        self._clock_off_ms += by_ms

    def report(self, who: str, what: str) -> None:
        """Report a line to the observer, if there is one."""
        if self.tell is not None:
            self.tell(f"{self.loop.time():9.4f} {who:8} {what}")

    def note(self, kind: str, node: Machine, text: str, seconds: float = 0.0) -> None:
        """Add a fault or an anomaly to the history."""
        self.counts[kind] += 1
        self.report(node.name, f"*** {kind} {text} {seconds or ''}")
        self.history.add(
            {"op": "fault", "kind": kind, "node": node.name, "at": self.now_ms(), "seconds": seconds, "text": text}
        )

    def on_fault(self, kind: str, node: Machine, what: str, seconds: float) -> None:
        self.note(kind, node, what, seconds)

    def _on_claim(self, node: Machine, session: str, reply: list[Any]) -> None:
        self.history.add(
            {
                "op": "claim", "session": session, "worker": node.name, "epoch": reply[1], "cursor": reply[2],
                "last": reply[4], "losses": reply[5], "previous": reply[6].decode(), "at": self.now_ms(),
                "sandbox": self.tiers[node.name],
            }
        )  # fmt: skip

    # --- workers

    def current_machine(self) -> Machine:
        machine = NODE.get()
        assert isinstance(machine, Machine)
        return machine

    def monotonic(self) -> float:
        """Return the monotonic clock of the calling node; no two machines agree on its zero."""
        machine = NODE.get()
        return self.loop.time() + (hash_of(machine.name) if machine is not None else 0)

    def start_worker(self) -> None:
        """Start another worker."""
        self._starts += 1
        name = f"w{self._starts}"
        self.tiers[name] = self._next_tier()
        machine = self.workers[name] = Machine(name, CALM if self._is_healed else self.scenario.rates)
        self.tasks[name] = self.loop.create_task(self._work(machine), name=name, context=machine.context)

    def _next_tier(self) -> Tier:
        """Return the tier of the next worker: two are strong enough for every session, so that all of them can end."""
        is_enough = sum(self.tiers[name] is Tier.BASIC for name in self.workers) >= STRONG_WORKERS
        return Tier.NONE if is_enough or not self.scenario.has_tiers else Tier.BASIC

    def sandbox_of(self, session: str) -> Tier:
        """Return what a session asks for."""
        return Tier.BASIC if self.scenario.has_tiers and session == self.sessions[0] else Tier.NONE

    async def _work(self, machine: Machine) -> None:
        self.report(machine.name, "starts")
        host = self.hosts[machine.name] = worker.WorkerHost(self.scenario.settings)
        try:
            await host.run()
        except asyncio.CancelledError:
            if not machine.is_dead:
                self.note("worker exit", machine, "cancelled")
        except BaseException as exc:  # noqa: BLE001 - whatever ends a worker is a finding
            if not machine.is_dead and not isinstance(exc, GeneratorExit):
                # At its start a worker may find Redis away and fail; later it must survive that.
                is_start = host._residents is None and not isinstance(exc, BaseExceptionGroup)
                self.note("start failed" if is_start else "worker exit", machine, repr(_leaves(exc)))
                if is_start and not isinstance(exc, (SkepError, *REDIS_ERRORS)):
                    self.stop_for(exc)
        machine.is_dead = True
        del self.workers[machine.name]
        self._replace_later()

    def stop_for(self, defect: BaseException) -> None:
        """End the run with an error that no fault explains: each worker that replaces this one would meet it too."""
        self.defect = defect
        self._is_ending = True
        assert self.main is not None
        self.main.cancel()

    def _replace_later(self) -> None:
        if not self._is_ending:
            delay = 0.05 if self._is_healed else self.rng.random() * 2 * self.scenario.settings.lease_seconds
            self.loop.call_later(delay, self.start_worker, context=NET)

    _is_ending = False

    def kill(self, machine: Machine, why: str) -> None:
        """SIGKILL: nothing of the worker, or of its session processes, runs on."""
        if machine.is_dead or machine.name not in self.tasks:
            return
        self.note("kill", machine, why)
        machine.is_dead = True
        if machine.is_paused:
            self.loop.resume(machine)
        for process in [process for process in self.processes if process._machine is machine]:
            process.vanish()
            self.processes.pop(process, None)
        # What is left of its tasks ends without a way to do anything: its client refuses every call.
        self.tasks[machine.name].cancel()

    # --- the run

    async def run(self) -> None:
        """Live through the faults, heal, drain, and put what is left into the history."""
        scenario, loop = self.scenario, self.loop
        for _ in range(scenario.workers):
            self.start_worker()
        for session in self.sessions:
            for number in range(2):
                self.readers.append(Reader(self, f"r{number}-{session}", session, late=bool(number)))
        for reader in self.readers:
            loop.create_task(reader.run(), context=reader.machine.context)
        clients = []
        for number in range(scenario.clients):
            machine = Machine(f"c{number}", scenario.rates.tame())
            client = Client(self, machine, scenario.cells // scenario.clients)
            self._clients.append(machine)
            clients.append(loop.create_task(client.run(), context=machine.context))
        nemesis = loop.create_task(befall(self))
        await asyncio.sleep(scenario.fault_seconds)
        nemesis.cancel()
        self._heal()
        await asyncio.wait(clients)
        for task in clients:
            task.result()
        healed = loop.time()
        is_drained = await self._drained(healed + DRAIN_SECONDS)
        self.history.meta |= {"drain_seconds": loop.time() - healed, "drained": is_drained}
        await asyncio.sleep(scenario.settings.lease_seconds)  # for whatever still comes late
        await self._drained(loop.time() + DRAIN_SECONDS)
        for machine in self.draining:
            if machine.name in self.workers:
                self.note("unhandled", machine, "it was told to drain, and is still there")
        read_out(self)

    def end(self) -> None:
        """End everything that still runs, as if every machine were switched off; nothing of it is recorded."""
        self._is_ending = True
        for machine in self._machines():
            machine.is_dead = True
        for process in self.processes:
            process.vanish()
        self.loop.end()

    def _machines(self) -> list[Machine]:
        return [*self.workers.values(), *self._clients, *(reader.machine for reader in self.readers)]

    def _heal(self) -> None:
        self._is_healed = True
        self.network.down_until = 0.0
        self.start_failures = 0.0
        for machine in self._machines():
            machine.calm_down()
        self.report("nemesis", "--- healed")

    async def _drained(self, ends_at: float) -> bool:
        while self.loop.time() < ends_at:
            await asyncio.sleep(0.1)
            if not any(machine.is_paused for machine in self.workers.values()) and all(
                self._is_quiet(session) for session in self.sessions
            ):
                return True
        return False

    def _is_quiet(self, session: str) -> bool:
        seq, cursor, state, last = self.store.hmget(
            KEYS.session(session).encode(), b"seq", b"cursor", b"state", b"last"
        )
        if state is None:
            return True
        seen = all(reader.last >= int(last or 0) for reader in self.readers if reader.session == session)
        return seq == cursor and state != b"closing" and (seen or self.scenario.has_rollback)


def hash_of(name: str) -> int:
    """Return a number that is the same in every process."""
    return int.from_bytes(name.encode()[-4:], "big") % 100_000


def _leaves(exc: BaseException) -> list[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in _leaves(inner)]
    return [exc]
