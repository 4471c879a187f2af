"""The last resort for source that doesn't compile: rewrites awaits that stand where Python doesn't allow them.

- `def f(): … await …` becomes `async def f()`. Its callers get a coroutine, which the await inside suggests.
- `lambda: await x` becomes an async helper function in the same place.

Python rejects both when it compiles, not when it parses, so there is a tree to rewrite. For any other mistake the
original SyntaxError is kept.
"""

import ast
from dataclasses import dataclass
from typing import TypeVar

from skep_workers.session.errors.compiler_warnings import quiet_compile

Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A tree that compiles, and the changes that were made to it, worded for a warning."""

    tree: ast.Module
    changes: tuple[str, ...]


def rewrite_awaits(source: str, filename: str, flags: int) -> Rewritten | None:
    """Return the rewritten tree, or None if the source has no await to rewrite."""
    try:
        tree = quiet_compile(source, filename, "exec", ast.PyCF_ONLY_AST | flags)
    except (SyntaxError, ValueError):
        return None
    assert isinstance(tree, ast.Module)  # noqa: S101 - which PyCF_ONLY_AST returns for "exec"
    rewriter = _Rewriter()
    tree = rewriter.visit(tree)
    if not rewriter.changes:
        return None
    return Rewritten(ast.fix_missing_locations(tree), tuple(rewriter.changes))


def _awaits_itself(nodes: list[ast.stmt] | list[ast.expr]) -> bool:
    """Return whether this code awaits, without counting the functions that it defines."""
    pending: list[ast.AST] = list(nodes)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) or (
            isinstance(node, ast.comprehension) and node.is_async
        ):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            pending.extend(ast.iter_child_nodes(node))
    return False


class _Rewriter(ast.NodeTransformer):
    def __init__(self) -> None:
        self.changes: list[str] = []
        self._helpers: list[ast.AsyncFunctionDef] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node = self._visit_statements(node)
        if not _awaits_itself(node.body):
            return node
        self.changes.append(f"line {node.lineno}: def {node.name} awaits, so it was made async")
        fields = {name: getattr(node, name) for name in node._fields}
        return ast.copy_location(ast.AsyncFunctionDef(**fields), node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.generic_visit(node)
        given = node.args
        has_arguments = given.args or given.posonlyargs or given.kwonlyargs or given.vararg or given.kwarg
        if has_arguments or not _awaits_itself([node.body]):
            return node
        name = f"_awaiting_lambda_{node.lineno}_{node.col_offset}"
        helper = ast.AsyncFunctionDef(
            name=name, args=node.args, body=[ast.Return(value=node.body)], decorator_list=[], returns=None
        )
        if "type_params" in ast.AsyncFunctionDef._fields:
            helper.type_params = []  # type: ignore[attr-defined, unused-ignore]
        self._helpers.append(ast.copy_location(helper, node))
        self.changes.append(f"line {node.lineno}: a lambda awaits, so it was made an async function")
        return ast.copy_location(ast.Name(id=name, ctx=ast.Load()), node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return self._visit_statements(node)

    def _visit_statements(self, node: Node) -> Node:
        """Visit the children and insert the helpers of a statement's lambdas right before that statement."""
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                replaced: list[object] = []
                for item in value:
                    if not isinstance(item, ast.AST):
                        replaced.append(item)
                        continue
                    outer, self._helpers = self._helpers, []
                    visited = self.visit(item)
                    if isinstance(item, ast.stmt):
                        replaced.extend(self._helpers)
                        self._helpers = outer
                    else:
                        self._helpers = outer + self._helpers
                    replaced.append(visited)
                value[:] = replaced
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node
