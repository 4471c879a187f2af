"""From a cell's source to code objects: the body, and the last expression apart, so that its value can be shown.

Both are compiled with top-level await allowed; code that awaits has CO_COROUTINE among its flags, which is the only
thing the caller needs to look at. The engine's own `from __future__` imports never leak in; those of a cell hold for
the later cells of its session.
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

from skep_workers.session.analysis import Analysis, CodeAnalyzer
from skep_workers.session.transforms import rewrite_awaits

_FUTURE_FLAGS: Final = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}
_NOT_SIGNIFICANT: Final = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


MAX_COMPILED: Final = 100

_Parts = tuple[CodeType | None, CodeType | None]


class CompiledCell(NamedTuple):
    """What to exec, then what to eval; either may be missing.

    awaits: running it gives a coroutine. rewrites: what had to be changed to compile it.
    """

    body: CodeType | None
    last: CodeType | None
    awaits: bool
    shows_value: bool
    analysis: Analysis
    rewrites: tuple[str, ...] = ()

    def evaluate(self, names: dict[str, Any]) -> Any:
        """Run a cell that doesn't await; gives the last expression's value. Raises what the code raises."""
        value: Any = None
        for code in (self.body, self.last):
            if code is not None:
                value = eval(code, names)
        return value if self.last is not None else None


class CellCompiler:
    """Compiles the cells of one session; remembers the future imports of earlier ones."""

    def __init__(self, analyzer: CodeAnalyzer | None = None) -> None:
        self.analyzer = analyzer or CodeAnalyzer()
        self.future_flags = 0
        self._parts: OrderedDict[tuple[int, int], tuple[ast.Module, _Parts]] = OrderedDict()

    def compile(self, source: str, filename: str) -> CompiledCell:
        """Give the cell's code objects. Raises SyntaxError, or ValueError for what isn't source at all."""
        analysis = self.analyzer.analyze(source, filename, self.future_flags)
        if analysis.tree is None:
            raise analysis.error or SyntaxError("the cell has no tree")
        flags = self.future_flags | _own_future_flags(analysis.tree)
        rewrites: tuple[str, ...] = ()
        try:
            body, last = self._compiled(analysis.tree, filename, flags)
        except SyntaxError as exc:
            rewritten = rewrite_awaits(source, filename, flags)
            if rewritten is None:
                # What the compiler finds, unlike the parser, comes without the line: it looks for a file.
                exc.text = exc.text or linecache.getline(filename, exc.lineno or 0) or None
                raise
            body, last = _compile_parts(rewritten.tree, filename, flags)
            rewrites = rewritten.changes
        self.future_flags = flags
        shows_value = last is not None and not ends_with_semicolon(source)
        awaits = bool(_flags_of(body) & CO_COROUTINE or _flags_of(last) & CO_COROUTINE)
        return CompiledCell(body, last, awaits, shows_value, analysis, rewrites)

    def _compiled(self, tree: ast.Module, filename: str, flags: int) -> _Parts:
        """Compile a cell; of one whose source has come before only the file name is new."""
        key = (id(tree), flags)
        known = self._parts.get(key)
        if known is not None:
            self._parts.move_to_end(key)
            body, last = known[1]
            return _renamed(body, filename), _renamed(last, filename)
        parts = _compile_parts(tree, filename, flags)
        self._parts[key] = tree, parts  # the tree is held, so that its id stays its own
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
    """Give the code as it would have been compiled from this file; functions and classes in it too."""
    if code is None:
        return None
    constants = tuple(_renamed(each, filename) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=filename, co_consts=constants)


def _compile_parts(tree: ast.Module, filename: str, flags: int) -> _Parts:
    flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    statements, final = tree.body, None
    if statements and isinstance(statements[-1], ast.Expr):
        statements, final = statements[:-1], statements[-1]
    body = last = None
    if statements:
        module = ast.Module(body=statements, type_ignores=[])
        body = compile(module, filename, "exec", flags, dont_inherit=True)
    if isinstance(final, ast.Expr):
        last = compile(ast.Expression(final.value), filename, "eval", flags, dont_inherit=True)
    return body, last


def cell_filename(seq: int) -> str:
    """Give the file name under which a cell's source is known."""
    return f"<cell {seq}>"


def ends_with_semicolon(source: str) -> bool:
    """Tell whether the last thing before comments is a semicolon, which hides the value."""
    if ";" not in source:
        return False
    last = ""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in _NOT_SIGNIFICANT:
                last = token.string
    except (tokenize.TokenError, SyntaxError):
        return False
    return last == ";"
