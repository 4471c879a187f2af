"""What a file finds around itself when it runs here, as with `python FILE` or in a notebook server.

Only a cluster of one's own shares this machine with the file; workers elsewhere have no such folder.
"""

from pathlib import Path

from skep.cli.source_files import STDIN
from skep.session import Session


async def place_script(session: Session, name: str) -> None:
    """Give the session the directory, `sys.path`, `sys.argv` and `__file__` of the file. Raises CellFailed.

    A script stays where the shell is and imports what lies beside it; a notebook starts in its own folder.
    """
    here = Path.cwd()
    path = here / name
    is_notebook = path.suffix == ".ipynb"
    # By __import__: the file must not find a name bound that it has not bound itself.
    lines = [
        f"__import__('os').chdir({str(path.parent if is_notebook else here)!r})",
        f"__import__('sys').path[0] = {str(here if name == STDIN else path.parent)!r}",
        f"__import__('sys').argv[:] = [{name!r}]",
    ]
    if name != STDIN and not is_notebook:
        lines.append(f"__file__ = {str(path)!r}")
    (await session.run("\n".join(lines))).raise_for_status()
