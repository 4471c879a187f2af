"""`skep interrupt`, `skep update` and `skep close`."""

from collections.abc import Sequence
from typing import Any

from skep.cli.flags import Place, read_labels
from skep.cli.output.screen import Screen
from skep.cli.places import named_cluster, note_missing_worker
from skep_shared.errors import InvalidArgument
from skep_shared.models import SessionOptions


async def interrupt(session_id: str, cell_id: str | None, place: Place) -> int:
    """End a session's running cell, or the cell of this id, and return the exit status."""
    async with named_cluster(place) as cluster:
        was_taken = await cluster.session(session_id).interrupt(cell_id)
    what = f"cell {cell_id}" if cell_id is not None else "the running cell"
    print(f"asked {what} of {session_id} to end" if was_taken else f"nothing to interrupt in {session_id}")
    return 0


async def update(
    session_id: str,
    place: Place,
    *,
    idle_seconds: float | None,
    expires_in: float | None,
    labels: Sequence[str],
    has_no_labels: bool,
) -> int:
    """Change the options of a session that were given, and return the exit status. labels: NAME=VALUE."""
    times = {"idle_seconds": idle_seconds, "expires_in": expires_in}
    changes: dict[str, Any] = {name: seconds or None for name, seconds in times.items() if seconds is not None}
    if labels or has_no_labels:
        if labels and has_no_labels:
            raise InvalidArgument("label", labels[0], "either --label or --no-labels, not both")
        changes["labels"] = read_labels(labels)
    if not changes:
        limit = "what is to change is needed: --idle-seconds, --expires-in, --label or --no-labels"
        raise InvalidArgument("session", session_id, limit)
    options = SessionOptions(**changes)
    async with named_cluster(place) as cluster:
        await cluster.session(session_id).update(options)
    print(f"session {session_id} {_now_has(options)}")
    return 0


def _now_has(options: SessionOptions) -> str:
    """Return the options that were given, as a sentence without its subject."""
    idle, expiry = options.idle_seconds, options.expires_in
    parts = {
        "idle_seconds": f"hibernates after {idle:g} s without a cell" if idle else "hibernates as its worker says",
        "expires_in": f"is closed after {expiry:g} s without a cell" if expiry else "does not expire",
        "labels": f"has the labels {','.join(f'{name}={text}' for name, text in options.labels.items())}"
        if options.labels
        else "has no labels",
    }
    return "; ".join(text for name, text in parts.items() if name in options.model_fields_set)


async def close(session_id: str, place: Place, *, purge: bool) -> int:
    """End a session, and return the exit status."""
    screen = Screen()
    async with named_cluster(place) as cluster:
        session = cluster.session(session_id)
        await note_missing_worker(cluster, screen, session)
        screen.busy(f"ending session {session_id}")
        await session.close(purge=purge)
        screen.idle()
    print(f"session {session_id} is closed" + (" and everything of it removed" if purge else "; its record remains"))
    return 0
