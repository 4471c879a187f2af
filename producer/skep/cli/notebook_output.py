"""`skep run --output`: the file as a notebook with what its cells have put out, as Jupyter would have saved it."""

import copy
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from skep.cli.exits import RefusedInput
from skep.cli.source_files import SourceCell, SourceFile, raw_cells
from skep_shared.events import (
    CellFinished,
    CellRetried,
    DisplayEvent,
    ErrorEvent,
    Event,
    InputRequested,
    OutputCleared,
    OutputEvent,
    ResultEvent,
)

SUFFIX: Final = ".ipynb"
_METADATA: Final = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class CellOutputs:
    """What one cell has put out, as a notebook keeps it."""

    def __init__(self, count: int, shown: Callable[[str], str] = str) -> None:
        """`count` is the number in the brackets beside the cell; `shown` gives text as people are to read it."""
        self.count = count
        self._shown = shown
        self.outputs: list[dict[str, Any]] = []
        self._is_to_clear = False

    def take(self, event: Event) -> None:
        """Take the cell's next event."""
        match event:
            case CellRetried():
                self.outputs, self._is_to_clear = [], False
            case OutputCleared():
                self._is_to_clear = event.waits
                if not event.waits:
                    self.outputs = []
            case OutputEvent():
                self._write(event.stream, self._shown(event.text))
            case InputRequested():
                self._write("stdout", event.prompt)
            case DisplayEvent():
                self._display(event)
            case ResultEvent():
                self._add("execute_result", execution_count=self.count, data=dict(event.bundle), metadata={})
            case ErrorEvent():
                trace = self._shown(event.traceback).rstrip("\n").split("\n")
                self._add("error", ename=event.ename, evalue=event.evalue, traceback=trace)
            case CellFinished():
                for output in self.outputs:
                    output.get("metadata", {}).pop("skep_display_id", None)
            case _:
                pass

    def _write(self, stream: str, text: str) -> None:
        self._clear_if_due()
        last = self.outputs[-1] if self.outputs else {}
        if (last.get("output_type"), last.get("name")) == ("stream", stream):
            last["text"] += text
        else:
            self._add("stream", name=stream, text=text)

    def _display(self, event: DisplayEvent) -> None:
        known = [each for each in self.outputs if each.get("metadata", {}).get("skep_display_id") == event.display_id]
        if event.updates and event.display_id is not None:
            for output in known:
                output["data"] = dict(event.bundle)
            return
        metadata = {} if event.display_id is None else {"skep_display_id": event.display_id}
        self._add("display_data", data=dict(event.bundle), metadata=metadata)

    def _add(self, kind: str, **fields: Any) -> None:
        self._clear_if_due()
        self.outputs.append({"output_type": kind, **fields})

    def _clear_if_due(self) -> None:
        if self._is_to_clear:
            self.outputs, self._is_to_clear = [], False


def check_output(name: str) -> Path:
    """Return the path of a notebook that can be written. Raises RefusedInput, before anything runs."""
    path = Path(name)
    if path.suffix != SUFFIX:
        raise RefusedInput(f"--output: {name!r} is refused: a notebook is written, so its name must end in {SUFFIX}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise RefusedInput(f"--output: {name!r} is refused: it can't be written there")
    return path


def write_notebook(path: Path, file: SourceFile, outputs: dict[int, CellOutputs]) -> None:
    """Write the file's cells with these outputs, by the cells' places; the file is whole or as it was before.

    Raises RefusedInput if it can't be written.
    """
    text = json.dumps(_document(file, outputs), indent=1, ensure_ascii=False, sort_keys=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        beside.replace(path)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise RefusedInput(f"--output: {path} can't be written: {exc.strerror or exc}") from exc


def _document(file: SourceFile, outputs: dict[int, CellOutputs]) -> dict[str, Any]:
    notebook = file.notebook
    if notebook is not None and notebook.get("nbformat") == 4:
        document = copy.deepcopy(notebook)
        for place, cell in enumerate(document["cells"]):
            if cell.get("cell_type") == "code":
                cell.update(_run_fields(outputs.get(place)))
        return document
    cells = []
    if notebook is not None:  # of format 3, whose cells have other names
        for place, raw in enumerate(raw_cells(file.name, notebook)):
            source = raw.get("source", raw.get("input", ""))
            kind = raw.get("cell_type")
            cells.append(_cell("code" if kind == "code" else "markdown", source, place, outputs))
    else:
        for place, part in enumerate(file.parts):
            if isinstance(part, SourceCell):
                cells.append(_cell("code", part.code.strip("\n"), place, outputs))
            else:
                cells.append(_cell(part.kind, part.text, place, outputs))
    return {"cells": cells, "metadata": copy.deepcopy(_METADATA), "nbformat": 4, "nbformat_minor": 5}


def _cell(kind: str, source: str | list[str], place: int, outputs: dict[int, CellOutputs]) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{place + 1}", "metadata": {}, "source": source}
    return cell | _run_fields(outputs.get(place)) if kind == "code" else cell


def _run_fields(cell: CellOutputs | None) -> dict[str, Any]:
    """Return what a code cell has besides its source; without outputs it was not run."""
    if cell is None:
        return {"execution_count": None, "outputs": []}
    return {"execution_count": cell.count, "outputs": cell.outputs}
