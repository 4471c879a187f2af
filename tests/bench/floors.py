"""Limits that no design gets below, as processes of their own.

python -m tests.bench.floors queue URL      a bare stream queue: jobs in, results out, in batches
python -m tests.bench.floors zygote FD …    a warm process that forks one child for each byte
"""

import asyncio
import gc
import importlib
import os
import socket
import subprocess
import sys
import time

import uvloop
from redis.asyncio import Redis

from .figures import Figure
from .lab import Lab

JOBS, RESULTS = "floor:jobs", "floor:results"
BATCH = 200


async def bare_queue(lab: Lab, url: str, jobs: int) -> Figure:
    """Return the jobs per second of a stream queue that does nothing else."""
    async with lab.helper("floors", "queue", url), Redis.from_url(url) as client:
        started = time.perf_counter()
        for first in range(0, jobs, BATCH):
            async with client.pipeline(transaction=False) as pipe:
                for number in range(first, min(first + BATCH, jobs)):
                    pipe.xadd(JOBS, {"n": number})
                await pipe.execute()
        last, done = b"0", 0
        while done < jobs:
            for _, entries in await client.xread({RESULTS: last}, count=500, block=5000):
                last, done = entries[-1][0], done + len(entries)
        rate = jobs / (time.perf_counter() - started)
        await client.delete(JOBS, RESULTS)
    return Figure("bare stream queue", rate, "/s", count=jobs)


async def _serve_queue(url: str) -> None:
    async with Redis.from_url(url, single_connection_client=True) as client:
        last = b"0"
        while True:
            for _, entries in await client.xread({JOBS: last}, count=BATCH, block=1000):
                last = entries[-1][0]
                async with client.pipeline(transaction=False) as pipe:
                    for _, fields in entries:
                        pipe.xadd(RESULTS, {"n": fields[b"n"], "v": b"null"})
                    await pipe.execute()


def warm_forks(rounds: int, *modules: str) -> list[float]:
    """Return the milliseconds of each fork from a warm process, until the child's first byte is here."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "tests.bench.floors", "zygote", str(theirs.fileno()), *modules]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        ours.recv(1)
        taken = []
        for _ in range(rounds):
            started = time.perf_counter()
            ours.sendall(b"f")
            ours.recv(1)
            taken.append((time.perf_counter() - started) * 1000)
        ours.close()
        process.wait()
    return taken


def _serve_forks(fd: int, modules: list[str]) -> None:
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=fd) as sock:
        sock.sendall(b"R")
        while sock.recv(1):
            pid = os.fork()
            if pid == 0:
                sock.sendall(b"1")
                os._exit(0)
            os.waitpid(pid, 0)


async def bandwidth(client: Redis, key: str, entry_bytes: int, entries: int, at_once: int = 16) -> float:
    """Return the MB/s of pipelined XADDs of this size."""
    block = b"x" * entry_bytes
    started = time.perf_counter()
    for first in range(0, entries, at_once):
        async with client.pipeline(transaction=False) as pipe:
            for _ in range(min(at_once, entries - first)):
                pipe.xadd(key, {b"e": block})  # type: ignore[dict-item]
            await pipe.execute()
    return entry_bytes * entries / 1e6 / (time.perf_counter() - started)


def _main() -> None:
    if sys.argv[1] == "zygote":
        _serve_forks(int(sys.argv[2]), sys.argv[3:])
        return
    url = sys.argv[2]

    def answer() -> None:
        """Report that it is ready, and exit when stdin ends."""
        sys.stdin.readline()
        print('{"answer": null}', flush=True)
        sys.stdin.readline()
        os._exit(0)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        ended = loop.run_in_executor(None, answer)
        await asyncio.gather(ended, _serve_queue(url))

    uvloop.run(serve())


if __name__ == "__main__":
    _main()
