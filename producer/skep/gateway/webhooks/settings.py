"""Settings of webhooks: from `SKEP_GATEWAY_WEBHOOK_*`, otherwise these defaults. Units are part of the names."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from skep_shared.environment_settings import EnvironmentSettings
from skep_shared.isolation.internet_addresses import InternalNetworks, check_internal_network


class WebhookSettings(EnvironmentSettings):
    """How deliveries are made, repeated and given up."""

    model_config = SettingsConfigDict(env_prefix="SKEP_GATEWAY_WEBHOOK_")

    internal: Annotated[
        list[str],
        Field(description="private networks (10.1.0.0/16) that URLs may lead to, also with http://; otherwise none"),
    ] = []
    delivery_seconds: Annotated[float, Field(gt=0, le=60, description="how long one delivery may take")] = 15.0
    first_retry_seconds: Annotated[float, Field(gt=0, le=3600, description="pause after the first failure")] = 5.0
    longest_retry_seconds: Annotated[float, Field(gt=0, le=86_400, description="longest pause between tries")] = 3600.0
    retry_seconds: Annotated[
        float,
        Field(gt=0, le=30 * 86_400, description="how long an event is tried; then its webhook is disabled"),
    ] = 3 * 86_400.0
    concurrency: Annotated[
        int, Field(ge=1, le=100, description="deliveries of a webhook at a time, of different sessions")
    ] = 8
    poll_seconds: Annotated[float, Field(gt=0, le=60, description="pause between looks for new events")] = 0.5
    lease_seconds: Annotated[
        float, Field(ge=1, le=300, description="after this long another gateway sends for one that has died")
    ] = 10.0
    most_senders: Annotated[int, Field(ge=1, le=10_000, description="webhooks that this gateway sends for")] = 200

    @property
    def internal_networks(self) -> InternalNetworks:
        """The private networks that URLs may lead to."""
        return [check_internal_network(text) for text in self.internal]

    @field_validator("internal")
    @classmethod
    def _internal_networks_are_private(cls, networks: list[str]) -> list[str]:
        for network in networks:
            check_internal_network(network)
        return networks
