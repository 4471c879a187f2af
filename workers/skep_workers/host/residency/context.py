"""What each resident uses of its worker."""

from dataclasses import dataclass

from redis.asyncio import Redis

from skep_shared.broker.lane import Commands
from skep_shared.broker.scripts import Scripts
from skep_shared.chunks.blobs import ObjectBlobs
from skep_shared.isolation.sandbox_tiers import Tier
from skep_shared.settings import WorkerSettings
from skep_workers.host.broker.answers import Answers
from skep_workers.host.broker.redis_clock import RedisClock
from skep_workers.host.broker.signed_requests import SignedRequests
from skep_workers.host.control_groups.worker_groups import WorkerGroups
from skep_workers.host.network.choice import NetworkChoice
from skep_workers.host.network.proxy_process import ProxyProcess
from skep_workers.host.process.zygote import Zygote
from skep_workers.host.residency.accounting import Accounting
from skep_workers.host.session_places import SessionPlaces


@dataclass(frozen=True, slots=True)
class Host:
    """The worker as its residents see it.

    sandbox: the tier of its sessions. reads: a lane for commands with long replies.
    """

    worker_id: str
    settings: WorkerSettings
    sandbox: Tier
    redis: Redis
    reads: Commands
    scripts: Scripts
    clock: RedisClock
    zygote: Zygote
    places: SessionPlaces
    groups: WorkerGroups
    accounting: Accounting
    answers: Answers
    signed_requests: SignedRequests
    networks: NetworkChoice
    proxy: ProxyProcess
    store: ObjectBlobs | None = None

    @property
    def labels(self) -> dict[str, str]:
        """The worker's labels."""
        return self.settings.worker_labels
