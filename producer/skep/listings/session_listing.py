"""Lists a shard's sessions, or those that match a filter. Redis filters, one page of the index at a time."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from skep.link import ShardLink
from skep.listings.index_pages import read_each
from skep.listings.session_infos import Shortages, describe_session
from skep_shared.broker.listing_scripts import OLDEST, ListingScripts
from skep_shared.errors import InvalidArgument
from skep_shared.limits import check_id_prefix, check_labels
from skep_shared.models import SessionInfo
from skep_shared.states import SessionState

PAGE_SESSIONS: Final = 500  # at which one call of the script looks: some milliseconds of the server's time
READ_SESSIONS: Final = 200
MOST_LOOKS: Final = 50


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions to list: those with all these labels, in this state, whose ids begin with the prefix."""

    labels: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    prefix: str = ""

    @classmethod
    def checked(cls, labels: object, state: object, prefix: object, *, has_tenant: bool) -> Self:
        """Return a filter; None is no condition. Raises InvalidArgument."""
        if state is not None and state not in tuple(SessionState):
            raise InvalidArgument("state", state, f"one of {', '.join(SessionState)} is needed")
        return cls(
            check_labels(labels),  # type: ignore[arg-type]  # it checks the type
            "" if state is None else str(state),
            "" if prefix is None else check_id_prefix(prefix, has_tenant=has_tenant),
        )

    def has(self, info: SessionInfo) -> bool:
        """Return whether a session still matches."""
        return (not self.state or info.state == self.state) and self.labels.items() <= info.labels.items()


async def find_sessions(link: ShardLink, wanted: SessionFilter) -> AsyncIterator[SessionInfo]:
    """Yield the sessions that match, the oldest first. Raises RedisUnavailable."""
    scripts, shortages = ListingScripts(link.redis, link.keys), Shortages(link)
    after = OLDEST
    while after:
        first = after
        page = await link.persist(
            lambda: scripts.find(
                after=first,  # noqa: B023
                page=PAGE_SESSIONS,
                state=wanted.state,
                prefix=wanted.prefix,
                labels=wanted.labels,
            )
        )
        names = [link.keys.short_id(full_id) for full_id in page.full_ids]
        for start in range(0, len(names), READ_SESSIONS):
            async for info in _described(link, names[start : start + READ_SESSIONS], shortages):
                if wanted.has(info):  # it may have changed since it was found
                    yield info
        after = page.after


async def find_page(link: ShardLink, wanted: SessionFilter, after: str, most: int) -> tuple[list[SessionInfo], str]:
    """Return about `most` sessions that match, and where the next page begins: "" after the last one.

    after: OLDEST, or where a page begins. There may be fewer though another page follows: at most MOST_LOOKS calls of
    the script are made. Raises RedisUnavailable.
    """
    scripts, shortages = ListingScripts(link.redis, link.keys), Shortages(link)
    found: list[SessionInfo] = []
    for _ in range(MOST_LOOKS):
        begin, room = after, min(PAGE_SESSIONS, most - len(found))
        page = await link.persist(
            lambda: scripts.find(
                after=begin,  # noqa: B023
                page=room,  # noqa: B023
                state=wanted.state,
                prefix=wanted.prefix,
                labels=wanted.labels,
            )
        )
        names = [link.keys.short_id(full_id) for full_id in page.full_ids]
        found += [info async for info in _described(link, names, shortages) if wanted.has(info)]
        after = page.after
        if not after or len(found) >= most:
            break
    return found, after


async def _described(link: ShardLink, names: list[str], shortages: Shortages) -> AsyncIterator[SessionInfo]:
    hashes = await read_each(link, [("HGETALL", link.keys.session(name)) for name in names])
    owners = [fields.get(b"owner", b"").decode() for fields in hashes]
    workers = await read_each(link, [("HGET", link.keys.worker(owner), "facts") for owner in owners])
    for name, fields, facts in zip(names, hashes, workers, strict=True):
        if fields:
            yield await describe_session(link, name, fields, facts, shortages)
