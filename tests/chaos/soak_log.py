"""What a soak writes down while it runs."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from .history import History


def now_ms() -> float:
    """Give the time; Redis is on the same machine, so it is Redis' time too."""
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

    def say(self, text: str) -> None:
        """Tell whoever watches."""
        self._tell(f"{time.monotonic() - self._started:8.2f} {text}")

    def note(self, kind: str, node: str, *, text: str = "", seconds: float = 0.0, label: str = "") -> None:
        """Put a fault, or something that must not be, into the history; kinds are those of the checker."""
        self.faults[label or kind] += 1
        self.say(f"*** {label or kind} {node} {text} {seconds or ''}")
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
        """Take a claim's reply; one that was sent again is the same claim."""
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
        """Take a release's reply."""
        if reply[0] == b"OK" and (session, epoch) not in self._released:
            self._released.add((session, epoch))
            self.history.add({"op": "release", "session": session, "worker": node, "epoch": epoch, "at": now_ms()})
