"""Settings of the gateway: from command-line flags, otherwise from `SKEP_GATEWAY_*`, otherwise these defaults.

The settings of its connection to Redis are those of a client, `SKEP_*`. Units are part of the names.
"""

import ipaddress
from typing import Annotated, Final

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from skep.gateway.host_names import HostNames
from skep_shared.environment_settings import EnvironmentSettings

GATEWAY_PREFIX: Final = "SKEP_GATEWAY_"


class GatewaySettings(EnvironmentSettings):
    """What the gateway listens on, and its limits."""

    model_config = SettingsConfigDict(env_prefix=GATEWAY_PREFIX)

    host: Annotated[
        str, Field(min_length=1, description="address to listen on; without tokens only a loopback one")
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535, description="port to listen on; 0: any free one")] = 8070
    hosts: Annotated[
        list[str],
        Field(
            description="names to accept in the Host header, besides localhost and the address to listen on: NAME or "
            "NAME:PORT, * for any (JSON list)"
        ),
    ] = []
    max_body_bytes: Annotated[int, Field(ge=1024, description="largest body of a request, except of a file")] = (
        8 * 1024 * 1024
    )
    max_file_bytes: Annotated[int, Field(ge=0, description="largest file that may be put")] = 64 * 1024 * 1024
    max_requests: Annotated[int, Field(ge=1, description="requests at a time, without open streams")] = 1000
    max_requests_per_token: Annotated[
        int, Field(ge=1, description="requests of a token at a time, without open streams")
    ] = 500
    max_streams: Annotated[int, Field(ge=1, description="open event streams")] = 10_000
    max_streams_per_token: Annotated[int, Field(ge=1, description="open event streams of a token")] = 2000
    requests_per_minute: Annotated[
        int, Field(ge=0, description="requests of a token in a minute, all of them at once at most; 0: no limit")
    ] = 60_000
    max_tenants: Annotated[int, Field(ge=1, description="tenants that are connected to Redis at a time")] = 100
    redis_connections: Annotated[
        int,
        Field(ge=4, le=10_000, description="maximum number of connections to Redis for each of its two uses, a tenant"),
    ] = 16
    outage_seconds: Annotated[
        float,
        Field(ge=0, le=600, description="how long requests and streams wait while Redis is away, before they fail"),
    ] = 10.0
    max_wait_seconds: Annotated[float, Field(ge=0, le=3600, description="longest ?wait of a request")] = 60.0
    keep_alive_seconds: Annotated[
        float, Field(gt=0, le=3600, description="silence of a stream after which a comment is sent")
    ] = 15.0
    retry_ms: Annotated[int, Field(ge=0, le=600_000, description="pause before a client resumes a stream")] = 1000
    stream_events: Annotated[
        int, Field(ge=1, description="events that may wait for a stream; beyond that, it reads the stored ones again")
    ] = 10_000
    stream_bytes: Annotated[
        int,
        Field(ge=1024, description="bytes that may wait for a stream; beyond that, it reads the stored ones again"),
    ] = 8 * 1024 * 1024
    unread_seconds: Annotated[
        float,
        Field(ge=1, le=3600, description="how long a client may leave sent bytes unread before it is disconnected"),
    ] = 60.0
    grace_seconds: Annotated[
        float, Field(ge=0, le=3600, description="how long requests may continue after SIGTERM; streams end at once")
    ] = 10.0

    @property
    def host_names(self) -> HostNames:
        """The names by which requests may call this gateway."""
        return HostNames(self.host, self.hosts)

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
