"""What workers say in their logs, one JSON object a line."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any


class WorkerLog:
    """A log that several workers append to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = 0

    def skip(self) -> None:
        """Begin after what is there now."""
        self._read_bytes = self.path.stat().st_size if self.path.exists() else 0

    def entries(self) -> list[dict[str, Any]]:
        """Return what has come since `skip`; `at` is when, in seconds of the wall clock."""
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            return list(_parse(file.read().splitlines()))


def _parse(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith(b"{") and line.endswith(b"}"):
            entry = json.loads(line)
            yield entry | {"at": datetime.fromisoformat(entry["timestamp"]).timestamp()}
