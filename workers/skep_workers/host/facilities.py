"""What a worker lends to each of its residents."""

from dataclasses import dataclass

from redis.asyncio import Redis

from skep_shared.blobs import ObjectBlobs
from skep_shared.lane import Commands
from skep_shared.scripts import Scripts
from skep_shared.settings import WorkerSettings
from skep_workers.host.accounting import Accounting
from skep_workers.host.answers import Answers
from skep_workers.host.clock import RedisClock
from skep_workers.host.session_places import SessionPlaces
from skep_workers.host.zygote import Zygote


@dataclass(frozen=True, slots=True)
class Host:
    """What a resident needs of its worker. reads: a lane for what may have long replies."""

    worker_id: str
    settings: WorkerSettings
    redis: Redis
    reads: Commands
    scripts: Scripts
    clock: RedisClock
    zygote: Zygote
    places: SessionPlaces
    accounting: Accounting
    answers: Answers
    store: ObjectBlobs | None = None
