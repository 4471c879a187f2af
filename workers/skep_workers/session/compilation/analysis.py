"""Static analysis of a cell: whether it awaits, blocks, or needs an event loop.

There are two steps. The first one, in this module, reads the source alone: which calls run when the cell runs, which
names it imports and assigns, and what the functions that it defines call. Its result is cached by the digest of the
source. The second step, in `routing`, looks those names up in the session's namespace. It compares identities and
types only, so that no user code runs, and it recognises aliases, `from x import y` and functions of earlier cells.
"""

import ast
import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from skep_shared.originals import os
from skep_workers.session.compilation.blocking_calls import ExecutionMode
from skep_workers.session.compilation.plain_cells import Uses, uses_of
from skep_workers.session.errors.compiler_warnings import with_warnings_as_errors
from skep_workers.session.errors.parsing import parse_undisturbed

DEFAULT_CACHE_SIZE: Final = 100
CACHE_SIZE_VARIABLE: Final = "SKEP_AST_CACHE_SIZE"

Chain = tuple[str, ...]  # `a.b().c` is ("a", "b()", "c")


@dataclass(slots=True)
class Body:
    """The calls, imports and assignments that one block of code performs when it runs."""

    calls: list[Chain] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    assigned: dict[str, Chain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Analysis:
    """The result of analysing the source alone. If it doesn't parse, `mode` is UNKNOWN and `error` is the reason."""

    mode: ExecutionMode
    body: Body
    functions: dict[str, Body]
    tree: ast.Module | None = None
    uses: Uses | None = None  # see plain_cells.py
    error: SyntaxError | ValueError | None = None


class CodeAnalyzer:
    """Analyses cells and caches the most recent analyses; a cache size of 0 turns the cache off."""

    def __init__(self, cache_size: int | None = None) -> None:
        if cache_size is None:
            cache_size = int(os.environ.get(CACHE_SIZE_VARIABLE, DEFAULT_CACHE_SIZE))
        if cache_size < 0:
            raise ValueError(f"the size of the AST cache must be 0 or more, not {cache_size}")
        self._size = cache_size
        self._cache: OrderedDict[bytes, Analysis] = OrderedDict()
        self.hits = 0

    def analyze(self, source: str, filename: str = "<cell>", flags: int = 0) -> Analysis:
        """Return the analysis of a cell; `flags` are the compiler flags of its future imports.

        The tree is shared with the cache and must not be changed.
        """
        if not self._size:
            return _analyze(source, filename, flags)
        key = hashlib.blake2b(f"{flags}:{source}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        known = self._cache.get(key)
        if known is not None:
            self.hits += 1
            self._cache.move_to_end(key)
            return known
        analysis = with_warnings_as_errors(filename, _analyze, source, filename, flags)
        # Errors are not cached, because they contain the file name of the cell. Nor are warnings, which this call
        # reports as errors: they are shown each time the cell runs.
        if analysis.error is not None:
            return _analyze(source, filename, flags)
        self._cache[key] = analysis
        if len(self._cache) > self._size:
            self._cache.popitem(last=False)
        return analysis


def _analyze(source: str, filename: str, flags: int) -> Analysis:
    parse_flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | flags
    try:
        tree = parse_undisturbed(compile, source, filename, "exec", parse_flags, dont_inherit=True)
    except (SyntaxError, ValueError) as exc:
        return Analysis(ExecutionMode.UNKNOWN, Body(), {}, error=exc)
    assert isinstance(tree, ast.Module)  # noqa: S101 - which PyCF_ONLY_AST returns for "exec"
    collector = _Collector()
    for statement in tree.body:
        collector.visit(statement)
    mode = ExecutionMode.SIMPLE_SYNC
    if collector.awaits:
        mode = ExecutionMode.TOP_LEVEL_AWAIT
    elif collector.defines_async:
        mode = ExecutionMode.ASYNC_DEF
    uses = uses_of(tree) if mode is ExecutionMode.SIMPLE_SYNC else None
    return Analysis(mode, collector.body, collector.functions, tree, uses)


class _Collector(ast.NodeVisitor):
    """Collects what runs when the cell runs; function bodies are collected separately, by the function's name."""

    def __init__(self, functions: dict[str, Body] | None = None, prefix: str = "") -> None:
        self.body = Body()
        self.functions: dict[str, Body] = {} if functions is None else functions
        self.awaits = False
        self.defines_async = False
        self._prefix = prefix

    def visit_Await(self, node: ast.Await) -> None:
        self.awaits = True
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.awaits = True
        self.generic_visit(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.awaits = True
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.awaits = self.awaits or bool(node.is_async)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._define(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.defines_async = True
        self._define(node, runs_when_called=False)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_all([*node.args.defaults, *(default for default in node.args.kw_defaults if default)])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_all([*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)])
        inner = _Collector(self.functions, f"{self._prefix}{node.name}.")
        self.functions[f"{self._prefix}{node.name}.__init__"] = Body()  # unless its body has one
        for statement in node.body:
            inner.visit(statement)
        self.body.calls += inner.body.calls

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self.body.imports[name] = alias.name if alias.asname else name

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module and not node.level:
            for alias in node.names:
                self.body.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        chain = _chain(node.value)
        if chain:
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self.body.assigned[target.id] = chain

    def visit_withitem(self, node: ast.withitem) -> None:
        self.generic_visit(node)
        chain = _chain(node.context_expr)
        if chain and isinstance(node.optional_vars, ast.Name):
            self.body.assigned[node.optional_vars.id] = chain

    def visit_Call(self, node: ast.Call) -> None:
        chain = _chain(node.func)
        if chain:
            self.body.calls.append(chain)
        self.generic_visit(node)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef, *, runs_when_called: bool = True) -> None:
        arguments = node.args
        self._visit_all([*node.decorator_list, *arguments.defaults, *(d for d in arguments.kw_defaults if d)])
        inner = _Collector()
        for statement in node.body:
            inner.visit(statement)
        # Calling an async function or a generator only makes an object.
        generates = any(isinstance(part, ast.Yield | ast.YieldFrom) for part in ast.walk(node))
        self.functions[self._prefix + node.name] = inner.body if runs_when_called and not generates else Body()

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)


def _chain(node: ast.expr) -> Chain:
    """Return `a.b().c` as ("a", "b()", "c"), or () for an expression that doesn't start with a name."""
    if isinstance(node, ast.Await):
        return ()
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        inner = _chain(node.value)
        return (*inner, node.attr) if inner else ()
    if isinstance(node, ast.Call):
        inner = _chain(node.func)
        return (*inner[:-1], inner[-1] + "()") if inner else ()
    return ()
