"""The floor under every cell: a message to another process and back, over two Redis streams and nothing else.

`python -m tests.bench.pingpong URL` is the other process: it answers until it is asked to stop. It runs on uvloop, as our
workers do; the asking side runs on whatever loop its caller has.
"""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import uvloop
from redis.asyncio import Redis

PING, PONG = "pingpong:ping", "pingpong:pong"
KEEP = 1000
BLOCK_MS = 20_000


async def _read(client: Redis, stream: str, last: bytes) -> list[tuple[bytes, bytes]]:
    reply = await client.xread({stream: last}, count=10, block=BLOCK_MS)
    return [(entry_id, fields[b"n"]) for _, entries in reply for entry_id, fields in entries]


async def answer(url: str) -> None:
    """Send back what comes, until it is `stop`."""
    async with Redis.from_url(url, single_connection_client=True) as reader, Redis.from_url(url) as writer:
        await writer.ping()
        print("ready", flush=True)
        last = b"0"
        while True:
            for entry_id, number in await _read(reader, PING, last):
                last = entry_id
                if number == b"stop":
                    return
                await writer.xadd(PONG, {"n": number}, maxlen=KEEP, approximate=True)


class PingPong:
    """The asking side; a reader waits for the answers all the time, as in a client of ours."""

    def __init__(self, reader: Redis, writer: Redis) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._count = 0

    async def read(self) -> None:
        """Pass each answer to the caller that waits for it, until cancelled."""
        last = b"0"
        while True:
            for entry_id, number in await _read(self._reader, PONG, last):
                last = entry_id
                self._waiting.pop(number).set_result(None)

    async def measure(self, rounds: int) -> list[float]:
        """Return the milliseconds of each round trip."""
        taken = []
        for _ in range(rounds):
            self._count += 1
            number = b"%d" % self._count
            started = time.perf_counter()
            answered = self._waiting[number] = asyncio.get_running_loop().create_future()
            await self._writer.xadd(PING, {"n": number}, maxlen=KEEP, approximate=True)
            await answered
            taken.append((time.perf_counter() - started) * 1000)
        return taken


@contextlib.asynccontextmanager
async def ping_pong(url: str) -> AsyncIterator[PingPong]:
    """Run the other process, and yield the asking side."""
    command = [sys.executable, "-m", "tests.bench.pingpong", url]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    async with Redis.from_url(url, single_connection_client=True) as reader, Redis.from_url(url) as writer:
        asking = PingPong(reader, writer)
        task = asyncio.create_task(asking.read())
        try:
            yield asking
        finally:
            await writer.xadd(PING, {"n": "stop"})
            task.cancel()
            await asyncio.wait([task])
            await process.wait()


if __name__ == "__main__":
    uvloop.run(answer(sys.argv[1]))
