"""What a client asks of a session's worker, and waits for: operations, whoever has the session by then.

An operation that meets a session leaving its worker is sent again, to the next owner. One whose worker dies is noticed
by looking, now and then, whether that worker still has the session: nobody is left to answer.
"""

import asyncio
import itertools
from typing import Any, Final, Literal

from skep.link import ShardLink
from skep.replies import Moved, ReplyReader
from skep_shared.errors import NotFound, OperationFailed, SessionClosed, WaitTimeout
from skep_shared.script_replies import ControlStatus
from skep_shared.values import encode_value

OPERATION_SECONDS: Final = 20.0
LONG_SECONDS: Final = 120.0  # for what saves state
LOOK_SECONDS: Final = 1.0  # between two looks whether the worker that is to answer still has the session
MOVE_DELAYS: Final = (0.0, 0.005, 0.02, 0.05, 0.1, 0.25)  # before something is asked again that met a session leaving
HIBERNATE: Final = "hibernate"
ROLLBACK: Final = "rollback"
PUT: Final = "files.put"
_LONG: Final = frozenset({HIBERNATE, ROLLBACK, PUT})
_ABOUT: Final[dict[str, Literal["stay"]]] = {HIBERNATE: "stay"}  # what no worker is to be found for


class Operations:
    """The operations of one session, from this client."""

    def __init__(self, link: ShardLink, replies: ReplyReader, session_id: str) -> None:
        self._link = link
        self._replies = replies
        self._session_id = session_id

    async def ask(self, kind: str, question: dict[str, object]) -> Any:
        """Ask the session's owner for something that it answers; whoever it is by then, if it changes hands meanwhile.

        Raises NotFound, SessionClosed, OperationFailed, WaitTimeout, RedisUnavailable.
        """
        loop = asyncio.get_running_loop()
        seconds = LONG_SECONDS if kind in _LONG else OPERATION_SECONDS
        ends_at = loop.time() + seconds
        for delay in itertools.chain(MOVE_DELAYS, itertools.repeat(MOVE_DELAYS[-1])):
            try:
                return await self._ask_once(kind, question, seconds, ends_at)
            except Moved:
                if loop.time() + delay >= ends_at:
                    reason = f"the session went from worker to worker for {seconds:g} s, and none answered"
                    raise OperationFailed(f"{kind} of session {self._session_id!r}: {reason}") from None
                await asyncio.sleep(delay)
        raise AssertionError("the delays never end")

    async def _ask_once(self, kind: str, question: dict[str, object], seconds: float, ends_at: float) -> Any:
        loop, link = asyncio.get_running_loop(), self._link
        operation = self._replies.operation()
        extra: dict[str, str | bytes | int] = {
            "c": self._replies.client_id,
            "o": operation.id,
            "m": kind,
            "p": encode_value(question),
            "d": str(max(0.0, round(ends_at - loop.time(), 3))),
        }
        sent = await link.request(self._session_id, "operate", about=_ABOUT.get(kind, "process"), fields=extra)
        if sent.status is ControlStatus.UNKNOWN:
            raise NotFound("session", self._session_id)
        if sent.status is ControlStatus.IDLE:
            if kind == HIBERNATE:
                return None  # no live worker has it
            raise SessionClosed(self._session_id)
        while not await operation.is_answered_within(min(LOOK_SECONDS, max(0.0, ends_at - loop.time()))):
            if loop.time() >= ends_at:
                raise WaitTimeout(f"{kind} of session {self._session_id!r}", seconds)
            if not await link.is_owner(self._session_id, sent.owner):
                if operation.reply.done():
                    break
                raise Moved  # with its worker: nobody is left to answer
        return operation.result()
