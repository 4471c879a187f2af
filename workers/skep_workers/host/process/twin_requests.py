"""Requests to a session process to fork itself, one at a time, each with the descriptors for the fork."""

import asyncio
import os
import socket

from skep_shared.errors import StartError
from skep_shared.protocol.frame_codec import encode_frame
from skep_shared.protocol.frames import Twin, Twinned


class TwinRequests:
    """Requests forks from one process, and receives its answers; an answer that arrives too late is ignored."""

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
        """Send the request on the cell socket, the descriptors on the snapshot socket. Raises StartError."""
        async with self._turn:
            if cells is None or snapshots is None or snapshots.is_closing():
                raise StartError("session process", "the process to fork has ended")
            self._answer = asyncio.get_running_loop().create_future()
            self._number += 1
            try:
                # The host writes nothing else to that socket, so writing past its transport can't interrupt other data.
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

    def receive(self, frame: Twinned) -> None:
        """Receive an answer."""
        if self._answer is not None and frame.request == self._number and not self._answer.done():
            self._answer.set_result(frame)

    def end(self, cause: str) -> None:
        """Fail the open request: the process has ended."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(StartError("session process", f"the process to fork has ended: {cause}"))
