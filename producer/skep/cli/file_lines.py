"""Map lines of a cell to lines of its file: references to `<cell 3>` are shown as references to the file."""

import re
from pathlib import Path
from typing import Final

from skep.cli.source_files import STDIN, SourceCell, SourceFile

_FRAME: Final = re.compile(r'File "<cell (?P<seq>\d+)>", line (?P<line>\d+)')  # of a traceback
_WARNING: Final = re.compile(r"(?m)^<cell (?P<seq>\d+)>:(?P<line>\d+):")
_HINT: Final = "<cell "


class FileLines:
    """The cells of one file, by the numbers that they have got in their session."""

    def __init__(self, file: SourceFile) -> None:
        self._shown = "<stdin>" if file.name == STDIN else str(Path.cwd() / file.name)
        self._is_notebook = file.notebook is not None
        self._cells: dict[int, SourceCell] = {}

    def place(self, seq: int, cell: SourceCell) -> None:
        """Note which cell of the file has this number."""
        self._cells[seq] = cell

    def shown(self, text: str) -> str:
        """Return the text of a traceback or a warning with the file's own name and lines."""
        if _HINT not in text:
            return text
        return _WARNING.sub(self._warning, _FRAME.sub(self._frame, text))

    def _frame(self, found: re.Match[str]) -> str:
        cell = self._cells.get(int(found["seq"]))
        if cell is None:
            return found[0]
        if self._is_notebook:
            return f'File "{self._shown}", cell {cell.place + 1}, line {found["line"]}'
        return f'File "{self._shown}", line {self._line(cell, found)}'

    def _warning(self, found: re.Match[str]) -> str:
        cell = self._cells.get(int(found["seq"]))
        if cell is None:
            return found[0]
        where = f"{self._shown}:cell {cell.place + 1}" if self._is_notebook else self._shown
        return f"{where}:{self._line(cell, found)}:"

    def _line(self, cell: SourceCell, found: re.Match[str]) -> int:
        return int(found["line"]) + cell.first_line - 1
