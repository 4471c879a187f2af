"""What a caller may do, and the one question that the routes ask about a caller's token."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Action(StrEnum):
    """What a token permits. run: submit and control cells. read: everything that only reads. admin: all the rest."""

    RUN = "run"
    READ = "read"
    ADMIN = "admin"


class Kind(StrEnum):
    """How a caller was recognized: by a token of skep, by one of an identity provider, by a login in a browser.

    launch: by the token that a gateway without any other makes at its start.
    """

    TOKEN = "token"  # noqa: S105 - the word
    IDENTITY = "identity"
    LOGIN = "login"
    LAUNCH = "launch"


@dataclass(frozen=True, slots=True)
class Access:
    """A caller who was recognized. tenant: the one whose sessions they reach; None: all sessions of the shard.

    token_id: not secret; for logs and limits. expires_at: an aware time; None: never.
    """

    token_id: str
    tenant: str | None
    can: frozenset[Action]
    expires_at: datetime | None = None
    kind: Kind = Kind.TOKEN

    def may(self, action: Action) -> bool:
        """Return whether this action is permitted. No action includes another one."""
        return action in self.can


class TokenChecker(Protocol):
    """Recognizes callers by one kind of token."""

    async def check(self, text: str) -> Access | None:
        """Return what the token permits; None for any text that is no valid token: wrong, expired or revoked.

        Raises RedisUnavailable, or RedisRefused, if that can't be found out now.
        """

    async def wait_until_invalid(self, access: Access) -> None:
        """Return when the token has expired, or within a second after any process has revoked it.

        It is for open streams. It has no deadline of its own: the stream cancels it when it ends.
        """


class AnyOf:
    """The tokens of several checkers, which are asked in order. A token is recognized by at most one of them."""

    def __init__(self, checkers: Mapping[Kind, TokenChecker]) -> None:
        self._checkers = dict(checkers)

    async def check(self, text: str) -> Access | None:
        """Return what the token permits, None if no checker accepts it. Raises RedisUnavailable, RedisRefused."""
        for checker in self._checkers.values():
            access = await checker.check(text)
            if access is not None:
                return access
        return None

    async def wait_until_invalid(self, access: Access) -> None:
        """Return when the token has expired or was revoked, as reported by the checker that accepted it."""
        await self._checkers[access.kind].wait_until_invalid(access)
