"""What clients write for a worker, and what a worker writes for clients: mailbox, cells, requests, options, replies."""

import asyncio
import math
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, ClassVar, Final

import msgpack

from skep_shared.broker.activation import pack_submit_job, unpack_job
from skep_shared.broker.keys import Keys
from skep_shared.broker.mailbox_entries import (
    InputAnswer,
    MailboxEntry,
    OperationRequest,
    RefusedRequest,
    SubmittedCell,
    UnknownEntry,
    unpack_mailbox_entry,
)
from skep_shared.broker.origins import read_origins
from skep_shared.broker.reply_entries import unpack_reply
from skep_shared.broker.script_replies import SubmitStatus, Submitted
from skep_shared.broker.signatures import request_signature
from skep_shared.errors import SkepError
from skep_shared.models import CellSpec, OwnerFacts, SessionInfo, SessionOptions, WorkerInfo
from skep_shared.settings import WorkerSettings
from skep_shared.signing import Signer, signed_job
from skep_shared.values import encode_value
from skep_workers.host.broker.signed_requests import SignedRequests
from skep_workers.host.residency.cells.intake import CellIntake
from skep_workers.host.residency.uploads import _Piece
from skep_workers.host.worker import WorkerHost

from ..target import Finding, as_bytes, items_of, text_of, unpack_input

SIGNER = Signer(["key-of-the-shard-0123456789abcdef0123"], "t")
KEYS = Keys("t")
BODY = CellSpec(
    code="1", timeout=3.0, labels={"a": "b"}, inputs=encode_value({"x": (1, 2**70)}), only_after="c0"
).pack()
OPERATION = OperationRequest("client", "o1", "complete", encode_value(["code", 3]), 5.0)
PIECE = {"upload": "u1", "path": "a/b", "offset": 0, "bytes": 3, "size": 3}
TIME: Final = b"1700000000000"


def mailbox_fields(kind: str, **fields: Any) -> dict[str, bytes]:
    """Return the fields of a mailbox entry of session `s`."""
    return {"k": kind.encode(), "s": b"s", "q": b"1", **{name: as_bytes(value) for name, value in fields.items()}}


def signed_fields_of(kind: Any, cell_id: str, **fields: Any) -> dict[str, bytes]:
    """Return the fields of a signed request."""
    added = request_signature(SIGNER, "s", kind, cell_id, fields)
    names, values = added[::2], added[1::2]
    return mailbox_fields(kind, **fields) | {name: value.encode() for name, value in zip(names, values, strict=True)}


def entries_of_clients() -> list[dict[str, bytes]]:
    """Return a mailbox entry of each kind, signed and not."""
    sealed = SIGNER.seal("cell", "s", "c1", BODY)
    return [
        mailbox_fields("cell", c="c1", b=BODY, t=TIME),
        mailbox_fields("cell", c="c1", b=sealed, t=TIME),
        mailbox_fields("wake"),
        mailbox_fields("interrupt"),
        mailbox_fields("answer", x="text"),
        mailbox_fields("operate", **OPERATION.pack()),
        mailbox_fields("activate"),
        mailbox_fields("update", d="2.5"),
        mailbox_fields("close", z=SIGNER.text("close", "s", "")),
        signed_fields_of("interrupt", "c1"),
        signed_fields_of("cancel", "c1"),
        signed_fields_of("operate", "", **OPERATION.pack()),
        signed_fields_of("update", "", d="2.5"),
        signed_fields_of("answer", "", **InputAnswer("s", "text").pack()),
    ]


class Entries:
    """Operations: [what, bytes or a map of fields]. The readers are those of a worker without a key."""

    name: ClassVar[str] = "entries"
    signer: ClassVar[Signer | None] = None

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._readers = {
            "mail": self._read_mail,
            "cell": self._read_cell,
            "options": lambda packed: SessionOptions.unpack(as_bytes(packed)),
            "reply": self._read_reply,
            "piece": lambda packed: _Piece.of(as_bytes(packed)),
            "session": lambda fields: SessionInfo.from_hash("s", _fields(fields), facts=OwnerFacts()),
            "worker": lambda packed: WorkerInfo.from_marker("w", as_bytes(packed), 1.0),
            "origins": lambda text: read_origins(text_of(text)),
            "job": self._read_job,
        }

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()

    def seeds(self) -> Iterable[object]:
        """Yield each thing that is read."""
        for fields in entries_of_clients():
            yield [["mail", fields]]
        yield [
            ["cell", {"c": "c1", "b": BODY, "t": TIME}],
            ["cell", {"c": "c1", "b": SIGNER.seal("cell", "s", "c1", BODY), "t": TIME}],
        ]
        yield [["options", SessionOptions(labels={"a": "b"}, durability="none", tla_timeout=4.0).pack()]]
        yield [
            [
                "options",
                msgpack.packb({"limits": {"memory_bytes": 2**30, "pids": 10}, "detection": {"blocking": ["a.b"]}}),
            ]
        ]
        yield [["reply", ["o", b"o1", "x", b"0", "d", encode_value([1, {"a": b"c"}])]]]
        yield [["reply", ["s", b"s", "c", b"c1", "q", b"1", "f", b"1", "l", b"3", "e", b"\x80", "e", b"\x80"]]]
        yield [["piece", encode_value(PIECE)]]
        hash_fields = {"state": b"open", "owner": b"w", "epoch": b"1", "seq": b"3", "cursor": b"2", "last": b"9"}
        yield [["session", hash_fields | {"created_at": TIME, "active_at": TIME, "options": b""}]]
        facts = {"host": "h", "pid": 1, "version": "1", "python": "3", "started_at": "2024-01-01T00:00:00Z"}
        yield [["worker", msgpack.packb(facts | {"capacity": 3, "resident": 1, "counters": {"a": 1}})]]
        yield [["origins", "s:17-1:1700000000000 t:3:1"]]
        signature = SIGNER.text("job", "s", "c1", signed_job("1", {}))
        yield [["job", pack_submit_job("s", "1", {"cell_id": "c1", "signature": signature})]]
        options = {"cell_id": "c1", "inputs": encode_value({"x": 1}), "labels": {"a": "b"}, "timeout": 3.0}
        yield [["job", pack_submit_job("s", "1", options)]]

    def execute(self, data: bytes) -> None:
        """Read each thing; a ValueError, a KeyError or an error of skep's is how its reader refuses it."""
        self._loop.run_until_complete(self._execute(data))

    async def _execute(self, data: bytes) -> None:
        self._jobs: list[dict[str, Any]] = []
        operations = unpack_input(data)
        for operation in [[name, data] for name in self._readers] if operations is None else operations:
            what, argument = items_of(operation, 2)
            reader = self._readers.get(what) if isinstance(what, str) else None
            if reader is not None:
                try:
                    reader(argument)
                except (ValueError, KeyError, SkepError):
                    continue
        for job in self._jobs:
            await self._submit(job)

    def _read_mail(self, argument: object) -> None:
        fields = _fields(argument)
        requests = SignedRequests(self.signer, _NO_REDIS, KEYS)
        entry = unpack_mailbox_entry(fields) if self.signer is None else requests.read_entry(fields)
        _check_numbers(entry)
        if isinstance(entry, SubmittedCell):
            self._offer(entry)
        elif self.signer is not None and not isinstance(entry, RefusedRequest | UnknownEntry):
            self._check_signed(fields)

    def _check_signed(self, fields: dict[bytes, bytes]) -> None:
        """Check that a request which is followed is one that was signed, or one that only says where to look."""
        if fields[b"k"] not in {b"wake", b"activate"} and _meaning(fields) not in _SIGNED:
            raise Finding("a request was accepted that is not signed")

    def _read_cell(self, argument: object) -> None:
        self._offer(SubmittedCell.unpack("s", 1, _fields(argument)))

    def _offer(self, entry: SubmittedCell) -> None:
        intake = CellIntake(
            _NO_REDIS, KEYS, entry.session_id, after=entry.seq - 1, on_cells=lambda: None, signer=self.signer
        )
        intake.offer(entry)
        [cell] = intake.waiting
        found = (entry.session_id, cell.cell_id, cell.spec)
        if self.signer is not None and not cell.fault and found != ("s", "c1", CellSpec.unpack(BODY)):
            raise Finding("a cell would run that is not signed")

    def _read_job(self, argument: object) -> None:
        """Read a job of arq's queue as arq does, which calls what it names with its arguments."""
        job = unpack_job(as_bytes(argument))
        arguments, options = (job.get("a"), job.get("k")) if isinstance(job, dict) else (None, None)
        is_call = isinstance(arguments, list) and len(arguments) == 2 and isinstance(options, dict)
        if is_call and all(isinstance(name, str) for name in job["k"]):
            self._jobs.append(job)

    async def _submit(self, job: dict[str, Any]) -> None:
        """Run a job that submits a cell. arq ends a job that raises anything; only that nothing is signed counts."""
        submitted = _Submitted(self.signer)
        host: Any = SimpleNamespace(
            _scripts=submitted, _settings=_SETTINGS, _keys=KEYS, _lanes=SimpleNamespace(commands=_NO_REDIS)
        )
        options = {name: value for name, value in job["k"].items() if name not in {"session_id", "code"}}
        try:
            await WorkerHost._submit(host, *job["a"], "job", options)
        except (SkepError, TypeError, ValueError, AttributeError):  # the last two: unsigned ones go to no Redis here
            return
        if self.signer is not None and submitted.cells and submitted.cells != [("s", "c1", CellSpec(code="1"))]:
            raise Finding("a job's cell was signed although the job is not signed")

    def _read_reply(self, argument: object) -> None:
        flat = [as_bytes(each) for each in argument] if isinstance(argument, list) else [as_bytes(argument)]
        unpack_reply(flat)


class SignedEntries(Entries):
    """The same, by a worker that has a key: nothing counts that was not signed as it is."""

    name: ClassVar[str] = "signed_entries"
    signer: ClassVar[Signer | None] = SIGNER


_NO_REDIS: Final[Any] = None
_SETTINGS: Final = WorkerSettings.load(prefix="t")


class _Submitted:
    """The scripts of a worker, which keep what they would submit."""

    keys = KEYS

    def __init__(self, signer: Signer | None) -> None:
        self.signer = signer
        self.cells: list[tuple[str, str, CellSpec]] = []

    async def submit(self, session_id: str, cells: list[tuple[str, bytes]], **_: object) -> Submitted:
        """Keep the cells."""
        self.cells += [(session_id, cell_id, CellSpec.unpack(body)) for cell_id, body in cells]
        return Submitted(SubmitStatus.OK)


def _meaning(fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return what is signed of a request: all fields of some kinds; of a close only which session."""
    if fields[b"k"] == b"close":
        return {name: fields[name] for name in (b"k", b"s")}
    # Its place in the session is compared with the cell that was signed for by its receiver.
    return {b"i": b""} | {name: value for name, value in fields.items() if name not in {b"q", b"z"}}


def _fields(argument: object) -> dict[bytes, bytes]:
    if not isinstance(argument, dict):
        return {b"k": as_bytes(argument)}
    return {as_bytes(name): as_bytes(value) for name, value in argument.items()}


def _check_numbers(entry: MailboxEntry) -> None:
    """Check that the numbers of an entry are some that its readers can use: they pack them, and compute with them."""
    numbers = [each for each in (getattr(entry, "seq", 0), getattr(entry, "submitted_ms", 0)) if each is not None]
    request = getattr(entry, "request", None)
    if request is not None:
        numbers += [request.deadline_seconds]
    for number in numbers:
        if not math.isfinite(number) or not -1e15 <= number < 2**63:
            raise Finding(f"{type(entry).__name__} has {number}, which its readers can't use")


_SIGNED: Final = [_meaning(_fields(fields)) for fields in entries_of_clients() if "z" in fields]
