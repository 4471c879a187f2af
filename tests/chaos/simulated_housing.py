"""What stands in for the host's `Housing`: it starts and ends simulated session processes."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from skep_shared.errors import StartError
from skep_shared.frames import Frame, Hello

from .session_process import SimulatedProcess

if TYPE_CHECKING:
    from .world import World


def housing_for(world: "World") -> type:
    """Give what stands in for the host's `Housing` in this world."""

    class SimulatedHousing:
        def __init__(self, zygote: Any, directories: Any, worker: Any, claim: Any, start_seconds: float) -> None:
            self._context: Context | None = None

        async def start_process(
            self, on_frame: Callable[[Frame], None], on_exit: Callable[[str, list[tuple[str, str]]], None]
        ) -> tuple[SimulatedProcess, Hello]:
            machine = world.current_machine()
            process = SimulatedProcess(world, machine, on_frame, on_exit)
            world.processes[process] = None
            await asyncio.sleep(0.002 + world.rng.random() * 0.02)
            if world.rng.random() < world.start_failures:
                world.processes.pop(process, None)
                raise StartError("session process", "it was the simulation's will")
            if not process._is_alive:
                raise StartError("session process", "it died before its hello")
            return process, Hello(1, [], process.pid, "3.11")

        async def vacate(self, process: SimulatedProcess | None, *, at_once: bool) -> None:
            if process is None:
                return
            if at_once:
                process.kill()
                await process.gone.wait()
            else:
                await process.stop()

    return SimulatedHousing
