"""How many requests and streams there may be: at a time, in all and for each token, and in a minute for each token."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from skep.gateway.problems import Refused
from skep.gateway.settings import GatewaySettings

MOST_BUCKETS: Final = 10_000
_TRY_AGAIN: Final = "Try again later, with fewer requests at a time."


class Slot:
    """One request's place among those at a time: counted for the gateway, then for its token, perhaps as a stream."""

    def __init__(self, quota: "Quota") -> None:
        self._quota = quota
        self._token: str | None = None
        self._is_stream = False
        quota.requests += 1

    def of_token(self, token_id: str) -> None:
        """Count the request for its token. Raises Refused."""
        self._quota.take_rate(token_id)
        self._quota.check_requests_of(token_id)
        self._token = token_id
        self._quota.requests_of[token_id] += 1

    def become_stream(self) -> None:
        """Count the request as a stream from now on. Raises Refused."""
        assert self._token is not None  # noqa: S101 - every stream needs a token
        self._quota.check_stream(self._token)
        self._leave()
        self._is_stream = True
        self._quota.streams += 1
        self._quota.streams_of[self._token] += 1

    def leave(self) -> None:
        """End the request."""
        if self._is_stream:
            self._quota.streams -= 1
            _decrease(self._quota.streams_of, self._token)
        else:
            self._leave()

    def _leave(self) -> None:
        self._quota.requests -= 1
        _decrease(self._quota.requests_of, self._token)


class Quota:
    """Counts requests and streams."""

    def __init__(self, settings: GatewaySettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self.requests = 0
        self.streams = 0
        self.requests_of: Counter[str] = Counter()
        self.streams_of: Counter[str] = Counter()
        self._buckets: dict[str, tuple[float, float]] = {}  # requests left, and when that was so

    def enter(self) -> Slot:
        """Return a place for a request. Raises Refused."""
        most = self._settings.max_requests
        if self.requests >= most:
            kind = (503, "The gateway is busy", _TRY_AGAIN)
            raise Refused("TooManyRequests", kind, f"{most} requests run here at this time.", retry_after=1, limit=most)
        return Slot(self)

    def check_requests_of(self, token_id: str) -> None:
        """Raise Refused if the token has as many requests as it may have."""
        most = self._settings.max_requests_per_token
        if self.requests_of[token_id] >= most:
            kind = (429, "Too many requests at a time", _TRY_AGAIN)
            detail = f"{most} requests of this token run at this time."
            raise Refused("TooManyRequests", kind, detail, retry_after=1, limit=most)

    def check_stream(self, token_id: str) -> None:
        """Raise Refused if the gateway, or the token, has as many streams as it may have."""
        remedy = "Close streams that are not needed. One stream of a session has the events of all its cells."
        for count, most, status in (
            (self.streams, self._settings.max_streams, 503),
            (self.streams_of[token_id], self._settings.max_streams_per_token, 429),
        ):
            if count >= most:
                kind = (status, "Too many open streams", remedy)
                raise Refused("TooManyStreams", kind, f"{most} streams are open.", retry_after=5, limit=most)

    def take_rate(self, token_id: str) -> None:
        """Count a request against the token's rate. Raises Refused."""
        most = self._settings.requests_per_minute
        if not most:
            return
        now = self._clock()
        left, at = self._buckets.pop(token_id, (float(most), now))
        left = min(float(most), left + (now - at) * most / 60)
        if len(self._buckets) >= MOST_BUCKETS:  # the one that has not been used for longest is as good as full
            del self._buckets[next(iter(self._buckets))]
        self._buckets[token_id] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            kind = (429, "Too many requests", _TRY_AGAIN)
            detail = f"This token may send {most} requests a minute."
            raise Refused("TooManyRequests", kind, detail, retry_after=(1 - left) * 60 / most, limit=most)


def _decrease(counter: Counter[str], name: str | None) -> None:
    if name is None:
        return
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
