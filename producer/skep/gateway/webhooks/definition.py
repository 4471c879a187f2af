"""What a tenant asks for: a URL, the kinds of events, and of which sessions."""

import secrets
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from skep.gateway.webhooks.signature import check_secret, new_secret
from skep_shared.errors import InvalidArgument
from skep_shared.events import Event
from skep_shared.limits import MAX_ID_BYTES, check_labels, check_session_id, check_webhook_name

ALL_KINDS: Final = "*"
MAX_URL_CHARS: Final = 2_000
ABOUT_MISSING: Final = frozenset({"events.trimmed", "events.reset"})
EVENT_KINDS: Final = frozenset(each.model_fields["kind"].default for each in typing.get_args(typing.get_args(Event)[0]))


class WebhookSpec(BaseModel):
    """The body of a PUT. events: kinds, or "*" for all. labels: that a session has to have, all of them.

    prefix: of the ids of sessions. secret: by which deliveries are signed; None: as before, or a new one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: str
    events: Annotated[list[str], Field(min_length=1, max_length=len(EVENT_KINDS) + 1)]
    labels: dict[str, str] = {}
    prefix: Annotated[str, Field(max_length=MAX_ID_BYTES)] = ""
    secret: Annotated[str | None, Field(repr=False)] = None

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Self:
        """Return a spec. Raises InvalidArgument, naming the field, the value and the limit."""
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "webhook"
            refusal = first.get("ctx", {}).get("error")
            limit = refusal.limit if isinstance(refusal, InvalidArgument) else first["msg"]
            shown = "***" if field == "secret" else first["input"]
            raise InvalidArgument(field, shown, limit) from None  # pydantic's own error quotes the secret

    @field_validator("url")
    @classmethod
    def _url_is_one(cls, url: str) -> str:
        return check_url(url)

    @field_validator("events")
    @classmethod
    def _events_are_known(cls, events: list[str]) -> list[str]:
        for kind in events:
            if kind != ALL_KINDS and kind not in EVENT_KINDS:
                raise InvalidArgument("events", kind, f"the kinds are {ALL_KINDS}, {', '.join(sorted(EVENT_KINDS))}")
        return sorted(set(events))

    @field_validator("labels")
    @classmethod
    def _labels_are_short(cls, labels: dict[str, str]) -> dict[str, str]:
        return check_labels(labels)

    @field_validator("prefix")
    @classmethod
    def _prefix_can_begin_an_id(cls, prefix: str) -> str:
        for part in prefix.split("/", 1) if prefix else ():
            if part:
                check_session_id(part)
        return prefix

    @field_validator("secret")
    @classmethod
    def _secret_is_long(cls, secret: str | None) -> str | None:
        return None if secret is None else check_secret(secret)


class Webhook(BaseModel):
    """A stored webhook. tenant: "" without one; then it is about all sessions of the shard.

    generation: random, of each PUT. created_at_ms: of its first PUT.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    tenant: str
    url: str
    events: list[str]
    labels: dict[str, str] = {}
    prefix: str = ""
    secret: Annotated[str, Field(repr=False)]
    created_at_ms: int
    generation: str

    @classmethod
    def make(cls, name: str, tenant: str | None, spec: WebhookSpec, before: Self | None, *, now_ms: int) -> Self:
        """Return what a PUT stores. Raises InvalidArgument."""
        secret = spec.secret or (new_secret() if before is None else before.secret)
        return cls(
            name=check_webhook_name(name),
            tenant=tenant or "",
            url=spec.url,
            events=spec.events,
            labels=spec.labels,
            prefix=spec.prefix,
            secret=secret,
            created_at_ms=now_ms if before is None else before.created_at_ms,
            generation=secrets.token_hex(8),
        )

    @property
    def full_name(self) -> str:
        """The name by which Redis has it."""
        return full_name_of(self.tenant, self.name)

    def wants_session(self, full_id: str) -> bool:
        """Return whether the id is one of its sessions; their labels are another question."""
        scope = f"{self.tenant}/" if self.tenant else ""
        return full_id.startswith(scope + self.prefix)

    def has_labels(self, labels: Mapping[str, str]) -> bool:
        """Return whether a session with these labels is one of its sessions."""
        return self.labels.items() <= labels.items()

    def wants_kind(self, kind: str) -> bool:
        """Return whether events of this kind are sent. Those that report missing events always are."""
        return ALL_KINDS in self.events or kind in self.events or kind in ABOUT_MISSING


def full_name_of(tenant: str | None, name: str) -> str:
    """Return TENANT/NAME, or /NAME without a tenant. No name and no tenant has a slash."""
    return f"{tenant or ''}/{name}"


def check_url(url: object) -> str:
    """Return a URL that a delivery can be sent to, or raise InvalidArgument. Where it leads to is another question."""
    if not isinstance(url, str) or not 1 <= len(url) <= MAX_URL_CHARS:
        raise InvalidArgument("url", url, f"a str of 1 to {MAX_URL_CHARS} characters is needed")
    if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
        raise InvalidArgument("url", url, "printable ASCII without blanks is needed; encode other characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise InvalidArgument("url", url, f"it can't be read: {exc}") from exc
    if parts.scheme not in {"https", "http"} or not host:
        raise InvalidArgument("url", url, "https://HOST/PATH is needed")
    if "@" in parts.netloc or parts.fragment:
        raise InvalidArgument("url", "***", "a user name, a password or a fragment is not allowed in it")
    return url
