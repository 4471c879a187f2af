"""`skep run --output`: save the file as a notebook with the output of its cells, as Jupyter would; write files."""

import copy
import json
import os
import secrets
from pathlib import Path
from typing import Any, Final

from skep.cli.output.failures import RefusedInput
from skep.cli.source_files import SourceCell, SourceFile, raw_cells
from skep.export.cell_outputs import CellOutputs
from skep.export.session_notebook import KERNEL

NOTEBOOK: Final = ".ipynb"
_METADATA: Final = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}


def check_output(flag: str, name: str, what: str, suffixes: tuple[str, ...]) -> Path:
    """Return the path of a file that can be written. what: "a notebook". Raises RefusedInput, before anything runs."""
    path = Path(name)
    if path.suffix not in suffixes:
        endings = " or ".join(suffixes)
        raise RefusedInput(f"{flag}: {name!r} is refused: {what} is written, so its name must end in {endings}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise RefusedInput(f"{flag}: {name!r} is refused: it can't be written there")
    return path


def write_notebook(path: Path, file: SourceFile, outputs: dict[int, CellOutputs]) -> None:
    """Write the file's cells with these outputs, by the cells' places. Raises RefusedInput if it can't be written."""
    write_output("--output", path, notebook_text(_document(file, outputs)))


def notebook_text(document: dict[str, Any]) -> str:
    """Return the content of a notebook's file."""
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write_output(flag: str, path: Path, text: str) -> None:
    """Write a file; a failed write leaves the old one. Raises RefusedInput if it can't be written."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
        beside.replace(path)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise RefusedInput(f"{flag}: {path} can't be written: {exc.strerror or exc}") from exc


def _document(file: SourceFile, outputs: dict[int, CellOutputs]) -> dict[str, Any]:
    notebook = file.notebook
    if notebook is not None and notebook.get("nbformat") == 4:
        document = copy.deepcopy(notebook)
        for place, cell in enumerate(document["cells"]):
            if cell.get("cell_type") == "code":
                cell.update(_run_fields(outputs.get(place)))
        return document
    cells = []
    if notebook is not None:  # format 3, which names the parts of a cell differently
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
    """Return a code cell's fields besides its source; without outputs the cell was not run."""
    if cell is None:
        return {"execution_count": None, "outputs": []}
    return {"execution_count": cell.count, "outputs": cell.outputs}
