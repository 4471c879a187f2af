"""Frames to the worker: what a hostile session process may send on its three sockets."""

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar

import msgpack

from skep_shared.checkpoints.content_chunks import digest
from skep_shared.checkpoints.manifest import Entry, Group, Manifest
from skep_shared.protocol.frame_codec import HEADER_BYTES
from skep_shared.protocol.frames import (
    FRAME_CODES,
    Blob,
    Cleared,
    Display,
    Done,
    Exiting,
    Failure,
    Fault,
    InputRequest,
    Leaving,
    Left,
    Notice,
    Output,
    Pong,
    Reply,
    Restored,
    Result,
    Saved,
    Truncated,
    Twinned,
    Work,
)

from ..target import as_bytes, items_of, number_of, unpack_input
from .residency import Residency

CELLS, CONTROL, SNAPSHOTS = range(3)
CHUNK = b"a chunk"
NAME = digest(CHUNK)


def packed_manifest(seq: int) -> bytes:
    """Return a manifest with one of everything."""
    group = Group(["x"], [NAME])
    entry = Entry("a/b", "file", 0o644, 1, len(CHUNK), (NAME,), "")
    return Manifest(
        seq=seq, groups=[group], definitions=None, bindings={"f": "k"}, lost={"g": "why"}, ambient=Group([], []),
        files=[entry],
    ).pack()  # fmt: skip


def as_operation(socket: int, frame: Any) -> list[Any]:
    """Return the operation that sends a frame."""
    return [socket, [FRAME_CODES[type(frame)], *frame]]


class FramesToWorker:
    """Operations: [socket, frame's code and fields] or [socket, bytes]. Other inputs are bytes of the cell socket."""

    name: ClassVar[str] = "frames"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()

    def seeds(self) -> Iterable[object]:
        """Yield a whole exchange, and each frame."""
        done = Done(1, 1, "finished", 120, "simple_sync", {"blocking_call": 1})
        saved = Saved(1, packed_manifest(1), {NAME: CHUNK})
        talk = [
            as_operation(CELLS, Output(1, 1, "stdout", "text")),
            as_operation(CELLS, Display(1, 1, {"text/plain": "x", "image/png": b"\x89"}, "id", False)),
            as_operation(CELLS, InputRequest(1, 1, 1, "name? ", False)),
            as_operation(CONTROL, Pong(0)),
            as_operation(CONTROL, Reply(1, False, b"\x81\xa1a\x01")),
            as_operation(CELLS, Result(1, 1, {"text/plain": "1"}, b"\x01")),
            as_operation(CELLS, done),
            as_operation(CELLS, saved),
            as_operation(CELLS, Output(1, 1, "stderr", "late")),
            as_operation(CELLS, Failure(2, 1, "ValueError", "x", "Traceback")),
            as_operation(CELLS, Done(2, 1, "failed", 1, "async_def", {})),
            as_operation(SNAPSHOTS, Blob(NAME, CHUNK)),
            as_operation(SNAPSHOTS, Saved(2, packed_manifest(2), {})),
            as_operation(CELLS, Saved(2, b"", {}, 1, "why")),
        ]
        yield talk
        for frame in (
            Truncated(1, 1, 1024), Cleared(1, 1, True), Notice(1, 1, "category", "message"), Restored("", {"a": "b"}, ["n"]),
            Fault("reason"), Twinned(1, 0, "reason"), Leaving(["t"], ["t"], [], ["c"]), Exiting(), Left(["note"]),
        ):  # fmt: skip
            yield [as_operation(CELLS, frame)]
        yield [as_operation(CONTROL, Work(1, ["t"], [], []))]
        yield [
            as_operation(CELLS, Leaving(["t"], [], [], [])),
            as_operation(CELLS, Exiting()),
            as_operation(CELLS, Left([])),
        ]
        yield [
            as_operation(CELLS, done),
            as_operation(CELLS, Saved(1, b"", {}, 3, "")),
            as_operation(CELLS, Blob(NAME, CHUNK)),
        ]
        yield [[CELLS, b"\xff\xff\xff\xff"], [CELLS, b"\0\0\0\x05\xc1"]]

    def execute(self, data: bytes) -> None:
        """Receive the frames, as they come, and the end of the process."""
        self._loop.run_until_complete(self._execute(unpack_input(data), data))

    async def _execute(self, operations: list[Any] | None, data: bytes) -> None:
        residency = Residency()
        residency.start()
        router = residency.process.router
        receivers = (router.receive_cell_data, router.receive_control_data, router.receive_snapshot_data)
        for operation in [[CELLS, data]] if operations is None else operations:
            socket, frame = items_of(operation, 2)
            receivers[number_of(socket, CELLS, SNAPSHOTS)](_bytes_of(frame))
            if router.fault is not None:
                break
            await asyncio.sleep(0)
        await residency.settle()
        await residency.end()


def _bytes_of(frame: object) -> bytes:
    if not isinstance(frame, list):
        return as_bytes(frame)
    body: bytes = msgpack.packb(frame, unicode_errors="surrogatepass")
    return len(body).to_bytes(HEADER_BYTES, "big") + body
