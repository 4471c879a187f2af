"""Sessions whose zygote has died: the worker adopts them, and what they leave.

They live on. With their zygote gone they are the worker's children, if its process adopts orphans, and so is whatever
they have started and let go of once they have ended; nobody else would end that. A worker has no other children than
its zygote and these: one in a process that does more than that doesn't adopt, and nothing is looked for.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from typing import Final

from skep_shared.orphans import adopts_orphans, children_of

AGAIN_SECONDS: Final = 0.02  # a process that is killed needs a moment to end, and to leave its own children to us
MOST_ROUNDS: Final = 100


class Strays:
    """The processes of sessions that have lost their zygote."""

    def __init__(self, zygote_pid: Callable[[], int | None]) -> None:
        """`zygote_pid` gives the zygote there is now: the one child that is neither a stray nor left behind by one."""
        self._zygote_pid = zygote_pid
        self._handles: dict[int, int] = {}  # pid -> pidfd
        self._looking: asyncio.TimerHandle | None = None
        self._has_taken_any = False

    def take(self, pids: Iterable[int]) -> None:
        """Take over the sessions of a zygote that has died."""
        if not adopts_orphans():
            return
        self._has_taken_any = True
        loop = asyncio.get_running_loop()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._handles[pid] = os.pidfd_open(pid)
                loop.add_reader(self._handles[pid], self._ended, pid)
        self._look()  # one that ended at the same time has left what it had

    async def close(self) -> None:
        """End what is left; the zygote has ended already."""
        loop = asyncio.get_running_loop()
        for handle in self._handles.values():
            loop.remove_reader(handle)
            os.close(handle)
        self._handles.clear()
        if self._looking is not None:
            self._looking.cancel()
        for _ in range(MOST_ROUNDS if self._has_taken_any else 0):
            if not self._bury():
                break
            await asyncio.sleep(AGAIN_SECONDS)

    def _ended(self, pid: int) -> None:
        handle = self._handles.pop(pid)
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
        self._look()

    def _look(self) -> None:
        """Bury what has been left behind, until nothing is left."""
        self._looking = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._look) if self._bury() else None

    def _bury(self) -> bool:
        """Kill and reap what belongs to nobody; tells whether there was anything."""
        found = [pid for pid in children_of(os.getpid()) if pid not in self._handles and pid != self._zygote_pid()]
        for pid in found:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        return bool(found)
