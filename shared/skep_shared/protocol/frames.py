"""The frames that a worker host and a session process exchange; `frame_codec` encodes them.

Two sockets connect the two ends. The *cell socket* carries Execute in one direction, and everything that belongs to a
cell in the other, in order. The session's main thread reads it between cells, so that starting a short cell needs no
hand-over between threads. The *control socket* carries requests that must be answered while a cell runs. A thread that
never runs user code reads it.
"""

from typing import Any, Final, NamedTuple


class Hello(NamedTuple):
    """The first frame of a session process on its cell socket."""

    version: int
    capabilities: list[str]
    pid: int
    python: str


class Execute(NamedTuple):
    """Run a cell. Cells run in the order in which they are sent. `inputs`: an encoded dict of names to bind before."""

    seq: int
    attempt: int
    cell_id: str
    code: str
    inputs: bytes | None
    timeout_seconds: float | None


class Configure(NamedTuple):
    """The session's options, sent before its first cell: the fields of the host's `SessionProcessOptions`, by name."""

    options: dict[str, Any]


class Withdraw(NamedTuple):
    """Don't run a cell that has been sent. No effect if it has started."""

    seq: int
    attempt: int


class Answer(NamedTuple):
    """The text that a client entered for the InputRequest of this number; None: there will be no answer (EOF)."""

    request: int
    text: str | None


class Request(NamedTuple):
    """An operation that is answered even while a cell runs. `payload` and the reply's payload are encoded values."""

    operation: int
    kind: str
    payload: bytes
    deadline_seconds: float


class Reply(NamedTuple):
    """The end of an operation: its result, or with `is_error` the reason for its failure."""

    operation: int
    is_error: bool
    payload: bytes


class Interrupt(NamedTuple):
    """Interrupt the cell of this seq and attempt. No effect if it has ended."""

    seq: int
    attempt: int


class Shutdown(NamedTuple):
    """End the process in an orderly way when the running cell, if any, has ended.

    seq: save the state as the one after this cell; 0: save nothing. is_over: the session ends as well, so the objects
    in its namespace are finalized; otherwise the saved objects live on in the checkpoint.
    """

    seq: int = 0
    is_over: bool = False


class Leaving(NamedTuple):
    """The process begins its orderly end. The fields name what user code has running, which ends with the process."""

    tasks: list[str]
    threads: list[str]
    children: list[str]
    connections: list[str]


class Exiting(NamedTuple):
    """The state has been saved, and exit handlers begin to run."""


class Left(NamedTuple):
    """The last frame of a process that ends in an orderly way. notes: errors of its exit handlers."""

    notes: list[str]


class Inquiry(NamedTuple):
    """Answer with Work when no cell runs."""

    number: int


class Work(NamedTuple):
    """The answer to Inquiry: the names of what user code runs or waits for in the process."""

    number: int
    tasks: list[str]
    threads: list[str]
    children: list[str]


class Resend(NamedTuple):
    """Send the whole state with the next snapshot, because an earlier snapshot could not be stored."""


class Ping(NamedTuple):
    """Answer with Pong, even while a cell runs."""

    number: int


class Pong(NamedTuple):
    """The answer to Ping, which shows that the protocol thread is alive."""

    number: int


class Output(NamedTuple):
    """Text written to `stream` (stdout or stderr), in the order of writing."""

    seq: int
    attempt: int
    stream: str
    text: str


class Truncated(NamedTuple):
    """The cell's output has reached its limit; further output is dropped."""

    seq: int
    attempt: int
    limit_bytes: int


class Display(NamedTuple):
    """A MIME bundle to display; one with an id can be replaced later by another one that `updates`."""

    seq: int
    attempt: int
    bundle: dict[str, Any]
    display_id: str | None
    updates: bool


class Cleared(NamedTuple):
    """The output so far is to be hidden: now, or if `waits`, when more output arrives."""

    seq: int
    attempt: int
    waits: bool


class InputRequest(NamedTuple):
    """The cell waits for a line of input from any client that follows it."""

    seq: int
    attempt: int
    request: int
    prompt: str
    is_password: bool


class Result(NamedTuple):
    """The last expression's value: a MIME bundle, and the encoded value if it can travel as data."""

    seq: int
    attempt: int
    bundle: dict[str, Any]
    data: bytes | None


class Failure(NamedTuple):
    """The exception that ended the cell."""

    seq: int
    attempt: int
    ename: str
    evalue: str
    traceback: str


class Notice(NamedTuple):
    """A warning for the session's users; it becomes a warning event."""

    seq: int
    attempt: int
    category: str
    message: str


class Blob(NamedTuple):
    """A chunk of a checkpoint, named after its content; sent in either direction."""

    name: bytes
    data: bytes | memoryview


class Saved(NamedTuple):
    """The state after the cell of `seq` and all cells before: its manifest, and the chunks that were not sent before.

    An empty manifest means that nothing has changed since the last one, or, with a `failure`, that no checkpoint could
    be made for that reason. behind: the number of snapshots that the process had sent on the snapshot socket when it
    sent this frame on the cell socket. This frame is ordered after those, whichever socket is read first.
    """

    seq: int
    manifest: bytes
    blobs: dict[bytes, bytes]
    behind: int = 0
    failure: str = ""


class Expect(NamedTuple):
    """The chunks of this manifest will be sent next, so that large ones can be received in their final place."""

    manifest: bytes


class Restore(NamedTuple):
    """Fill the namespace from this manifest, whose chunks have been sent; sent before the first cell.

    is_careful: an earlier process hung or ended during this restore; find the code that causes that, and leave it out.
    """

    manifest: bytes
    is_careful: bool


class Restored(NamedTuple):
    """The result of a restore; with `damage` nothing was restored."""

    damage: str
    lost: dict[str, str]
    notes: list[str]


class Twin(NamedTuple):
    """Fork, if the state is the one of this manifest; the fork becomes the process of another session.

    The descriptors for the fork have been sent on the snapshot socket. The fork sends Hello on its own socket. When it
    receives Restore for this manifest, it takes over the state that it already has, so no chunks are sent.
    """

    request: int
    manifest: bytes


class Twinned(NamedTuple):
    """The answer to the Twin of that number: the fork's pid, or 0 and the reason why there is no fork."""

    request: int
    pid: int
    reason: str


class Done(NamedTuple):
    """The cell's code has ended; only late output of its tasks and threads may follow.

    `mode` is its ExecutionMode; `detected` counts the calls and imports that the analysis recognised.
    """

    seq: int
    attempt: int
    status: str
    run_us: int
    mode: str
    detected: dict[str, Any]


class Fault(NamedTuple):
    """The last frame of a process whose engine has failed. reason: the error in one line."""

    reason: str


Frame = (
    Hello | Configure | Execute | Withdraw | Interrupt | Shutdown | Ping | Pong | Request | Reply
    | Answer | Output | Truncated | Display | Cleared | InputRequest | Result | Failure | Notice
    | Done | Blob | Saved | Restore | Restored | Fault | Twin | Twinned
    | Expect | Leaving | Exiting | Left | Inquiry | Work | Resend
)  # fmt: skip

FRAME_CODES: Final[dict[type, int]] = {
    Hello: 0, Configure: 1, Execute: 2, Withdraw: 3, Interrupt: 4, Shutdown: 5, Ping: 6, Pong: 7,
    Request: 8, Reply: 9, Answer: 10, Output: 11, Truncated: 12, Display: 13, Cleared: 14,
    InputRequest: 15, Result: 16, Failure: 17, Notice: 18, Done: 19, Blob: 20, Saved: 21,
    Restore: 22, Restored: 23, Fault: 24, Twin: 25, Twinned: 26,
    Expect: 27, Leaving: 28, Left: 29, Inquiry: 30, Work: 31, Exiting: 32, Resend: 33,
}  # fmt: skip
