"""What a cell is going to do, read from its source: whether it awaits, blocks, or needs a loop.

Two steps. The first looks at the source alone and is cached by the source's digest: which calls run when the cell
runs, which names it imports and assigns, what the functions it defines call. The second follows those names through
the session's namespace, by identity and type only, so that aliases, `from x import y` and functions of earlier cells
are seen, and no user code runs.
"""

import ast
import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from skep_shared.originals import os
from skep_workers.session.detection import ExecutionMode
from skep_workers.session.uses import Uses, uses_of

DEFAULT_CACHE_SIZE: Final = 100
CACHE_SIZE_VARIABLE: Final = "SKEP_AST_CACHE_SIZE"

Chain = tuple[str, ...]  # `a.b().c` is ("a", "b()", "c")


@dataclass(slots=True)
class Body:
    """What one stretch of code does when it runs."""

    calls: list[Chain] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    assigned: dict[str, Chain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the source alone says. `mode` is UNKNOWN for source that doesn't parse; `error` is then why."""

    mode: ExecutionMode
    body: Body
    functions: dict[str, Body]
    tree: ast.Module | None = None
    uses: Uses | None = None  # see uses.py
    error: SyntaxError | ValueError | None = None


class CodeAnalyzer:
    """Analyses cells, remembering the latest ones; a size of 0 remembers nothing."""

    def __init__(self, cache_size: int | None = None) -> None:
        if cache_size is None:
            cache_size = int(os.environ.get(CACHE_SIZE_VARIABLE, DEFAULT_CACHE_SIZE))
        if cache_size < 0:
            raise ValueError(f"the AST cache's size can't be {cache_size}: 0 or more is needed")
        self._size = cache_size
        self._cache: OrderedDict[bytes, Analysis] = OrderedDict()
        self.hits = 0

    def analyze(self, source: str, filename: str = "<cell>", flags: int = 0) -> Analysis:
        """Give the analysis of a cell; `flags` are those of its future imports. The tree is shared: don't change it."""
        if not self._size:
            return _analyze(source, filename, flags)
        key = hashlib.blake2b(f"{flags}:{source}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        known = self._cache.get(key)
        if known is not None:
            self.hits += 1
            self._cache.move_to_end(key)
            return known
        analysis = _analyze(source, filename, flags)
        if analysis.error is not None:
            return analysis  # it names the file, which is another one for every cell
        self._cache[key] = analysis
        if len(self._cache) > self._size:
            self._cache.popitem(last=False)
        return analysis


def _analyze(source: str, filename: str, flags: int) -> Analysis:
    parse_flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | flags
    try:
        tree = compile(source, filename, "exec", parse_flags, dont_inherit=True)
    except (SyntaxError, ValueError) as exc:
        return Analysis(ExecutionMode.UNKNOWN, Body(), {}, error=exc)
    assert isinstance(tree, ast.Module)  # noqa: S101 - what PyCF_ONLY_AST gives for "exec"
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
    """Walks what runs when the cell runs; the bodies of functions are noted apart, under the function's name."""

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
    """Give `a.b().c` as ("a", "b()", "c"); () for anything that doesn't start at a name."""
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
