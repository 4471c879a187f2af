"""Questions to a session process for a fork of itself, one at a time, each with the fork's descriptors."""

import asyncio
import os
import socket

from skep_shared.errors import StartError
from skep_shared.frame_codec import encode_frame
from skep_shared.frames import Twin, Twinned


class TwinRequests:
    """Asks one process, and takes its answers; those that come too late are nobody's."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._number = 0
        self._answer: asyncio.Future[Twinned] | None = None

    async def ask(
        self,
        cells: asyncio.Transport | None,
        snapshots: asyncio.Transport | None,
        manifest: bytes,
        descriptors: list[int],
        patience_seconds: float,
    ) -> Twinned:
        """Put the question on the cell socket, the descriptors on the snapshot socket. Raises StartError."""
        async with self._turn:
            if cells is None or snapshots is None or snapshots.is_closing():
                raise StartError("session process", "the process to fork has ended")
            self._answer = asyncio.get_running_loop().create_future()
            self._number += 1
            try:
                # Nobody else writes on that socket, so what goes past its transport can't get into another's middle.
                with socket.socket(fileno=os.dup(snapshots.get_extra_info("socket").fileno())) as sock:
                    socket.send_fds(sock, [b"\0"], descriptors)
                cells.write(encode_frame(Twin(self._number, manifest)))
                async with asyncio.timeout(patience_seconds):
                    return await self._answer
            except TimeoutError:
                reason = f"the process to fork has not answered for {patience_seconds:g} s"
                raise StartError("session process", reason) from None
            except OSError as exc:
                raise StartError("session process", f"the process to fork can't be reached: {exc}") from exc
            finally:
                self._answer = None

    def take(self, frame: Twinned) -> None:
        """Take an answer."""
        if self._answer is not None and frame.request == self._number and not self._answer.done():
            self._answer.set_result(frame)

    def end(self, cause: str) -> None:
        """The process has ended, and will not answer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(StartError("session process", f"the process to fork has ended: {cause}"))
