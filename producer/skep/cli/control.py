"""`skep interrupt` and `skep close`."""

from skep.cli.flags import Place
from skep.cli.places import named_cluster, note_missing_worker
from skep.cli.screen import Screen


async def interrupt(session_id: str, cell_id: str | None, place: Place) -> int:
    """End a session's running cell, or the one named; gives the exit status."""
    async with named_cluster(place) as cluster:
        was_taken = await cluster.session(session_id).interrupt(cell_id)
    what = f"cell {cell_id}" if cell_id is not None else "the running cell"
    print(f"asked {what} of {session_id} to end" if was_taken else f"nothing to interrupt in {session_id}")
    return 0


async def close(session_id: str, place: Place, *, purge: bool) -> int:
    """End a session; gives the exit status."""
    screen = Screen()
    async with named_cluster(place) as cluster:
        await note_missing_worker(cluster, screen)
        screen.busy(f"ending session {session_id}")
        await cluster.session(session_id).close(purge=purge)
        screen.idle()
    print(f"session {session_id} is closed" + (" and everything of it removed" if purge else "; its record stays"))
    return 0
