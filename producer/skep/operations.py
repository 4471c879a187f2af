"""Operations: requests that the worker owning a session answers.

An operation that reaches a session which is leaving its worker is sent again, to the next owner. While a client waits,
it checks every so often whether the worker still owns the session: a dead worker doesn't answer.
"""

import asyncio
import itertools
from typing import Any, Final, Literal

from skep.link import ShardLink
from skep.replies import Moved, ReplyReader
from skep_shared.broker.mailbox_entries import OperationRequest
from skep_shared.broker.script_replies import ControlStatus
from skep_shared.errors import NotFound, OperationFailed, SessionClosed, WaitTimeout
from skep_shared.values import encode_value

OPERATION_SECONDS: Final = 20.0
LONG_SECONDS: Final = 120.0  # for operations that save state
LOOK_SECONDS: Final = 1.0  # between checks that the worker which is to answer still owns the session
MOVE_DELAYS: Final = (0.0, 0.005, 0.02, 0.05, 0.1, 0.25)  # before an operation that met a leaving session is repeated
HIBERNATE: Final = "hibernate"
ROLLBACK: Final = "rollback"
PUT: Final = "files.put"
_LONG: Final = frozenset({HIBERNATE, ROLLBACK, PUT})
# Operations that don't activate a session without an owner.
_ABOUT: Final[dict[str, Literal["residency"]]] = {HIBERNATE: "residency"}


class Operations:
    """The operations of one session, from this client."""

    def __init__(self, link: ShardLink, replies: ReplyReader, session_id: str) -> None:
        self._link = link
        self._replies = replies
        self._session_id = session_id

    async def ask(self, kind: str, question: dict[str, object]) -> Any:
        """Send an operation to the session's owner, also to the next one if it changes hands, and return the answer.

        Raises NotFound, SessionClosed, OperationFailed, SignatureRefused, WaitTimeout, RedisFull, RedisUnavailable.
        """
        loop = asyncio.get_running_loop()
        seconds = LONG_SECONDS if kind in _LONG else OPERATION_SECONDS
        ends_at = loop.time() + seconds
        for delay in itertools.chain(MOVE_DELAYS, itertools.repeat(MOVE_DELAYS[-1])):
            try:
                return await self._ask_once(kind, question, seconds, ends_at)
            except Moved:
                if loop.time() + delay >= ends_at:
                    reason = f"the session moved from worker to worker for {seconds:g} s, and none answered"
                    raise OperationFailed(f"{kind} of session {self._session_id!r}: {reason}") from None
                await asyncio.sleep(delay)
        raise AssertionError("the delays never end")

    async def _ask_once(self, kind: str, question: dict[str, object], seconds: float, ends_at: float) -> Any:
        loop, link = asyncio.get_running_loop(), self._link
        operation = self._replies.operation()
        seconds_left = max(0.0, round(ends_at - loop.time(), 3))
        request = OperationRequest(self._replies.client_id, operation.id, kind, encode_value(question), seconds_left)
        sent = await link.request(self._session_id, "operate", about=_ABOUT.get(kind, "process"), fields=request.pack())
        if sent.status is ControlStatus.UNKNOWN:
            raise NotFound("session", self._session_id)
        if sent.status is ControlStatus.IDLE:
            if kind == HIBERNATE:
                return None  # no live worker owns it
            raise SessionClosed(self._session_id)
        while not await operation.is_answered_within(min(LOOK_SECONDS, max(0.0, ends_at - loop.time()))):
            if loop.time() >= ends_at:
                raise WaitTimeout(f"{kind} of session {self._session_id!r}", seconds)
            if not await link.is_owner(self._session_id, sent.owner):
                if operation.reply.done():
                    break
                raise Moved  # the worker that was to answer is dead or has lost the session
        return operation.result()
