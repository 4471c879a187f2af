"""What a worker host and a session process say to each other: the kinds of frames; `frame_codec` makes bytes of them.

Two sockets join the two ends. The *cell socket* carries Execute one way and everything that belongs to a cell the
other way, in order; the session's main thread reads it between cells, so that starting a short cell needs no hand-over
between threads. The *control socket* carries requests that must be answered while a cell runs; a thread reads it that
never runs user code.
"""

from typing import Any, Final, NamedTuple


class Hello(NamedTuple):
    """First frame of a session process on its cell socket."""

    version: int
    capabilities: list[str]
    pid: int
    python: str


class Execute(NamedTuple):
    """Run a cell; cells run in the order they are sent. `inputs` is an encoded value (a dict) to bind before it."""

    seq: int
    attempt: int
    cell_id: str
    code: str
    inputs: bytes | None
    timeout_seconds: float | None


class Configure(NamedTuple):
    """The session's options, before its first cell: what `SessionProcessOptions` of the host says, by name."""

    options: dict[str, Any]


class Withdraw(NamedTuple):
    """Don't run a cell that has been handed over; one that has started is left alone."""

    seq: int
    attempt: int


class Answer(NamedTuple):
    """What somebody typed for an InputRequest of this number; None: nobody will (EOF)."""

    request: int
    text: str | None


class Request(NamedTuple):
    """An operation that is answered while a cell runs; `payload` and the reply's are encoded values."""

    operation: int
    kind: str
    payload: bytes
    deadline_seconds: float


class Reply(NamedTuple):
    """The end of an operation: its result, or with `is_error` the reason why there is none."""

    operation: int
    is_error: bool
    payload: bytes


class Interrupt(NamedTuple):
    """End the cell of this seq and attempt; one that has ended already is left alone."""

    seq: int
    attempt: int


class Shutdown(NamedTuple):
    """Leave in order when the running cell, if any, has ended.

    seq: save the state as the one after this cell; 0: save nothing. is_over: the session ends too, so what its
    namespace holds is cleaned up; otherwise the objects that are saved live on in the checkpoint.
    """

    seq: int = 0
    is_over: bool = False


class Leaving(NamedTuple):
    """The process begins to leave; what of user code ends with it, each in a few words."""

    tasks: list[str]
    threads: list[str]
    children: list[str]
    connections: list[str]


class Exiting(NamedTuple):
    """The state is saved, and exit handlers run from here on."""


class Left(NamedTuple):
    """The last frame of a process that has left in order. notes: what went wrong in its exit handlers."""

    notes: list[str]


class Inquiry(NamedTuple):
    """Answer with Work, while no cell runs."""

    number: int


class Work(NamedTuple):
    """The answer to Inquiry: what of user code runs or waits in the process, each in a few words."""

    number: int
    tasks: list[str]
    threads: list[str]
    children: list[str]


class Resend(NamedTuple):
    """Send the whole state with the next snapshot: what was sent with one before could not be stored."""


class Ping(NamedTuple):
    """Answer with Pong, whatever a cell is doing."""

    number: int


class Pong(NamedTuple):
    """The answer to Ping: the protocol thread lives."""

    number: int


class Output(NamedTuple):
    """Text written to `stream` (stdout or stderr); frames come in the order of writing."""

    seq: int
    attempt: int
    stream: str
    text: str


class Truncated(NamedTuple):
    """The cell's output has reached its limit; what follows of it is dropped."""

    seq: int
    attempt: int
    limit_bytes: int


class Display(NamedTuple):
    """A MIME bundle; with an id it can be replaced later, by one that `updates`."""

    seq: int
    attempt: int
    bundle: dict[str, Any]
    display_id: str | None
    updates: bool


class Cleared(NamedTuple):
    """What was put out so far is to be hidden, now or (`waits`) when more comes."""

    seq: int
    attempt: int
    waits: bool


class InputRequest(NamedTuple):
    """The cell waits for a line from anybody who follows it."""

    seq: int
    attempt: int
    request: int
    prompt: str
    is_password: bool


class Result(NamedTuple):
    """The last expression's value: a MIME bundle, and the encoded value where it travels as data."""

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
    """Something the session's users should know; becomes a warning event."""

    seq: int
    attempt: int
    category: str
    message: str


class Blob(NamedTuple):
    """A chunk of a checkpoint, by the name of its content; either way."""

    name: bytes
    data: bytes | memoryview


class Saved(NamedTuple):
    """The state after the cell of `seq`, and so of those before it: its manifest, and the chunks not sent yet.

    An empty manifest: nothing has changed since the last one, or, with a `failure`, no checkpoint could be made, and
    that says why. behind: how many snapshots the process had sent on the snapshot socket when it sent this on the cell
    socket; it counts after those, whichever socket is read first.
    """

    seq: int
    manifest: bytes
    blobs: dict[bytes, bytes]
    behind: int = 0
    failure: str = ""


class Expect(NamedTuple):
    """The chunks that this manifest names will be sent now: large ones can be received where they will stay."""

    manifest: bytes


class Restore(NamedTuple):
    """Fill the namespace from this manifest, whose chunks have been sent; before the first cell.

    is_careful: a process that did so has hung or ended; find out over which code, and leave that out.
    """

    manifest: bytes
    is_careful: bool


class Restored(NamedTuple):
    """What came of a restore; with `damage` nothing was restored."""

    damage: str
    lost: dict[str, str]
    notes: list[str]


class Twin(NamedTuple):
    """Fork yourself, if your state is that of this manifest: the fork is another session's process from then on.

    Its descriptors have been sent on the snapshot socket. It says Hello on the ones that are its own, and takes the
    state over that it has when it is told to restore this manifest; no chunk is sent for that.
    """

    request: int
    manifest: bytes


class Twinned(NamedTuple):
    """The answer to the Twin of that number: the fork's pid; or 0, and the reason why there is none."""

    request: int
    pid: int
    reason: str


class Done(NamedTuple):
    """The cell's code has ended; nothing more of it follows but late output of its tasks and threads.

    `mode` is the ExecutionMode it ran in, `detected` counts what the analysis met in it.
    """

    seq: int
    attempt: int
    status: str
    run_us: int
    mode: str
    detected: dict[str, Any]


class Fault(NamedTuple):
    """The last frame of a process whose engine has failed, with the error in one line."""

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
