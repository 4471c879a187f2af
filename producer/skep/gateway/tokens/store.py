"""The gateway's tokens in Redis: made, listed and revoked by operators, and read when a caller shows one."""

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from skep.gateway.tokens.access import Action
from skep.gateway.tokens.token_text import TokenText, is_token_id
from skep.link import ShardLink
from skep.listings.index_pages import index_pages, read_each
from skep_shared.broker.token_scripts import TokenScripts
from skep_shared.errors import InvalidArgument, NotFound
from skep_shared.limits import check_number, check_tenant, check_token_name

MAX_TOKENS: Final = 10_000  # of a shard, with those that are still listed
LISTED_MS: Final = 30 * 86_400_000  # how long an expired or revoked token is listed
SHORTEST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 10 * 365 * 86_400.0
FIELDS: Final = ("digest", "tenant", "can", "name", "created", "expires", "revoked")


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is known about a token. tenant: None for one that reaches all sessions. Aware times; None: never."""

    id: str
    name: str
    tenant: str | None
    can: frozenset[Action]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """Return valid, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


def check_rights(names: Iterable[str]) -> frozenset[Action]:
    """Return the rights with these names; at least one. Raises InvalidArgument."""
    known = ", ".join(Action)
    rights = set()
    for name in names:
        if name not in set(Action):
            raise InvalidArgument("can", name, f"the rights are {known}")
        rights.add(Action(name))
    if not rights:
        raise InvalidArgument("can", "", f"at least one right is needed, of {known}")
    return frozenset(rights)


class TokenStore:
    """The tokens of one shard. All methods raise RedisUnavailable and RedisRefused."""

    def __init__(self, link: ShardLink) -> None:
        self._link = link
        self._scripts = TokenScripts(link.redis, link.keys)

    async def create(
        self, *, can: Iterable[str], tenant: str | None = None, seconds: float | None = None, name: str = ""
    ) -> tuple[TokenRecord, str]:
        """Make a token that is valid for so many seconds, None: until it is revoked; return it, and its text.

        The text can't be had again. Raises InvalidArgument; RedisFull.
        """
        rights, named = check_rights(can), check_token_name(name)
        if tenant is not None:
            check_tenant(tenant)
        if seconds is not None:
            check_number("expires", seconds, low=SHORTEST_SECONDS, high=LONGEST_SECONDS)
        token = TokenText.make()
        lifetime_ms = 0 if seconds is None else int(seconds * 1000)
        added = await self._link.persist(
            lambda: self._scripts.add(
                token.id, token.digest, tenant=tenant or "", can=",".join(sorted(rights)), name=named,
                lifetime_ms=lifetime_ms, most=MAX_TOKENS, listed_ms=LISTED_MS,
            )
        )  # fmt: skip
        if added.status == "FULL":
            limit = f"the shard already has {added.count} tokens, with those that ended in the last 30 days"
            raise InvalidArgument("name", name, f"{limit}: at most {MAX_TOKENS}; reuse tokens, or let them live longer")
        if added.status == "TAKEN":  # as likely as a collision of 62 random bits
            raise InvalidArgument("id", token.id, "another token has it; try again")
        record = TokenRecord(
            token.id, named, tenant, rights, time_of(added.created_ms), _optional_time(added.expires_ms)
        )
        return record, token.text

    async def records(self, tenant: str | None = None) -> list[TokenRecord]:
        """Return the tokens, those of one tenant or all, the first to end in front; ended ones for 30 days."""
        if tenant is not None:
            check_tenant(tenant)
        found = []
        async for ids in index_pages(self._link, self._link.keys.tokens):
            records = await read_each(self._link, [("HMGET", self._link.keys.token(each), *FIELDS) for each in ids])
            found += [read_record(each, fields) for each, fields in zip(ids, records, strict=True) if fields[4]]
        return [record for record in found if tenant is None or record.tenant == tenant]

    async def revoke(self, token_id: str, tenant: str | None = None) -> datetime:
        """Revoke a token, only one of this tenant if one is given; return when it was revoked.

        It counts at once for processes that look, and within a second everywhere. Raises InvalidArgument, NotFound.
        """
        if not is_token_id(token_id):  # may be the whole token: then it must not be shown
            raise InvalidArgument("id", token_id[:5], "the id of a token is needed, as in skep tokens list")
        revoked_ms = await self._link.persist(
            lambda: self._scripts.revoke(token_id, tenant=tenant or "", listed_ms=LISTED_MS)
        )
        if revoked_ms is None:
            raise NotFound("token", token_id)
        return time_of(revoked_ms)

    async def has_any(self) -> bool:
        """Return whether there is a token, valid or still listed. Without one the gateway serves this machine only."""
        return bool(await self.records())

    async def read_now(self, token_ids: Sequence[str]) -> tuple[int, list[list[bytes | None]]]:
        """Return Redis's time in ms, and the stored FIELDS of each token; one try. Raises the driver's errors."""
        async with self._link.redis.pipeline(transaction=False) as pipe:
            pipe.execute_command("TIME")
            for token_id in token_ids:
                pipe.execute_command("HMGET", self._link.keys.token(token_id), *FIELDS)
            (seconds, microseconds), *records = await cast("Awaitable[list[Any]]", pipe.execute())
        return int(seconds) * 1000 + int(microseconds) // 1000, records


def read_record(token_id: str, fields: Sequence[bytes | None]) -> TokenRecord:
    """Return a record from its stored FIELDS. Rights of a newer version are ignored. Raises ValueError."""
    _, tenant, can, name, created, expires, revoked = (b"" if value is None else value for value in fields)
    return TokenRecord(
        token_id,
        name.decode(),
        tenant.decode() or None,
        frozenset(Action(word) for word in can.decode().split(",") if word in set(Action)),
        time_of(int(created)),
        _optional_time(int(expires)),
        _optional_time(int(revoked or 0)),
    )


def time_of(milliseconds: int) -> datetime:
    """Return an aware time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _optional_time(milliseconds: int) -> datetime | None:
    return time_of(milliseconds) if milliseconds else None
