"""Sessions whose zygote has died: the worker adopts them, and the processes that they leave behind.

Such sessions live on. If the worker's process is a child subreaper, it inherits them, and when they have ended, also
the processes that they have started and left behind; nothing else would end those. A worker has no other children than
its zygote and these. A worker in a process that has other tasks is no subreaper, and then nothing is searched for.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from typing import Final

from skep_shared.protocol.orphans import adopts_orphans, children_of

AGAIN_SECONDS: Final = 0.02  # a killed process needs a moment to end, and this worker then inherits its children
MOST_ROUNDS: Final = 100


class OrphanedSessions:
    """The processes of sessions whose zygote has died."""

    def __init__(self, zygote_pid: Callable[[], int | None]) -> None:
        """`zygote_pid` returns the present zygote: the only child that is neither a session nor left behind by one."""
        self._zygote_pid = zygote_pid
        self._handles: dict[int, int] = {}  # pid -> pidfd
        self._reaping: asyncio.TimerHandle | None = None
        self._has_adopted_any = False

    def adopt(self, pids: Iterable[int]) -> None:
        """Take over the sessions of a zygote that has died."""
        if not adopts_orphans():
            return
        self._has_adopted_any = True
        loop = asyncio.get_running_loop()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._handles[pid] = os.pidfd_open(pid)
                loop.add_reader(self._handles[pid], self._ended, pid)
        self._reap()  # a session that ended at the same time may have left processes behind

    async def end_all(self) -> None:
        """End all remaining processes; the zygote has ended already."""
        loop = asyncio.get_running_loop()
        for handle in self._handles.values():
            loop.remove_reader(handle)
            os.close(handle)
        self._handles.clear()
        if self._reaping is not None:
            self._reaping.cancel()
        for _ in range(MOST_ROUNDS if self._has_adopted_any else 0):
            if not self._end_left_behind():
                break
            await asyncio.sleep(AGAIN_SECONDS)

    def _ended(self, pid: int) -> None:
        handle = self._handles.pop(pid)
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
        self._reap()

    def _reap(self) -> None:
        """End the processes that sessions have left behind, again and again until none is found."""
        is_again = self._end_left_behind()
        self._reaping = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._reap) if is_again else None

    def _end_left_behind(self) -> bool:
        """Kill and reap the children that are neither sessions nor the zygote; return whether there were any."""
        found = [pid for pid in children_of(os.getpid()) if pid not in self._handles and pid != self._zygote_pid()]
        for pid in found:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        return bool(found)
