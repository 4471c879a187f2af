"""Files as cells: percent scripts, scripts that nbconvert wrote, notebooks, and plain Python."""

import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from skep.cli.output.failures import RefusedInput

STDIN: Final = "-"
MAX_TITLE_CHARS: Final = 60
# `# %% title [markdown] key="value"` as VS Code and Jupytext write it, and `# In[3]:` of nbconvert.
_PERCENT: Final = re.compile(r"#\s?%%(?!%)(?P<rest>.*)")
_NBCONVERT: Final = re.compile(r"# In\s?\[[\s\d*]*\]:?\s*")
_KIND: Final = re.compile(r"\[(?P<kind>markdown|md|raw)\]")
_METADATA: Final = re.compile(r"\s*(\[|\{|\b[\w.-]+=).*")


@dataclass(frozen=True, slots=True)
class SourceCell:
    """One cell of a file: its code and what to call it on a progress line.

    first_line: the code's first line in a script, from 1. place: of the cell among all of the file's cells, from 0.
    """

    code: str
    title: str
    first_line: int = 1
    place: int = 0


@dataclass(frozen=True, slots=True)
class TextCell:
    """Text between a file's cells: Markdown, or text that is not rendered as Markdown."""

    kind: Literal["markdown", "raw"]
    text: str


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read. parts: its cells and texts, in order; notebook: the document, if it is a notebook."""

    name: str
    parts: list[SourceCell | TextCell]
    notebook: dict[str, Any] | None = None

    @property
    def cells(self) -> list[SourceCell]:
        """The cells that have code."""
        return [part for part in self.parts if isinstance(part, SourceCell)]


def read_file(name: str) -> SourceFile:
    """Read a script or a notebook, a script from stdin for `-`. Raises RefusedInput."""
    if name == STDIN:
        return SourceFile(name, script_parts(_decoded(STDIN, sys.stdin.buffer.read())))
    try:
        content = Path(name).read_bytes()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise RefusedInput(f"{name}: {reason[:1].lower()}{reason[1:]}") from exc
    if Path(name).suffix == ".ipynb":
        notebook = _notebook(name, content)
        return SourceFile(name, list(_notebook_cells(name, notebook)), notebook)
    return SourceFile(name, script_parts(_decoded(name, content)))


def script_parts(text: str) -> list[SourceCell | TextCell]:
    """Return the cells of a script, one if it has no cell markers, with the text between them; none without code."""
    lines = io.StringIO(text).readlines()  # as the tokenizer counts them
    parts: list[SourceCell | TextCell] = []
    start, title, kind = 0, "", ""
    for number, line in [*_markers(text, lines), (len(lines), "")]:
        body = "".join(lines[start:number])
        if kind and body.strip():
            parts.append(TextCell("raw" if kind == "raw" else "markdown", _uncommented(body)))
        elif not kind and _has_code(body):
            parts.append(_cell(body, title, first_line=start + 1, place=len(parts)))
        match = _PERCENT.match(line)
        rest = match["rest"] if match else ""
        found = _KIND.search(rest)
        start, kind = number + 1, found["kind"] if found else ""
        title = _METADATA.sub("", rest).strip()
    return parts


def _uncommented(body: str) -> str:
    """Return the text of a cell that a script holds as comments, or as a string."""
    text = body.strip()
    for quotes in ('"""', "'''"):
        if len(text) >= 2 * len(quotes) and text.startswith(quotes) and text.endswith(quotes):
            return text[len(quotes) : -len(quotes)].strip("\n")
    return "\n".join(re.sub(r"^# ?", "", line) for line in text.split("\n"))


def _markers(text: str, lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines that begin a cell, counted from 0; the same text inside a string is none."""
    found = {n for n, line in enumerate(lines) if _PERCENT.match(line) or _NBCONVERT.fullmatch(line)}
    if found:
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        except (tokenize.TokenError, SyntaxError):
            pass  # text that isn't Python is split too: the wrong cell then fails with the error
        else:
            found &= {token.start[0] - 1 for token in tokens if token.type == tokenize.COMMENT}
    for number in sorted(found):
        yield number, lines[number]


def _notebook(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise RefusedInput(f"{name}: this is no notebook: it is not JSON ({exc})") from exc


def _notebook_cells(name: str, notebook: Any) -> Iterator[SourceCell]:
    """Yield the code cells of a notebook, format 4 or 3. Raises RefusedInput."""
    for place, cell in enumerate(raw_cells(name, notebook)):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", cell.get("input", ""))
        lines = [source] if isinstance(source, str) else source
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise RefusedInput(f"{name}: this is no notebook: the source of a cell is neither text nor lines")
        code = "".join(lines)
        if _has_code(code):
            yield _cell(code, "", place=place)


def raw_cells(name: str, notebook: Any) -> list[Any]:
    """Return the list of cells; format 3 has them in worksheets."""
    holders = [notebook]
    if isinstance(notebook, dict) and isinstance(notebook.get("worksheets"), list):
        holders = notebook["worksheets"]
    cells: list[Any] = []
    for holder in holders:
        found = holder.get("cells") if isinstance(holder, dict) else None
        if not isinstance(found, list):
            raise RefusedInput(f"{name}: this is no notebook: it has no list of cells")
        cells += found
    return cells


def _decoded(name: str, content: bytes) -> str:
    """Decode the text in the encoding that its first lines declare, by default UTF-8. Raises RefusedInput."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return io.TextIOWrapper(io.BytesIO(content), encoding).read()
    except (SyntaxError, UnicodeDecodeError, LookupError) as exc:
        raise RefusedInput(f"{name}: this is no Python source: {exc}") from exc


def _cell(code: str, title: str, *, first_line: int = 1, place: int = 0) -> SourceCell:
    shown = title or next(line.strip() for line in code.split("\n") if _is_code(line))
    shown = " ".join(shown.split())
    if len(shown) > MAX_TITLE_CHARS:
        shown = shown[: MAX_TITLE_CHARS - 1] + "…"
    return SourceCell(code, shown, first_line, place)


def _has_code(text: str) -> bool:
    return any(_is_code(line) for line in text.split("\n"))


def _is_code(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith("#")
