"""A worker, another session, and everything else that probes aim at, once for each tier."""

import asyncio
import errno
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skep_shared.isolation.sandbox_tiers import STRENGTH, Tier
from skep_workers.host.process.zygote import SessionSetup, Zygote
from skep_workers.sandbox.kernel.landlock import abi_version
from skep_workers.sandbox.kernel.system_calls import MACHINE, NUMBERS
from skep_workers.sandbox.policy import SandboxPolicy
from skep_workers.sandbox.tiers import Report

from ..conftest import START_SECONDS, LiveSession
from .probe import PRELUDE, Outcome, Probe

LEAK = "import os\nDESCRIPTOR = os.open({path!r}, os.O_RDONLY)\n"
VICTIM = """
import ctypes, multiprocessing.shared_memory, os
open('file', 'w').write('private')
open('spare', 'w').write('private')
buffer = ctypes.create_string_buffer(b'private!')
memory = multiprocessing.shared_memory.SharedMemory(create=True, size=8)
memory.buf[0] = 1
import socket
import tempfile
listening = socket.socket(socket.AF_UNIX)
listening.bind(os.path.abspath('socket'))
listening.listen()
ctypes.addressof(buffer), memory.name
"""
COLUMN = {"x86_64": 0, "aarch64": 1}[MACHINE]
OTHER_CALLS = {"pidfd_getfd": (438, 438)}
_DENIED = {"PermissionError", "OSError"}
_NOT_THERE = {"FileNotFoundError", "ProcessLookupError", "NotADirectoryError", "ConnectionRefusedError"}
REFUSALS = {
    Tier.NONE: _DENIED,
    Tier.BASIC: _DENIED,
    Tier.USERNS: _DENIED | _NOT_THERE,
    Tier.STRICT: _DENIED | _NOT_THERE,
}


@dataclass
class Scene:
    """One tier's zygote and its targets. facts: what probes know about these, by name."""

    tier: Tier
    zygote: Zygote
    place: Path
    facts: dict[str, Any] = field(default_factory=dict)
    _sessions: list[LiveSession] = field(default_factory=list)

    async def start(self, name: str) -> LiveSession:
        """Start a session of this name."""
        directory = self.place / name
        directory.mkdir()
        session = LiveSession()
        self._sessions.append(session)
        await session.start(self.zygote, directory, {})
        return session

    async def outcome(self, probe: Probe) -> Outcome:
        """Run a probe in a session of its own."""
        session = await self.start(f"attacker-{secrets.token_hex(4)}")
        try:
            await session.run(PRELUDE, inputs=self.facts)
            cell = await session.run(probe.code)
        finally:
            session.process.kill()
            await session.process.gone.wait()
        if cell.error is not None:
            assert cell.error.ename in REFUSALS[self.tier], cell.error.traceback
            return Outcome.ABSENT if f"Errno {errno.ENOSYS}]" in cell.error.evalue else Outcome.REFUSED
        return Outcome.SUCCEEDED if cell.value else Outcome.REFUSED

    async def end(self) -> None:
        """End everything."""
        for session in self._sessions:
            session.process.kill()
        for session in self._sessions:
            await session.process.gone.wait()
        await self.zygote.stop()


@pytest.fixture(scope="module")
async def scenes() -> AsyncIterator[dict[Tier, Scene]]:
    """A scene for each tier that works here; the others are missing."""
    if not abi_version():
        pytest.skip("this kernel has no Landlock")
    found = await asyncio.to_thread(_report)
    made: dict[Tier, Scene] = {}
    with ExitStack() as stack:
        for tier in (tier for tier in STRENGTH if not found.missing(tier)):
            short = stack.enter_context(tempfile.TemporaryDirectory(prefix="skep-", dir="/tmp"))  # for unix sockets
            made[tier] = await _make_scene(tier, Path(short), stack)
        yield made
        await asyncio.gather(*(scene.end() for scene in made.values()))


def _report() -> Report:
    """Return what this machine permits."""
    found = subprocess.run(
        [sys.executable, "-m", "skep_workers.sandbox", "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    return Report.from_json(found.stdout)


@pytest.fixture
def scene_of(scenes: dict[Tier, Scene]) -> Callable[[Tier], Scene]:
    """Return a function that returns the scene of a tier, or skips the test if the tier does not work here."""

    def find(tier: Tier) -> Scene:
        if tier not in scenes:
            pytest.skip(f"tier {tier} does not work here: `skep doctor sandbox` says why")
        return scenes[tier]

    return find


async def _make_scene(tier: Tier, top: Path, stack: ExitStack) -> Scene:
    for name in ("worker", "place", "modules"):
        (top / name).mkdir()
    for name in ("secret", "spare", "doomed"):
        (top / "worker" / name).write_text("secret")
    leak = "skep_escape_leak"
    (top / "modules" / f"{leak}.py").write_text(LEAK.format(path=str(top / "worker" / "secret")))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(top / "modules"))
        zygote = Zygote(
            top / "worker",
            top / "place",
            SessionSetup([leak], ["PYTHONPATH"], SandboxPolicy(tier)),
            hash_seed=1,
            start_seconds=START_SECONDS,
        )
        await zygote.ensure_started()
    scene = Scene(tier, zygote, top / "place")
    scene.facts = _targets(top, stack) | {"zygote_pid": zygote._process.pid}
    victim = await scene.start("victim")
    address, memory_name = await victim.value(VICTIM)
    directory = str(top / "place" / "victim")
    scene.facts |= {
        "victim_pid": victim.process.pid, "victim_address": address, "memory_name": memory_name, "victim_directory": directory,
        "victim_socket": f"{directory}/socket", "victim_file": f"{directory}/file", "victim_spare": f"{directory}/spare",
    }  # fmt: skip
    return scene


def _targets(top: Path, stack: ExitStack) -> dict[str, Any]:
    """Return the facts about what is the worker's; sockets stand for those of Redis."""
    worker = top / "worker"
    tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    names = {"socket_path": str(worker / "redis.sock"), "abstract_name": f"\0skep-{secrets.token_hex(8)}"}
    for name in names.values():
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(name)
        listening.listen()
    temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="skep-", dir="/tmp"))
    numbers = {name: pair[COLUMN] for name, pair in (NUMBERS | OTHER_CALLS).items() if pair[COLUMN] is not None}
    paths = {name: str(worker / name) for name in ("secret", "spare", "doomed")}
    return names | paths | {
        "tcp_port": tcp.getsockname()[1], "udp_port": udp.getsockname()[1], "numbers": numbers,
        "worker_pid": os.getpid(), "worker_directory": str(worker), "place": str(top / "place"), "key": _ipc_key(stack),
        "temporary_name": Path(temporary).name,
    }  # fmt: skip


def _ipc_key(stack: ExitStack) -> int:
    """Return the key of new System V memory, a semaphore and a queue, which stand for another session's."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x5E000000 | secrets.randbits(24)
    for get, control, arguments in (
        ("shmget", "shmctl", (4096,)),
        ("semget", "semctl", (1,)),
        ("msgget", "msgctl", ()),
    ):
        made = getattr(libc, get)(key, *arguments, 0o1600)
        assert made >= 0, os.strerror(ctypes.get_errno())
        removal = (made, 0, 0, 0) if get == "semget" else (made, 0, 0)
        stack.callback(getattr(libc, control), *removal)
    return key
