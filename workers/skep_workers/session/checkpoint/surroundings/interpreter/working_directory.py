"""The working directory of the process, relative to the session's directory if it is below that."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from skep_shared.originals import os
from skep_workers.session.checkpoint.surroundings.part import Part, Reading


class WorkingDirectory(Part):
    """The directory that cells have changed to.

    home: the session's directory. start: the one below it in which cells begin, "" for itself.
    """

    name = "directory"
    is_needed_by_loading = True

    def __init__(self) -> None:
        self.home = ""
        self.start = ""

    def enter_start(self) -> None:
        """Change to the directory in which cells begin, and create it. Raises OSError."""
        if self.start:
            place = self._start_place
            os.makedirs(place, exist_ok=True)
            os.chdir(place)

    def leave_start(self) -> None:
        """Change to the session's directory and remove the empty one: a checkpoint may have another entry there."""
        if self.start:
            os.chdir(self.home)
            parts = self.start.split("/")
            with suppress(OSError):  # it has files: this is not the first restore
                for count in range(len(parts), 0, -1):
                    os.rmdir(os.path.join(self.home, *parts[:count]))

    @property
    def _start_place(self) -> str:
        return os.path.join(self.home, self.start) if self.start else self.home

    def read(self) -> Reading | None:
        """Return the directory, unless cells begin in it or it was removed."""
        try:
            directory = os.getcwd()
        except OSError:
            return None
        if directory == self._start_place:
            return None
        is_inside = directory == self.home or directory.startswith(self.home + os.sep)
        return (os.path.relpath(directory, self.home) if is_inside else directory), {}

    def restore(self, state: Any) -> None:
        """Change to the directory. Raises OSError if it doesn't exist."""
        os.chdir(Path(self.home, state))
