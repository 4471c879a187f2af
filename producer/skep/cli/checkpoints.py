"""`skep checkpoints`, `rollback`, `fork` and `hibernate`: a session's saved states."""

from dataclasses import asdict
from typing import Final

from rich.text import Text

from skep.checkpoints import Checkpoint
from skep.cli.flags import Place
from skep.cli.output.listings import Listing
from skep.cli.output.screen import Screen
from skep.cli.output.tables import Column, one_line
from skep.cli.places import named_cluster, note_missing_worker

UNITS: Final = ("B", "kB", "MB", "GB", "TB")


async def list_checkpoints(session_id: str, place: Place, *, as_json: bool) -> int:
    """Print the stored checkpoints, oldest first, and return the exit status."""
    async with named_cluster(place) as cluster:
        session = cluster.session(session_id)
        await session.info()  # raises for an unknown session, which has no checkpoints either
        found = [checkpoint async for checkpoint in session.checkpoints()]
    columns = (
        Column("CHECKPOINT"),
        Column(""),
        Column("NAME", may_shrink=True),
        Column("SIZE"),
        Column("LOST"),
        Column("VARIABLES", may_shrink=True),
    )
    none_found = f"session {session_id} has no checkpoints"
    return Listing(columns, _row, asdict, none_found).show(found, as_json=as_json)


async def roll_back(session_id: str, checkpoint: str, place: Place) -> int:
    """Make an earlier checkpoint the session's state, and return the exit status."""
    screen = Screen()
    async with named_cluster(place) as cluster:
        session = cluster.session(session_id)
        await note_missing_worker(cluster, screen, session)
        screen.busy(f"rolling {session_id} back")
        await session.rollback(checkpoint)
        screen.idle()
    print(f"session {session_id} continues from checkpoint {checkpoint}")
    return 0


async def fork(session_id: str, new_id: str, at: str | None, place: Place, *, sandbox: str | None) -> int:
    """Create a session from a checkpoint of another, and return the exit status."""
    async with named_cluster(place) as cluster:
        await cluster.session(session_id).fork(new_id, at, sandbox=sandbox)
    what = "the latest checkpoint" if at is None else f"checkpoint {at}"
    print(f"session {new_id} starts from {what} of {session_id}")
    return 0


async def hibernate(session_id: str, place: Place) -> int:
    """End a session's process, and return the exit status."""
    screen = Screen()
    async with named_cluster(place) as cluster:
        screen.busy(f"hibernating {session_id}")
        await cluster.session(session_id).hibernate()
        screen.idle()
    print(f"session {session_id} has no process now; its next cell restores it")
    return 0


def size_text(size: int | None) -> str:
    """Return a number of bytes as people read it."""
    if size is None:
        return "-"
    shown, unit = float(size), 0
    while shown >= 999.5 and unit < len(UNITS) - 1:  # 999.5 would be shown with four digits
        shown, unit = shown / 1000, unit + 1
    return f"{shown:.3g} {UNITS[unit]}"


def _row(checkpoint: Checkpoint, _screen: Screen) -> list[Text | str]:
    return [
        Text(checkpoint.id, "bold" if checkpoint.is_head else ""),
        Text("head", "green") if checkpoint.is_head else "",
        checkpoint.name or "",
        size_text(checkpoint.bytes),
        Text(str(len(checkpoint.lost)), "yellow") if checkpoint.lost else "",
        one_line(", ".join(checkpoint.names)),
    ]
