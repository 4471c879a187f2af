"""Errors of servers and processes that skep needs: Redis, the checkpoint store, an identity provider, a worker."""

from skep_shared.errors.base import SkepError


class RedisUnavailable(SkepError, ConnectionError):
    """Redis at `url` (password removed) can't be reached or stopped answering; `reason` is the driver's message."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        """Return the address, the reason, and what to check."""
        return f"Redis at {self.url} is unavailable: {self.reason}. Check the address and that the server is up"


class RedisRefused(SkepError):
    """Redis at `url` (password removed) refuses commands that skep needs; `reason` is the server's message."""

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        super().__init__(url, reason, remedy)
        self.url, self.reason, self.remedy = url, reason, remedy

    def __str__(self) -> str:
        """Return the address, the reason, and what to do."""
        return f"Redis at {self.url} refuses this client: {self.reason}. {self.remedy}"


class RedisUnsuitable(SkepError):
    """The Redis server is not suitable for sessions: `what` is `actual`, but skep needs `expected`."""

    def __init__(self, what: str, actual: str, expected: str, remedy: str) -> None:
        super().__init__(what, actual, expected, remedy)
        self.what, self.actual, self.expected, self.remedy = what, actual, expected, remedy

    def __str__(self) -> str:
        """Return the expected and the actual value, and the remedy."""
        return f"Redis {self.what} is {self.actual!r}, skep needs {self.expected}: {self.remedy}"


class RedisFull(SkepError):
    """Redis has reached its maxmemory; the cell, or the checkpoint, was not accepted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Return what still works and what to do."""
        return (
            f"Redis is out of memory: it accepts no new cells or large checkpoints ({self.reason}); "
            "running cells still commit. Raise maxmemory, or close and purge sessions"
        )


class StoreUnavailable(SkepError):
    """The checkpoint store at `url` can't be used now; `reason` is the store's message."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        """Return the address and the reason."""
        return f"the checkpoint store at {self.url} is unavailable: {self.reason}"


class IdentityUnavailable(SkepError):
    """The keys of the identity provider at `url` can't be fetched now; `reason` is why."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        """Return the address, the reason, and what to check."""
        return f"the keys of the identity provider at {self.url} can't be fetched: {self.reason}. Check the URL"


class StartError(SkepError):
    """`what` did not start: `reason`."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what, self.reason = what, reason

    def __str__(self) -> str:
        """Return the part and the reason."""
        return f"{self.what} did not start: {self.reason}"
