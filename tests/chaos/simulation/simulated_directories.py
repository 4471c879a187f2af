"""What stands in for the host's `WorkDirectory`: it starts and ends simulated session processes."""

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any

from skep_shared.errors import StartError
from skep_shared.protocol.frames import Hello
from skep_workers.host.process.listener import ProcessListener

from .session_process import SimulatedProcess

if TYPE_CHECKING:
    from .world import World


def work_directory_for(world: "World") -> type:
    """Return what stands in for the host's `WorkDirectory` in this world."""

    class SimulatedWorkDirectory:
        def __init__(self, *_: Any) -> None:
            self._context: Context | None = None

        async def start_process(self, listener: ProcessListener, *_: Any) -> tuple[SimulatedProcess, Hello]:
            machine = world.current_machine()
            process = SimulatedProcess(world, machine, listener)
            world.processes[process] = None
            await asyncio.sleep(0.002 + world.rng.random() * 0.02)
            if world.rng.random() < world.start_failures:
                world.processes.pop(process, None)
                raise StartError("session process", "it was the simulation's will")
            if not process._is_alive:
                raise StartError("session process", "it died before its hello")
            return process, Hello(1, [], process.pid, "3.11")

        async def remove_after(self, process: SimulatedProcess | None, *, at_once: bool) -> None:
            if process is None:
                return
            if at_once:
                process.kill()
                await process.gone.wait()
            else:
                await process.stop()

    return SimulatedWorkDirectory
