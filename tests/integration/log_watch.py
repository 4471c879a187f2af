"""A worker's log must never contain what a session's user wrote; checked after every test of these suites.

Every line of code that a test submits, every text that its cells put out, and every text among their inputs is a
marker, if it is long enough to be unique. The logs are those of all workers that tests start.
"""

import functools
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import skep
import skep.cell_request
import skep.deferral
import skep.reader
import skep.replies
from skep.local.embedded import WorkerProcess
from skep_shared.events import Event

LONG_ENOUGH: Final = 16
OF_THE_INTERPRETER: Final = ("^", "Traceback (most", "File ", "~")
OWN_ERRORS: Final = frozenset(name for name in skep.__all__ if name.endswith(("Error", "Crashed", "Lost", "Cancelled")))
MOST_MARKERS: Final = 3_000  # markers of the latest tests: a worker they share may log a little later
MOST_LINE: Final = 8_192  # bytes; a longer line must contain foreign text, whatever its encoding


class LogWatch:
    """The markers of a test run, and the logs that must not contain them."""

    def __init__(self) -> None:
        self._markers: deque[str] = deque(maxlen=MOST_MARKERS)
        self._known: set[str] = set()
        self._logs: dict[Path, Any] = {}

    def note(self, text: object) -> None:
        """Add each line of a user's text as a marker."""
        if not isinstance(text, str):
            return
        for line in text[:20_000].splitlines()[:100]:
            marker = line.strip()
            if self._is_marker(marker) and marker not in self._known:
                if len(self._markers) == MOST_MARKERS:
                    self._known.discard(self._markers[0])
                self._known.add(marker)
                self._markers.append(marker)

    @staticmethod
    def _is_marker(line: str) -> bool:
        """Return whether the line can only be a user's: not an id, a path, or a part of any traceback."""
        return (
            len(line) >= LONG_ENOUGH and not line.startswith(OF_THE_INTERPRETER) and any(sign in line for sign in " (=")
        )

    def follow(self, path: Path) -> None:
        """Read this log from now on. An open log can be read even after its directory was removed."""
        if path not in self._logs:
            self._logs[path] = os.fdopen(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600), errors="replace")

    def close(self) -> None:
        """Close the logs."""
        for log in self._logs.values():
            log.close()

    def check(self, more: Iterable[str] = ()) -> None:
        """Look through what was logged since the last check. Raises AssertionError with the line."""
        text = "".join(log.read() for log in self._logs.values()) + "\n".join(more)
        for line in text.splitlines():
            assert len(line) <= MOST_LINE, f"a line of {len(line)} characters in a worker's log: {line[:300]}…"
        for marker in self._markers:
            for form in {marker, json.dumps(marker)[1:-1], repr(marker)[1:-1]}:
                if form in text:
                    line = next(line for line in text.splitlines() if form in line)
                    raise AssertionError(f"text of a session is in a worker's log: {marker!r} in {line}")


def watched_texts(watch: LogWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Report every text that enters or leaves a session through the client to the watch."""
    read_request = skep.cell_request.read_request

    def noted_request(cell: Any) -> Any:
        given = cell if isinstance(cell, dict) else {"code": cell}
        watch.note(given.get("code"))
        inputs = given.get("inputs")
        for value in inputs.values() if isinstance(inputs, dict) else ():
            watch.note(value)
        return read_request(cell)

    for module in (skep.cell_request, skep.deferral):
        monkeypatch.setattr(module, "read_request", noted_request)
    for module in (skep.reader, skep.replies):
        unpack_events = module.unpack_events

        def noted_events(*args: Any, unpack_events: Any = unpack_events, **options: Any) -> Iterator[Event]:
            for event in unpack_events(*args, **options):
                if getattr(event, "ename", None) not in OWN_ERRORS:
                    for name in ("text", "value", "evalue", "traceback"):
                        watch.note(getattr(event, name, None))
                yield event

        monkeypatch.setattr(module, "unpack_events", noted_events)


def watched_logs(watch: LogWatch, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every worker write a log, in this directory unless it has its own, and read it."""
    start = WorkerProcess.start

    @functools.wraps(start)  # tests in the same process compare its signature
    async def started(self: WorkerProcess) -> WorkerProcess:
        if self._log_path is None:
            self._log_path = directory / f"{id(self)}-{len(watch._logs)}.log"
        watch.follow(self._log_path)
        return await start(self)

    monkeypatch.setattr(WorkerProcess, "start", started)
