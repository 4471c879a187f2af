"""A shard in virtual time: real worker hosts on a Redis in memory, session processes that are played, faults by seed.

What is real: `WorkerHost` with its lease, mailbox, residents, journal, intake, reporter, runs, checkpoints and recovery,
and the typed scripts. What is played: Redis and the Lua (`memory_redis`, `script_model`), the network (`network`), the
session process (`session_process`), arq's queue, and the clients. A run is one seed: first some seconds of faults, then
everything heals, and the shard has to drain.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgpack
import structlog

from skep_shared.activation import enqueue_activation
from skep_shared.errors import BacklogFull, SessionClosed
from skep_shared.keys import Keys
from skep_shared.models import CellSpec, SessionOptions
from skep_shared.scripts import Scripts
from skep_shared.settings import WorkerSettings
from skep_shared.submission import append_cells
from skep_workers.host import backoff, lease, placement, resident, residents, session_processes, worker
from skep_workers.host.backoff import RETRIABLE, backoff_delays
from skep_workers.host.clock import RedisClock

from .history import History, digest
from .memory_redis import MemoryRedis
from .network import CALM, NET, Machine, MemoryClient, Network, Rates
from .script_model import ScriptModel
from .session_process import Plan, SimulatedProcess, housing_for
from .virtual_loop import NODE, Stalled, VirtualLoop

EPOCH_MS = 1_700_000_000_000
DRAIN_SECONDS = 60.0
MAX_STEPS = 400_000
KEYS = Keys("sim")


@dataclass(frozen=True)
class Scenario:
    """What one seed is about, all of it drawn from the seed."""

    seed: int
    workers: int
    sessions: int
    clients: int
    cells: int
    fault_seconds: float
    settings: WorkerSettings
    rates: Rates
    nemesis: dict[str, float]
    start_failures: float
    has_rollback: bool
    has_close: bool
    has_returning_chunks: bool

    @classmethod
    def draw(cls, seed: int, *, length: float = 1.0) -> "Scenario":
        """Give the scenario of a seed."""
        rng = random.Random(f"scenario {seed}")
        lease_seconds = rng.choice((0.5, 1.0, 1.0, 3.0))
        settings = _settings(
            lease_seconds=lease_seconds,
            command_timeout_seconds=rng.choice((0.3, 1.0)) * lease_seconds,
            block_seconds=rng.choice((1.0, 5.0)),
            max_resident=rng.choice((2, 2, 100)),
            idle_seconds=rng.choice((0.3, 3.0, 900.0)),
            commit_window=rng.choice((1, 2, 64)),
            keep_checkpoints=rng.choice((1, 2, 3, 20)),
            grace_seconds=rng.choice((0.0, 0.3, 2.0)),
            flush_ms=rng.choice((0.0, 4.0, 50.0)),
        )
        scale = rng.choice((0.0, 0.3, 1.0, 2.0))
        rates = Rates(
            request_lost=rng.random() * 0.03 * scale,
            reply_lost=rng.random() * 0.06 * scale,
            late=rng.random() * 0.02 * scale,
            pause_before=rng.random() * 0.01 * scale,
            pause_after=rng.random() * 0.01 * scale,
            kill_before=rng.random() * 0.005 * scale,
            kill_after=rng.random() * 0.008 * scale,
        )
        weights = {
            "pause": 2.0, "kill": 1.5, "drain": 1.0, "cut": 1.0, "down": 0.7, "flush": 0.3, "crash": 1.0, "activate": 1.0,
        }  # fmt: skip
        nemesis = {kind: weight for kind, weight in weights.items() if rng.random() < 0.6}
        has_rollback = rng.random() < 0.1
        if has_rollback:
            nemesis["rollback"] = 3.0
        return cls(
            seed=seed,
            workers=3,
            sessions=rng.choice((1, 2, 3)),
            clients=2,
            cells=int(30 * length),
            fault_seconds=rng.uniform(3.0, 8.0) * lease_seconds * length,
            settings=settings,
            rates=rates,
            nemesis=nemesis or {"kill": 1.0},
            start_failures=rng.choice((0.0, 0.0, 0.1)),
            has_rollback=has_rollback,
            has_close=rng.random() < 0.2,
            has_returning_chunks=rng.random() < 0.5,
        )


_BASE_SETTINGS: list[WorkerSettings] = []


def _settings(**overrides: object) -> WorkerSettings:
    """Give settings with these overrides; pydantic validates only once, since that takes its time."""
    if not _BASE_SETTINGS:
        _BASE_SETTINGS.append(WorkerSettings.load(prefix="sim"))
    return _BASE_SETTINGS[0].model_copy(update=overrides)


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
        self.model = ScriptModel(self.store, bugs)
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
            self.network.trace = lambda node, what, reply: self.say(node.name, f"{what} -> {reply!r}"[:200])
        self.history = History({"seed": scenario.seed, "rollback": scenario.has_rollback})
        self.processes: dict[SimulatedProcess, None] = {}
        self.start_failures = scenario.start_failures
        self.workers: dict[str, Machine] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.hosts: dict[str, worker.WorkerHost] = {}
        self.counts: Counter[str] = Counter()
        self._starts = 0
        self._draining: list[Machine] = []
        self._has_crashed_new = False
        self._is_healed = False
        self._clock_off_ms = 0
        self._sessions = [f"s{number}" for number in range(scenario.sessions)]
        self._cell_ids = 0
        self._snapshot: Any = None
        self._readers: list[_Reader] = []
        self._clients: list[Machine] = []

    # --- what is told

    def now_ms(self) -> float:
        return EPOCH_MS + self.loop.time() * 1000

    def step_clock(self, by_ms: int) -> None:
        """Set Redis' clock, and nobody else's."""
        self.note("clock", Machine("redis"), f"{by_ms:+d} ms")
        self._clock_off_ms += by_ms

    def say(self, who: str, what: str) -> None:
        """Tell whoever watches."""
        if self.tell is not None:
            self.tell(f"{self.loop.time():9.4f} {who:8} {what}")

    def note(self, kind: str, node: Machine, text: str, seconds: float = 0.0) -> None:
        """Put a fault, or something that must not be, into the history."""
        self.counts[kind] += 1
        self.say(node.name, f"*** {kind} {text} {seconds or ''}")
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
            }
        )  # fmt: skip

    # --- workers

    def current_machine(self) -> Machine:
        machine = NODE.get()
        assert isinstance(machine, Machine)
        return machine

    def monotonic(self) -> float:
        """Give the monotonic clock of whoever asks; no two machines agree on when it began."""
        machine = NODE.get()
        return self.loop.time() + (hash_of(machine.name) if machine is not None else 0)

    def start_worker(self) -> None:
        """Start another worker."""
        self._starts += 1
        name = f"w{self._starts}"
        machine = self.workers[name] = Machine(name, CALM if self._is_healed else self.scenario.rates)
        self.tasks[name] = self.loop.create_task(self._work(machine), name=name, context=machine.context)

    async def _work(self, machine: Machine) -> None:
        self.say(machine.name, "starts")
        host = self.hosts[machine.name] = worker.WorkerHost(self.scenario.settings)
        try:
            await host.run()
        except asyncio.CancelledError:
            if not machine.is_dead:
                self.note("worker exit", machine, "cancelled")
        except BaseException as exc:  # noqa: BLE001 - whatever ends a worker is a finding
            if not machine.is_dead and not isinstance(exc, GeneratorExit):
                # At its start a worker may be told that Redis is away; later it must live through that.
                is_start = host._residents is None and not isinstance(exc, BaseExceptionGroup)
                self.note("start failed" if is_start else "worker exit", machine, repr(_leaves(exc)))
        machine.is_dead = True
        del self.workers[machine.name]
        self._replace_later()

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
        for session in self._sessions:
            for number in range(2):
                self._readers.append(_Reader(self, f"r{number}-{session}", session, late=bool(number)))
        for reader in self._readers:
            loop.create_task(reader.run(), context=reader.machine.context)
        clients = []
        for number in range(scenario.clients):
            machine = Machine(f"c{number}", scenario.rates.tame())
            client = _Client(self, machine, scenario.cells // scenario.clients)
            self._clients.append(machine)
            clients.append(loop.create_task(client.run(), context=machine.context))
        nemesis = loop.create_task(self._nemesis())
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
        for machine in self._draining:
            if machine.name in self.workers:
                self.note("unhandled", machine, "it was told to drain, and is still there")
        self._finish()

    def end(self) -> None:
        """End whatever still runs, as when every machine is switched off; nothing of it is told."""
        self._is_ending = True
        for machine in self._machines():
            machine.is_dead = True
        for process in self.processes:
            process.vanish()
        self.loop.end()

    def _machines(self) -> list[Machine]:
        return [*self.workers.values(), *self._clients, *(reader.machine for reader in self._readers)]

    def _heal(self) -> None:
        self._is_healed = True
        self.network.down_until = 0.0
        self.start_failures = 0.0
        for machine in self._machines():
            machine.calm_down()
        self.say("nemesis", "--- healed")

    async def _drained(self, ends_at: float) -> bool:
        while self.loop.time() < ends_at:
            await asyncio.sleep(0.1)
            if not any(machine.is_paused for machine in self.workers.values()) and all(
                self._is_quiet(session) for session in self._sessions
            ):
                return True
        return False

    def _is_quiet(self, session: str) -> bool:
        seq, cursor, state, last = self.store.hmget(
            KEYS.session(session).encode(), b"seq", b"cursor", b"state", b"last"
        )
        if state is None:
            return True
        seen = all(reader.last >= int(last or 0) for reader in self._readers if reader.session == session)
        return seq == cursor and state != b"closing" and (seen or self.scenario.has_rollback)

    async def _nemesis(self) -> None:
        rng, scenario = self.rng, self.scenario
        kinds, weights = zip(*scenario.nemesis.items(), strict=True)
        lease_seconds = scenario.settings.lease_seconds
        while True:
            await asyncio.sleep(rng.expovariate(1.0) * lease_seconds)
            [kind] = rng.choices(kinds, weights)
            names = sorted(self.workers)
            machine = self.workers[rng.choice(names)] if names else None
            match kind:
                case "pause" if machine is not None and not machine.is_paused:
                    seconds = self.network.pause_seconds()
                    self.note("pause", machine, "at random", seconds)
                    self.loop.pause(machine, seconds)
                case "kill" if machine is not None:
                    self.kill(machine, "at random")
                case "drain" if machine is not None:
                    self.note("drain", machine, "")
                    self._draining.append(machine)
                    self.loop.call_soon(self.hosts[machine.name].stop, context=machine.context.copy())
                case "cut" if machine is not None:
                    seconds = self.network.pause_seconds()
                    self.note("cut", machine, "", seconds)
                    machine.cut_off_until = self.loop.time() + seconds
                case "down":
                    seconds = rng.uniform(0.05, 2.0) * lease_seconds
                    self.note("down", Machine("redis"), "", seconds)
                    self.network.down_until = self.loop.time() + seconds
                    self.network.break_connections()
                case "flush":
                    self.network.is_flushed = True
                case "crash" if self.processes:
                    process = rng.choice(list(self.processes))
                    if process.is_new and self._has_crashed_new:
                        continue  # two that end over one checkpoint are taken for its doing, as they should be
                    self._has_crashed_new = self._has_crashed_new or process.is_new
                    self.note("crash", process._machine, "")
                    process.crash("killed by SIGKILL")
                case "activate":
                    self.store.xadd(b"arq", None, b"s", rng.choice(self._sessions).encode())
                case "rollback":
                    if self._snapshot is not None and rng.random() < 0.5:
                        self.note("rollback", Machine("redis"), "")
                        self.store.restore(self._snapshot)
                        self._snapshot = None
                        self.network.break_connections()
                    else:
                        self._snapshot = self.store.snapshot()

    def _finish(self) -> None:
        """Read what is stored at the end, past the network."""
        for session in self._sessions:
            key = KEYS.session(session).encode()
            fields = dict(self.store.get(key) or {})
            if not fields:
                continue
            for entry_id, flat in self.store.xrange(KEYS.events(session).encode()):
                self.history.add_event(session, int(entry_id.partition(b"-")[0]), flat[1])
            head, checkpoint, missing = int(fields.get(b"head", 0)), None, 0
            entry = f"{head}-0".encode()
            for _, flat in self.store.xrange(KEYS.checkpoints(session).encode(), entry, entry):
                manifest = msgpack.unpackb(flat[1])
                chunks = self.store.hmget(KEYS.blobs(session).encode(), *manifest["blobs"])
                missing = sum(chunk is None for chunk in chunks)
                if chunks[0] is not None:
                    checkpoint = msgpack.unpackb(chunks[0][1:])  # small ones are stored as they are
            self.history.add(
                {
                    "op": "final", "session": session, "seq": int(fields.get(b"seq", 0)),
                    "cursor": int(fields.get(b"cursor", 0)), "last": int(fields.get(b"last", 0)),
                    "epoch": int(fields.get(b"epoch", 0)), "state": fields[b"state"].decode(), "head": head,
                    "checkpoint": checkpoint, "missing": missing,
                }
            )  # fmt: skip
            for cell, placed in (self.store.get(KEYS.ids(session).encode()) or {}).items():
                self.history.add({"op": "place", "session": session, "cell": cell.decode(), "entry": placed.decode()})
        for reader in self._readers:
            for number, name in reader.seen:
                self.history.add(
                    {
                        "op": "read",
                        "reader": reader.machine.name,
                        "session": reader.session,
                        "id": number,
                        "digest": name,
                    }
                )
            self.history.add(
                {"op": "reader", "reader": reader.machine.name, "session": reader.session, "after": reader.start}
            )


class _Client:
    """A service: submits cells to the sessions, one call at a time, and sometimes changes its mind."""

    def __init__(self, world: World, machine: Machine, cells: int) -> None:
        self._world = world
        self._machine = machine
        self._cells = cells
        self._redis = MemoryClient(world.network, machine)
        self._scripts = Scripts(self._redis, KEYS)  # type: ignore[arg-type]
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
                await self._close(rng.choice(world._sessions))
            else:
                count = min(self._cells, rng.choice((1, 1, 1, 2, 4)))
                self._cells -= count
                await self._submit(rng.choice(world._sessions), count)

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
            world._cell_ids += 1
            plans[f"{session}.{world._cell_ids}"] = self._plan()
        cells = []
        for cell_id, plan in plans.items():
            loss = "fail" if world.rng.random() < 0.1 else "retry"
            cells.append((cell_id, CellSpec.model_construct(**_SPEC, code=plan.code(), on_worker_loss=loss)))
        started = world.now_ms()
        status, placed = "unknown", []
        try:
            submitted = await self._persist(
                lambda: append_cells(
                    self._scripts, session, cells, max_pending=1000, client_id=self._machine.name, options=_OPTIONS
                )
            )
        except (SessionClosed, BacklogFull):
            status = "fail"
        else:
            if submitted is not None:
                status, placed = "ok", [cell.seq for cell in submitted.cells]
                if submitted.needs_activation:
                    with contextlib.suppress(*RETRIABLE):
                        await enqueue_activation(self._redis, KEYS, session)  # type: ignore[arg-type]
        for number, (cell_id, plan) in enumerate(plans.items()):
            self._submitted.append((session, cell_id))
            world.history.add(
                {
                    "op": "submit", "client": self._machine.name, "session": session, "cell": cell_id,
                    "status": status, "seq": placed[number] if placed else None, "from": started,
                    "to": world.now_ms(), "lines": plan.lines, "kind": plan.kind,
                }
            )  # fmt: skip

    async def _change_mind(self) -> None:
        rng = self._world.rng
        session, cell = self._submitted[-1 - rng.randrange(min(4, len(self._submitted)))]
        kind = rng.choice(("interrupt", "cancel"))
        sent = await self._persist(lambda: self._scripts.control(session, kind, cell_id=cell))
        if sent is not None and sent.needs_activation:
            with contextlib.suppress(*RETRIABLE):
                await enqueue_activation(self._redis, KEYS, session)  # type: ignore[arg-type]

    async def _close(self, session: str) -> None:
        closed = await self._persist(lambda: self._scripts.close(session))
        self._world.history.add({"op": "close", "session": session, "state": closed.state if closed else "unknown"})
        if closed is not None and closed.needs_activation:
            with contextlib.suppress(*RETRIABLE):
                await enqueue_activation(self._redis, KEYS, session)  # type: ignore[arg-type]

    async def _persist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        for _, delay in zip(range(6), backoff_delays(), strict=False):
            try:
                return await call()
            except RETRIABLE:
                await asyncio.sleep(delay)
        return None


class _Reader:
    """Somebody who follows a session, from its first event or from where it stands when he comes."""

    def __init__(self, world: World, name: str, session: str, *, late: bool) -> None:
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


class _SimulatedDispatcher:
    """arq's queue, as far as skep counts on it: a job may be lost with its worker, and may be run twice."""

    world: World

    def __init__(self, arq: MemoryClient, blocking: Any, keys: Keys, **calls: Any) -> None:
        self._arq = arq
        self._calls = calls

    async def run(self) -> None:
        delays = backoff_delays()
        jobs: set[asyncio.Task[None]] = set()
        try:
            while True:
                try:
                    await self._serve(jobs)
                except RETRIABLE:
                    await asyncio.sleep(next(delays))
        finally:
            for job in jobs:
                job.cancel()

    async def _serve(self, jobs: set[asyncio.Task[None]]) -> None:
        network, node = self._arq._network, self._arq._node
        store, rng = network.redis, network.rng

        def pop() -> bytes | None:
            stream = store.get(b"arq")
            if stream is None or not stream.ids:
                return None
            session: bytes = stream.entries[0][1]
            if rng.random() < 0.95:
                del stream.ids[0], stream.entries[0]
            return session

        while True:
            if not self._calls["has_room"]():
                await self._calls["wait_for_room"](0.75)
                continue
            session = await network.call(node, "pop", pop)
            if session is None:
                stream = store.get(b"arq")
                after = b"%d-%d" % stream.last if stream is not None else b"0-0"
                while not await network.read(node, b"arq", after, 1, 0.75) and self._calls["has_room"]():
                    pass  # nothing has been added: looking would find nothing
                continue
            job = asyncio.get_running_loop().create_task(self._activate(session.decode()))
            jobs.add(job)
            job.add_done_callback(jobs.discard)

    async def _activate(self, session: str) -> None:
        with contextlib.suppress(*RETRIABLE, TimeoutError):
            async with asyncio.timeout(30):
                await self._calls["activate"](session)


class _NoZygote:
    """Session processes need none here."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    async def ensure_started(self) -> None:
        """It is always there."""

    async def keep(self) -> None:
        """It never dies."""
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """It was never there."""


_SPEC = {"timeout": None, "max_attempts": 3, "inputs": None, "labels": {}}
_OPTIONS = SessionOptions(interrupt_grace=0.1).pack()


def hash_of(name: str) -> int:
    """Give a number that is the same in every process."""
    return int.from_bytes(name.encode()[-4:], "big") % 100_000


def _leaves(exc: BaseException) -> list[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in _leaves(inner)]
    return [exc]


class _Secrets:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def token_hex(self, count: int) -> str:
        return f"{self._rng.getrandbits(count * 8):0{count * 2}x}"


async def _unchecked(*_: object) -> None:
    """The server in memory is as it should be."""


@contextlib.contextmanager
def _played(world: World) -> Iterator[None]:
    """Put this world's clock, network, processes and chance where the host has the machine's."""
    clock = SimpleNamespace(monotonic=world.monotonic)

    def client(*_: Any, **__: Any) -> MemoryClient:
        return MemoryClient(world.network, world.current_machine())

    swaps: dict[Any, dict[str, Any]] = {
        worker: {
            "open_redis": client,
            "open_arq": client,
            "Lane": lambda client, _: client,
            "check_server": _unchecked,
            "Zygote": _NoZygote,
            "Dispatcher": _SimulatedDispatcher,
            "RedisClock": lambda: RedisClock(world.monotonic),
            "secrets": _Secrets(world.rng),
            "os": SimpleNamespace(getpid=lambda: 1),
            "tempfile": SimpleNamespace(mkdtemp=lambda **_: "/nonexistent"),
            "shutil": SimpleNamespace(rmtree=lambda *_, **__: None),
            "socket": SimpleNamespace(gethostname=lambda: world.current_machine().name),
        },
        residents: {"time": clock, "secrets": _Secrets(world.rng)},
        resident: {"time": clock},
        session_processes: {"Housing": housing_for(world)},
        lease: {"time": clock},
        placement: {"time": clock},
        backoff: {"time": clock, "random": world.rng},
    }
    with contextlib.ExitStack() as stack:
        for module, names in swaps.items():
            for name, stand_in in names.items():
                stack.enter_context(mock.patch.object(module, name, stand_in))
        yield


@contextlib.contextmanager
def quiet_logs(tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Keep the host's log lines out of the way, or have them told."""
    before = structlog.get_config()
    level = 10 if tell is not None else 50

    def render(_: Any, name: str, event: dict[str, Any]) -> str:
        assert tell is not None
        tell(f"          log {name} {event}")
        raise structlog.DropEvent

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level), processors=[render], cache_logger_on_first_use=False
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def simulate(
    scenario: Scenario,
    *,
    bugs: frozenset[str] = frozenset(),
    tell: Callable[[str], None] | None = None,
    max_steps: int = MAX_STEPS,
) -> World:
    """Run a scenario to its end, and give its world with the history; nothing of it runs on."""
    world = World(scenario, bugs=bugs, tell=tell)
    live(world, max_steps=max_steps)
    return world


def live(world: World, *, max_steps: int = MAX_STEPS) -> None:
    """Let a world run, and end it; that it didn't come to an end by itself is put into its history."""
    with _played(world):
        main = world.loop.create_task(world.run(), name="world", context=Context())
        try:
            world.loop.run_until_done(main, max_steps=max_steps)
            main.result()
        except Stalled as exc:
            world.history.add({"op": "fault", "kind": "stalled", "node": "", "at": 0, "seconds": 0, "text": str(exc)})
        finally:
            world.end()
    for text in world.loop.faults:
        world.history.add({"op": "fault", "kind": "unhandled", "node": "", "at": 0, "seconds": 0, "text": text})
