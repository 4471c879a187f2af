"""Compiles a cell into two code objects: the body, and the last expression, whose value is shown.

Both are compiled with top-level await allowed. Code that awaits has CO_COROUTINE among its flags, and the caller needs
to check nothing else. The engine's own `from __future__` imports never affect a cell; those of a cell also apply to the
later cells of its session.
"""

import __future__

import ast
import io
import linecache
import tokenize
from collections import OrderedDict
from inspect import CO_COROUTINE
from types import CodeType
from typing import Any, Final, NamedTuple

from skep_workers.session.compilation.analysis import Analysis, CodeAnalyzer
from skep_workers.session.compilation.transforms import rewrite_awaits
from skep_workers.session.errors.compiler_warnings import (
    with_warnings_as_errors,
    without_repeated_warnings,
    without_warnings,
)

_FUTURE_FLAGS: Final = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}
_NOT_SIGNIFICANT: Final = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)
_TOKENS: Final = "<string>"  # the file name in the warnings of the module tokenize, from Python 3.12 on

MAX_COMPILED: Final = 100

_Parts = tuple[CodeType | None, CodeType | None]


class CompiledCell(NamedTuple):
    """The code to execute, then the expression to evaluate; either may be missing.

    awaits: running the code returns a coroutine. rewrites: the changes that were needed to make it compile.
    """

    body: CodeType | None
    last: CodeType | None
    awaits: bool
    shows_value: bool
    analysis: Analysis
    rewrites: tuple[str, ...] = ()

    def evaluate(self, names: dict[str, Any]) -> Any:
        """Run a cell that doesn't await and return its last expression's value. Raises whatever the code raises."""
        value: Any = None
        for code in (self.body, self.last):
            if code is not None:
                value = eval(code, names)
        return value if self.last is not None else None


class CellCompiler:
    """Compiles the cells of one session and applies the future imports of earlier cells."""

    def __init__(self, analyzer: CodeAnalyzer | None = None) -> None:
        self.analyzer = analyzer or CodeAnalyzer()
        self.future_flags = 0
        self._parts: OrderedDict[tuple[int, int], tuple[ast.Module, _Parts]] = OrderedDict()

    def compile(self, source: str, filename: str) -> CompiledCell:
        """Return the cell's code objects. Raises SyntaxError, or ValueError for text that can't be source code."""
        analysis = self.analyzer.analyze(source, filename, self.future_flags)
        if analysis.tree is None:
            raise analysis.error or SyntaxError("the cell has no tree")
        flags = self.future_flags | _own_future_flags(analysis.tree)
        rewrites: tuple[str, ...] = ()
        splits = not (_ends_with_expression(analysis.tree) and ends_with_semicolon(source))
        parts = self._compiled(analysis.tree, filename, flags, splits)
        if parts is None:
            with without_repeated_warnings(filename):
                body, last, rewrites = _compile_with_warnings(source, analysis.tree, filename, flags, splits)
        else:
            body, last = parts
        self.future_flags = flags
        awaits = bool(_flags_of(body) & CO_COROUTINE or _flags_of(last) & CO_COROUTINE)
        return CompiledCell(body, last, awaits, last is not None, analysis, rewrites)

    def _compiled(self, tree: ast.Module, filename: str, flags: int, splits: bool) -> _Parts | None:
        """Compile a cell, or return cached code with the new file name if the same source was compiled before.

        Return None if the cell does not compile, or if the compiler has a warning about it.
        """
        key = (id(tree), flags)
        known = self._parts.get(key)
        if known is not None:
            self._parts.move_to_end(key)
            body, last = known[1]
            return _renamed(body, filename), _renamed(last, filename)
        try:
            parts = with_warnings_as_errors(filename, _compile_parts, tree, filename, flags, splits)
        except SyntaxError:
            return None
        self._parts[key] = tree, parts  # the tree is stored, so that its id isn't reused
        if len(self._parts) > MAX_COMPILED:
            self._parts.popitem(last=False)
        return parts


def _flags_of(code: CodeType | None) -> int:
    return code.co_flags if code is not None else 0


def _own_future_flags(tree: ast.Module) -> int:
    flags = 0
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            for alias in statement.names:
                flags |= _FUTURE_FLAGS.get(alias.name, 0)
    return flags


def _renamed(code: CodeType | None, filename: str) -> CodeType | None:
    """Return the code with another file name, also in the functions and classes that it contains."""
    if code is None:
        return None
    constants = tuple(_renamed(each, filename) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=filename, co_consts=constants)


def _ends_with_expression(tree: ast.Module) -> bool:
    return bool(tree.body) and isinstance(tree.body[-1], ast.Expr)


def _compile_parts(tree: ast.Module, filename: str, flags: int, splits: bool) -> _Parts:
    """Compile the body and, if `splits`, the last expression separately, so that its value can be shown.

    A value that isn't shown is discarded in the cell's own frame. A warning that this causes then points at the cell.
    """
    flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    statements, final = tree.body, None
    if splits and _ends_with_expression(tree):
        statements, final = statements[:-1], statements[-1]
    body = last = None
    if statements:
        module = ast.Module(body=statements, type_ignores=[])
        body = compile(module, filename, "exec", flags, dont_inherit=True)
    if isinstance(final, ast.Expr):
        last = compile(ast.Expression(final.value), filename, "eval", flags, dont_inherit=True)
    return body, last


def _compile_with_warnings(
    source: str, tree: ast.Module, filename: str, flags: int, splits: bool
) -> tuple[CodeType | None, CodeType | None, tuple[str, ...]]:
    """Compile a cell that does not compile unchanged, or about which the compiler has a warning."""
    try:
        return *_compile_parts(tree, filename, flags, splits), ()
    except SyntaxError as exc:
        rewritten = rewrite_awaits(source, filename, flags)
        if rewritten is None:
            # Unlike the parser's errors, the compiler's lack the source line: the compiler looks for it in a file.
            exc.text = exc.text or linecache.getline(filename, exc.lineno or 0) or None
            raise
    return *_compile_parts(rewritten.tree, filename, flags, splits), rewritten.changes


def cell_filename(seq: int) -> str:
    """Return the file name that stands for a cell's source."""
    return f"<cell {seq}>"


def ends_with_semicolon(source: str) -> bool:
    """Return whether the last token before any comments is a semicolon, which hides the value."""
    if ";" not in source:
        return False
    last = ""
    try:
        with without_warnings(_TOKENS):
            for token in tokenize.generate_tokens(io.StringIO(source).readline):
                if token.type not in _NOT_SIGNIFICANT:
                    last = token.string
    except (tokenize.TokenError, SyntaxError):
        return False
    return last == ";"
