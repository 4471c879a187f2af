"""What all routes use, and what a request has been found to be."""

from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection

from skep.gateway.clusters import TenantCluster, TenantClusters
from skep.gateway.metrics import Metrics
from skep.gateway.problems import Refused
from skep.gateway.quota import Quota, Slot
from skep.gateway.settings import GatewaySettings
from skep.gateway.shutdown import Shutdown
from skep.gateway.streams.feeds import Feeds
from skep.gateway.summaries import Summaries
from skep.gateway.tokens.access import Access, Action, TokenChecker
from skep.gateway.tokens.signed_links import LinkSigner
from skep.gateway.webhooks.store import WebhookStore

CALLER_KEY = "skep.caller"


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of one gateway, which live as long as its process."""

    settings: GatewaySettings
    clusters: TenantClusters
    tokens: TokenChecker
    feeds: Feeds
    quota: Quota
    links: LinkSigner
    webhooks: WebhookStore
    shutdown: Shutdown = field(default_factory=Shutdown)
    metrics: Metrics = field(default_factory=Metrics)
    summaries: Summaries = field(default_factory=Summaries)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who has sent a request: its token, and the client of its tenant."""

    gateway: Gateway
    access: Access
    tenant: TenantCluster
    slot: Slot

    def check_may(self, action: Action) -> None:
        """Raise Refused if the token does not permit this."""
        if not self.access.may(action):
            kind = (403, "The token does not permit this", "Use a token that was made with this permission.")
            raise Refused("Forbidden", kind, f"This needs a token that can {action.value}.", action=action.value)


def caller_of(connection: HTTPConnection) -> Caller:
    """Return the caller of a request that has been admitted."""
    return cast("Caller", connection.scope[CALLER_KEY])
