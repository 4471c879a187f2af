"""ipykernel, driven by jupyter_client's asynchronous client: what notebooks do."""

import asyncio
import time
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from serving import serve

YIELD_EVERY = 20  # a long burst of sends without a yield makes pyzmq miss the replies' edge
STALL_SECONDS = 0.5


class Run:
    """One execute request and what came of it."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.replied = asyncio.get_running_loop().create_future()
        self.idle = asyncio.get_running_loop().create_future()
        self.first_output: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.result: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.characters = 0
        self.last_output = 0.0

    async def end(self) -> str:
        """Wait for the reply and for idle; return the status."""
        status: str = await self.replied
        await self.idle
        return status

    @property
    def seconds(self) -> float:
        """Since it was sent."""
        return time.perf_counter() - self.started


class Kernel:
    """One kernel; each channel is read all the time, so that no message is missed."""

    def __init__(self) -> None:
        self.manager = AsyncKernelManager(kernel_name="python3")
        self._runs: dict[str, Run] = {}
        self._readers: list[asyncio.Task[None]] = []

    async def start(self) -> "Kernel":
        """Start it the documented way, until it says that it is ready."""
        await self.manager.start_kernel()
        self.client: AsyncKernelClient = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=60)
        self._readers = [asyncio.create_task(self._read_shell()), asyncio.create_task(self._read_iopub())]
        return self

    async def stop(self) -> None:
        """Kill it."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self.client.stop_channels()
        await self.manager.shutdown_kernel(now=True)

    async def _read_shell(self) -> None:
        while True:
            message = await self.client.get_shell_msg()
            run = self._runs.get(message["parent_header"].get("msg_id"))
            if run is not None and not run.replied.done():
                run.replied.set_result(message["content"]["status"])

    async def _read_iopub(self) -> None:
        while True:
            message = await self.client.get_iopub_msg()
            run = self._runs.get(message["parent_header"].get("msg_id"))
            if run is None:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle" and not run.idle.done():
                run.idle.set_result(None)
            elif kind == "execute_result" and not run.result.done():
                run.result.set_result(time.perf_counter())
            elif kind == "stream":
                run.last_output = time.perf_counter()
                run.characters += len(content["text"])
                if not run.first_output.done():
                    run.first_output.set_result(run.last_output)

    def send(self, code: str) -> Run:
        """Send a cell."""
        run = Run()
        self._runs[self.client.execute(code, allow_stdin=False)] = run
        return run


_kernels: dict[str, Kernel] = {}


async def _kernel(name: str = "") -> Kernel:
    if name not in _kernels:
        _kernels[name] = await Kernel().start()
        await _kernels[name].send("1+1").end()
    return _kernels[name]


async def make(name: str, code: str) -> None:
    """Start a kernel of this name and run a cell in it. Raises RuntimeError."""
    await _run(await _kernel(name), code)


async def warm(rounds: int, name: str = "", code: str = "1+1") -> list[float]:
    """Return the milliseconds of each such cell, until reply and idle are there. Raises RuntimeError."""
    kernel = await _kernel(name)
    return [await _run(kernel, code) for _ in range(rounds)]


async def _run(kernel: Kernel, code: str) -> float:
    run = kernel.send(code)
    status = await run.end()
    taken = run.seconds * 1000
    if status != "ok":
        raise RuntimeError(f"its cell {code[:100]!r} ended with {status!r}")
    return taken


async def cold(count: int, code: str) -> list[float]:
    """Return the milliseconds from nothing to the first result of a kernel."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        kernel = await Kernel().start()
        run = kernel.send(code)
        taken.append((await run.result - started) * 1000)
        await run.end()
        await kernel.stop()
    return taken


async def pipelined(count: int) -> float:
    """Return cells per second, all sent before the first is waited for."""
    kernel = await _kernel()
    started = time.perf_counter()
    runs = []
    for number in range(count):
        runs.append(kernel.send("1+1"))
        if number % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    ending = asyncio.gather(*(run.end() for run in runs))
    while not (await asyncio.wait({ending}, timeout=STALL_SECONDS))[0]:
        kernel.client.kernel_info()  # a message more makes the client look again
    await ending
    return count / (time.perf_counter() - started)


async def printing(code: str, characters: int) -> dict[str, float]:
    """Return the milliseconds until the reply, and from it to the last output."""
    kernel = await _kernel()
    run = kernel.send(code)
    await run.replied
    replied = time.perf_counter()
    await run.idle
    while run.characters < characters:  # noqa: ASYNC110 - the reader of the channel has no signal for it
        await asyncio.sleep(0.001)
    return {"cell": (replied - run.started) * 1000, "lag": max(0.0, (run.last_output - replied) * 1000)}


async def first_output(code: str, rounds: int) -> list[float]:
    """Return the milliseconds from sending to the first output."""
    kernel = await _kernel()
    taken = []
    for _ in range(rounds):
        run = kernel.send(code)
        taken.append((await run.first_output - run.started) * 1000)
        await run.end()
    return taken


async def interrupts(code: str, rounds: int) -> list[float]:
    """Return the milliseconds from the call to the reply, of cells that print a word before they hang."""
    kernel = await _kernel()
    taken = []
    for _ in range(rounds):
        run = kernel.send(code)
        await run.first_output
        await asyncio.sleep(0.02)
        started = time.perf_counter()
        await kernel.manager.interrupt_kernel()
        await run.end()
        taken.append((time.perf_counter() - started) * 1000)
    return taken


async def close() -> None:
    """Stop the kernels."""
    for kernel in _kernels.values():
        await kernel.stop()


if __name__ == "__main__":
    handlers: list[Any] = [make, warm, cold, pipelined, printing, first_output, interrupts, close]
    serve({handler.__name__: handler for handler in handlers})
