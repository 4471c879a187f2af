"""What happens to a simulated shard at random: to its machines, its Redis and its processes."""

import asyncio
from typing import TYPE_CHECKING, Any

from .network import Machine
from .queueing_model import QUEUE

if TYPE_CHECKING:
    from .world import World


async def befall(world: "World") -> None:
    """Cause random faults in the shard at random intervals, until cancelled."""
    rng, scenario = world.rng, world.scenario
    kinds, weights = zip(*scenario.nemesis.items(), strict=True)
    lease_seconds = scenario.settings.lease_seconds
    snapshot: Any = None
    has_crashed_new = False
    while True:
        await asyncio.sleep(rng.expovariate(1.0) * lease_seconds)
        [kind] = rng.choices(kinds, weights)
        names = sorted(world.workers)
        machine = world.workers[rng.choice(names)] if names else None
        match kind:
            case "pause" if machine is not None and not machine.is_paused:
                seconds = world.network.pause_seconds()
                world.note("pause", machine, "at random", seconds)
                world.loop.pause(machine, seconds)
            case "kill" if machine is not None:
                world.kill(machine, "at random")
            case "drain" if machine is not None:
                world.note("drain", machine, "")
                world.draining.append(machine)
                world.loop.call_soon(world.hosts[machine.name].stop, context=machine.context.copy())
            case "cut" if machine is not None:
                seconds = world.network.pause_seconds()
                world.note("cut", machine, "", seconds)
                machine.cut_off_until = world.loop.time() + seconds
            case "down":
                seconds = rng.uniform(0.05, 2.0) * lease_seconds
                world.note("down", Machine("redis"), "", seconds)
                world.network.down_until = world.loop.time() + seconds
                world.network.break_connections()
            case "flush":
                world.network.is_flushed = True
            case "crash" if world.processes:
                process = rng.choice(list(world.processes))
                if process.is_new and has_crashed_new:
                    continue  # two that end over one checkpoint are taken for its doing, as they should be
                has_crashed_new = has_crashed_new or process.is_new
                world.note("crash", process._machine, "")
                process.crash("killed by SIGKILL")
            case "activate":
                world.store.xadd(QUEUE, None, b"s", rng.choice(world.sessions).encode())
            case "rollback":
                if snapshot is not None and rng.random() < 0.5:
                    world.note("rollback", Machine("redis"), "")
                    world.store.restore(snapshot)
                    snapshot = None
                    world.network.break_connections()
                else:
                    snapshot = world.store.snapshot()
