"""The record that a soak writes while it runs."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..checker.history import History


def now_ms() -> float:
    """Return the time; Redis is on the same machine, so it is Redis's time too."""
    return time.time() * 1000


class SoakLog:
    """The history of a soak, its faults counted by label, and its claims and releases as the links saw them."""

    def __init__(self, meta: dict[str, Any], tell: Callable[[str], None]) -> None:
        self.history = History(meta)
        self.faults: Counter[str] = Counter()
        self.names: dict[str, str] = {}  # worker id -> its short name
        self._tell = tell
        self._started = time.monotonic()
        self._claimed: set[tuple[str, int]] = set()
        self._released: set[tuple[str, int]] = set()

    def report(self, text: str) -> None:
        """Report a line to the observer, if there is one."""
        self._tell(f"{time.monotonic() - self._started:8.2f} {text}")

    def note(self, kind: str, node: str, *, text: str = "", seconds: float = 0.0, label: str = "") -> None:
        """Add a fault or an anomaly to the history; kinds are those of the checker."""
        self.faults[label or kind] += 1
        self.report(f"*** {label or kind} {node} {text} {seconds or ''}")
        self.history.add(
            {
                "op": "fault",
                "kind": kind,
                "node": node,
                "at": now_ms(),
                "seconds": seconds,
                "text": text,
                "label": label or kind,
            }
        )

    def claimed(self, node: str, worker_id: str, session: str, reply: list[Any]) -> None:
        """Record a claim's reply; a repeated one is the same claim."""
        self.names[worker_id] = node
        if reply[0] != b"OK" or (session, reply[1]) in self._claimed:
            return
        self._claimed.add((session, reply[1]))
        previous = reply[6].decode()
        self.history.add(
            {
                "op": "claim", "session": session, "worker": node, "epoch": reply[1], "cursor": reply[2],
                "last": reply[4], "losses": reply[5], "previous": self.names.get(previous, previous), "at": now_ms(),
            }
        )  # fmt: skip

    def released(self, node: str, session: str, epoch: int, reply: list[Any]) -> None:
        """Record a release's reply; DUP if that of an earlier request was lost."""
        if reply[0] in {b"OK", b"DUP"} and (session, epoch) not in self._released:
            self._released.add((session, epoch))
            self.history.add({"op": "release", "session": session, "worker": node, "epoch": epoch, "at": now_ms()})
