"""Whether a cell is complete or needs more lines: a front end asks this when the user presses Enter.

The check runs on the thread of the operations, alongside a cell, and must not write to that cell's output. So the code
is only parsed, not compiled, and escapes that the parser would warn about are replaced before.
"""

import ast
import re
import symtable
from codeop import PyCF_ALLOW_INCOMPLETE_INPUT, PyCF_DONT_IMPLY_DEDENT  # type: ignore[attr-defined]
from typing import Any, Final

from skep_workers.session.errors.compiler_warnings import without_warnings
from skep_workers.session.errors.parsing import parse_undisturbed
from skep_workers.session.magics.pasted import with_plain_line_ends
from skep_workers.session.magics.syntax import BadMagic, UnknownMagic, begins_with_cell_magic, translate

INDENT: Final = 4
_FLAGS: Final = (
    ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | PyCF_ALLOW_INCOMPLETE_INPUT | PyCF_DONT_IMPLY_DEDENT
)
_ESCAPE: Final = re.compile(r"\\(?![\n'\"\\ \tN])")


def completeness(source: str) -> dict[str, Any]:
    """Return {status, indent}: `complete`, `incomplete` or `invalid`, and the indent of the next line in spaces.

    A block is complete when an empty line ends it, and so is the text of a cell magic.
    """
    source = with_plain_line_ends(source)
    lines = source.split("\n")
    ends_empty = not lines[-1].strip()
    last = next((line for line in reversed(lines) if line.strip()), "")
    if last.endswith("\\"):
        return _incomplete(lines, last)
    if begins_with_cell_magic(source):
        is_asked = len([line for line in lines if line.strip()]) == 1 and last.rstrip().endswith("?")
        return _complete() if is_asked or (ends_empty and len(lines) > 1) else _incomplete(lines, last)
    try:
        translated = translate(_ESCAPE.sub("_", source)).source
    except UnknownMagic:
        return _complete()
    except BadMagic:
        return {"status": "invalid", "indent": None}
    return _of_python(translated, lines, last, ends_empty=ends_empty)


def _of_python(source: str, lines: list[str], last: str, *, ends_empty: bool) -> dict[str, Any]:
    try:
        with without_warnings("<is_complete>"):
            tree = parse_undisturbed(compile, f"{source}\n", "<is_complete>", "exec", _FLAGS, dont_inherit=True)
            symtable.symtable(source, "<is_complete>", "exec")
    except SyntaxError as exc:
        if "incomplete input" in str(exc.msg) or type(exc).__name__ == "_IncompleteInputError":
            return _incomplete(lines, last)
        return {"status": "invalid", "indent": None}
    except (ValueError, MemoryError, RecursionError, OverflowError):
        return {"status": "invalid", "indent": None}
    assert isinstance(tree, ast.Module)  # noqa: S101 - which PyCF_ONLY_AST returns for "exec"
    if not ends_empty and tree.body and hasattr(tree.body[-1], "body") and last[:1].isspace():
        return _incomplete(lines, last)
    return _complete()


def _complete() -> dict[str, Any]:
    return {"status": "complete", "indent": None}


def _incomplete(lines: list[str], last: str) -> dict[str, Any]:
    shown = (lines[-1] if lines[-1].strip() else last).expandtabs(INDENT)
    indent = len(shown) - len(shown.lstrip())
    return {"status": "incomplete", "indent": indent + INDENT if last.rstrip().endswith(":") else indent}
