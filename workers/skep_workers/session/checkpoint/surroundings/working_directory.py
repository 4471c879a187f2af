"""The working directory of the process, relative to the session's own where it is below that."""

from pathlib import Path
from typing import Any

from skep_shared.originals import os
from skep_workers.session.checkpoint.surroundings.part import Part, Reading


class WorkingDirectory(Part):
    """Where cells have changed to."""

    name = "directory"
    is_needed_by_loading = True

    def __init__(self) -> None:
        self.home = ""

    def read(self) -> Reading | None:
        """Return the directory unless it is the session's own, or was removed."""
        try:
            directory = os.getcwd()
        except OSError:
            return None
        if directory == self.home:
            return None
        is_inside = directory.startswith(self.home + os.sep)
        return (os.path.relpath(directory, self.home) if is_inside else directory), {}

    def restore(self, state: Any) -> None:
        """Change to the directory. Raise OSError if it isn't there."""
        os.chdir(Path(self.home, state))
