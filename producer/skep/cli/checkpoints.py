"""`skep checkpoints`, `rollback`, `fork` and `hibernate`: a session's states, and what can be made of them."""

from dataclasses import asdict
from typing import Final

from rich.text import Text

from skep.checkpoints import Checkpoint
from skep.cli.event_printers import print_json
from skep.cli.flags import Place
from skep.cli.places import named_cluster, note_missing_worker
from skep.cli.screen import Screen
from skep.cli.tables import Column, one_line, print_table

UNITS: Final = ("B", "kB", "MB", "GB", "TB")


async def list_checkpoints(session_id: str, place: Place, *, as_json: bool) -> int:
    """Print the checkpoints that are kept, oldest first; gives the exit status."""
    async with named_cluster(place) as cluster:
        session = cluster.session(session_id)
        await session.info()  # an unknown session is told apart from one without checkpoints
        found = [checkpoint async for checkpoint in session.checkpoints()]
    if as_json:
        for checkpoint in found:
            print_json(asdict(checkpoint))
        return 0
    screen = Screen()
    if not found:
        screen.note(f"session {session_id} has no checkpoints")
        return 0
    columns = [
        Column("CHECKPOINT"),
        Column(""),
        Column("NAME", gives_way=True),
        Column("SIZE"),
        Column("LOST"),
        Column("VARIABLES", gives_way=True),
    ]
    print_table(screen, columns, [_row(checkpoint) for checkpoint in found])
    return 0


async def roll_back(session_id: str, checkpoint: str, place: Place) -> int:
    """Make an earlier checkpoint the session's state; gives the exit status."""
    screen = Screen()
    async with named_cluster(place) as cluster:
        await note_missing_worker(cluster, screen)
        screen.busy(f"rolling {session_id} back")
        await cluster.session(session_id).rollback(checkpoint)
        screen.idle()
    print(f"session {session_id} goes on from checkpoint {checkpoint}")
    return 0


async def fork(session_id: str, new_id: str, at: str | None, place: Place) -> int:
    """Make a new session from a checkpoint of another; gives the exit status."""
    async with named_cluster(place) as cluster:
        await cluster.session(session_id).fork(new_id, at)
    what = "the latest checkpoint" if at is None else f"checkpoint {at}"
    print(f"session {new_id} goes on from {what} of {session_id}")
    return 0


async def hibernate(session_id: str, place: Place) -> int:
    """Give a session's process up; gives the exit status."""
    screen = Screen()
    async with named_cluster(place) as cluster:
        screen.busy(f"hibernating {session_id}")
        await cluster.session(session_id).hibernate()
        screen.idle()
    print(f"session {session_id} has no process now; its next cell restores it")
    return 0


def size_text(size: int | None) -> str:
    """Give a number of bytes as people read it."""
    if size is None:
        return "-"
    shown, unit = float(size), 0
    while shown >= 999.5 and unit < len(UNITS) - 1:  # 999.5 would be shown with four digits
        shown, unit = shown / 1000, unit + 1
    return f"{shown:.3g} {UNITS[unit]}"


def _row(checkpoint: Checkpoint) -> list[Text | str]:
    return [
        Text(checkpoint.id, "bold" if checkpoint.is_head else ""),
        Text("head", "green") if checkpoint.is_head else "",
        checkpoint.name or "",
        size_text(checkpoint.bytes),
        Text(str(len(checkpoint.lost)), "yellow") if checkpoint.lost else "",
        one_line(", ".join(checkpoint.names)),
    ]
