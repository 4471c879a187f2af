"""Settings of an identity provider: from `SKEP_GATEWAY_JWT_*`, otherwise these defaults; units are in the names."""

from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from skep.gateway.host_names import LOOPBACK_NAMES
from skep.gateway.tokens.access import Action
from skep_shared.environment_settings import EnvironmentSettings
from skep_shared.errors import InvalidArgument

# Signatures by a private key of the provider. With a shared secret (HS256) the gateway itself could make tokens, and
# one that is signed with the provider's public key as the secret would be accepted.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip


class IdentitySettings(EnvironmentSettings):
    """Whose tokens are accepted, and what their claims mean. Without `jwks_url` none are."""

    model_config = SettingsConfigDict(env_prefix="SKEP_GATEWAY_JWT_")

    jwks_url: Annotated[str, Field(description="URL of the provider's keys (JWKS); empty: no such tokens")] = ""
    issuer: Annotated[str, Field(description="the claim iss that tokens must have")] = ""
    audience: Annotated[str, Field(description="what the claim aud of tokens must have")] = ""
    algorithms: Annotated[
        list[str], Field(min_length=1, description="accepted algorithms of signatures; those with shared secrets never")
    ] = ["RS256", "ES256"]
    tenant_claim: Annotated[str, Field(min_length=1, description="claim that names the tenant: name or a.b")] = "tenant"
    default_tenant: Annotated[
        str, Field(description="tenant of tokens without the claim; empty: refused; *: all sessions of the shard")
    ] = ""
    rights_claim: Annotated[
        str, Field(min_length=1, description="claim with the rights, a list or words: name or a.b")
    ] = "scope"
    rights: Annotated[dict[str, str], Field(description="what each word of that claim permits: run, read or admin")] = {
        "skep:run": "run",
        "skep:read": "read",
        "skep:admin": "admin",
    }
    leeway_seconds: Annotated[float, Field(ge=0, le=300, description="difference of clocks that is accepted")] = 30.0
    fetch_seconds: Annotated[float, Field(gt=0, le=60, description="how long fetching the keys may take")] = 5.0
    refresh_seconds: Annotated[
        float, Field(gt=0, le=3600, description="shortest time between fetches of the keys, because of unknown ones")
    ] = 30.0
    keys_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="time after which the keys are fetched again in any case")
    ] = 3600.0
    outage_seconds: Annotated[
        float, Field(ge=0, le=7 * 86_400, description="how much longer known keys count if they can't be fetched")
    ] = 86_400.0

    @property
    def is_set(self) -> bool:
        """Return whether tokens of a provider are accepted."""
        return bool(self.jwks_url)

    @field_validator("jwks_url")
    @classmethod
    def _url_is_safe(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_NAMES)):
            raise InvalidArgument("jwks_url", url, "https:// is needed: who changes the keys can make tokens")
        return url

    @field_validator("algorithms")
    @classmethod
    def _algorithms_are_known(cls, algorithms: list[str]) -> list[str]:
        for name in algorithms:
            if name not in ALGORITHMS:
                raise InvalidArgument("algorithms", name, f"the algorithms are {', '.join(ALGORITHMS)}")
        return algorithms

    @field_validator("rights")
    @classmethod
    def _rights_are_known(cls, rights: dict[str, str]) -> dict[str, str]:
        for right in rights.values():
            if right not in set(Action):
                raise InvalidArgument("rights", right, f"the rights are {', '.join(Action)}")
        return rights

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for name in ("issuer", "audience"):
            if self.jwks_url and not getattr(self, name):
                raise InvalidArgument(name, "", f"SKEP_GATEWAY_JWT_{name.upper()} is needed with jwks_url")
        return self
