"""The cluster that a command works on: the one named by its flags, or an embedded one."""

import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from skep.cli.flags import Place
from skep.cli.output.screen import Screen
from skep.cluster import Cluster, OpenShard, connect
from skep.link import ShardLink
from skep.local.embedded import EmbeddedCluster, embedded
from skep.local.private_shard import end_at_once, private_shard, with_own_prefix
from skep.session import Session
from skep_shared.broker.redis_client.redis_url import redacted
from skep_shared.errors import NotFound
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.limits import check_prefix
from skep_shared.requirements import Requirements
from skep_shared.settings import Settings

# When the command has its result, nothing needs the cells that still run.
EMBEDDED_FLAGS: Final = ("--grace-seconds", "1", "--redis-outage-seconds", "5")


@asynccontextmanager
async def named_cluster(place: Place) -> AsyncIterator[Cluster]:
    """Connect to the cluster named by the flags, the environment or the defaults, in this order."""
    async with connect(settings=settings_of(place)) as cluster:
        yield cluster


@asynccontextmanager
async def named_link(place: Place) -> AsyncIterator[ShardLink]:
    """Connect to the same shard, for what operators do to the shard itself."""
    async with OpenShard(settings_of(place)) as (link, _):
        yield link


@asynccontextmanager
async def own_cluster(screen: Screen, *, workers: int = 1, flags: Sequence[str] = ()) -> AsyncIterator[EmbeddedCluster]:
    """Start a Redis and workers; if the body fails or is cancelled, the workers are killed at once."""
    screen.busy("starting Redis and a worker" if workers == 1 else f"starting Redis and {workers} workers")
    async with embedded(workers=workers, worker_flags=(*EMBEDDED_FLAGS, *flags)) as cluster:
        screen.idle()
        try:
            yield cluster
        except BaseException:
            await end_at_once(cluster.worker_processes)
            raise


def settings_of(place: Place) -> Settings:
    """Return a client's settings from flags, the environment and defaults. Raises InvalidArgument."""
    if place.prefix is not None:
        check_prefix(place.prefix)
    return Settings.load(redis_url=place.redis_url, prefix=place.prefix, tenant=place.tenant)


def program_name() -> str:
    """Return how a shell starts this program: after `make tour` it is not on PATH."""
    started_as = sys.argv[0]
    return started_as if Path(started_as).name == "skep" and shutil.which("skep") is None else "skep"


def flags_for(settings: Settings, *, with_tenant: bool = True) -> str:
    """Return the flags with which another command reaches the same cluster; each begins with a blank.

    with_tenant: and the same tenant; workers have no such flag.
    """
    default = Settings.load()
    words = []
    if settings.redis_url != default.redis_url:
        words += ["--redis", redacted(settings.redis_url)]
    if settings.prefix != default.prefix:
        words += ["--prefix", settings.prefix]
    if with_tenant and settings.tenant is not None and settings.tenant != default.tenant:
        words += ["--tenant", settings.tenant]
    return "".join(f" {shlex.quote(word)}" for word in words)


async def note_missing_worker(cluster: Cluster, screen: Screen, session: Session, sandbox: str | None = None) -> None:
    """Print a note if no live worker may run the session's cells. sandbox: what a new session asks for."""
    workers = [worker async for worker in cluster.workers()]
    try:
        tier = (await session.info()).sandbox
    except NotFound:
        tier = sandbox or Tier.NONE
    if not workers:
        flags = flags_for(cluster.settings, with_tenant=False)
        command = f"{program_name()} worker{flags}{'' if tier == Tier.NONE else f' --sandbox {tier}'}"
        screen.note(f"skep: no worker is alive there; cells wait until one is ({command})", "yellow")
    elif shortage := Requirements(sandbox=tier).shortage(workers):
        screen.note(f"skep: {shortage}; cells wait until there is one", "yellow")


@asynccontextmanager
async def own_workers(
    screen: Screen, place: Place, *, workers: int, flags: Sequence[str] = ()
) -> AsyncIterator[EmbeddedCluster]:
    """Start workers on an existing Redis, under a key prefix whose keys are removed at the end."""
    settings = with_own_prefix(settings_of(place))
    screen.busy(f"starting {workers} workers")
    async with private_shard(settings, workers=workers, flags=(*EMBEDDED_FLAGS, *flags)) as cluster:
        screen.idle()
        yield cluster
