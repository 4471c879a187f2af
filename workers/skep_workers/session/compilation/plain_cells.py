"""Cells of plain values: they provably change nothing except the names that they bind.

Such a cell consists of constants, operators, control flow, new containers, and calls of built-in functions that have no
side effects. If every name that it reads is bound to a number or a text, only code of the interpreter runs, so no other
object of the session changes. Anything else (setting an attribute, an import, a call of any other function) is
refused: such a cell may change any object.
"""

import ast
import builtins
from typing import Any, Final, NamedTuple

SCALARS: Final = frozenset({int, float, complex, str, bytes, bool, type(None)})

_HARMLESS: Final = {
    name: getattr(builtins, name)
    for name in (
        "abs", "all", "any", "ascii", "bin", "bool", "bytes", "chr", "complex", "dict", "divmod", "enumerate", "float",
        "format", "frozenset", "hash", "hex", "int", "len", "list", "max", "min", "oct", "ord", "pow", "range", "repr",
        "reversed", "round", "set", "sorted", "str", "sum", "tuple", "zip",
    )
}  # fmt: skip
_ALLOWED: Final = (
    ast.Module, ast.Expr, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Assign, ast.AugAssign, ast.AnnAssign,
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.JoinedStr, ast.FormattedValue, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Starred, ast.Subscript, ast.Slice,
    ast.If, ast.For, ast.While, ast.Break, ast.Continue, ast.Pass, ast.Assert, ast.NamedExpr, ast.Call, ast.keyword,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.comprehension,
)  # fmt: skip


class Uses(NamedTuple):
    """The names that cells read and bind."""

    read: frozenset[str] = frozenset()
    bound: frozenset[str] = frozenset()

    def joined(self, other: "Uses | None") -> "Uses | None":
        """Return the names that both use together, or None if `other` is None."""
        return None if other is None else Uses(self.read | other.read, self.bound | other.bound)


def uses_of(tree: ast.Module) -> Uses | None:
    """Return the names that a cell of plain values uses, or None for any other cell."""
    read: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Call) and not _is_harmless_call(node)):
            return None
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            return None
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            read.add(node.target.id)
    return Uses(frozenset(read), frozenset(bound))


def _is_harmless_call(call: ast.Call) -> bool:
    """Return whether this calls a built-in function by its name, without `key=` or the like, which would call more."""
    return isinstance(call.func, ast.Name) and call.func.id in _HARMLESS and not call.keywords


def reads_plain_values(uses: Uses, names: dict[str, Any]) -> bool:
    """Return whether each name that is read is bound to a scalar, or is the original built-in function of that name."""
    for name in uses.read:
        if name in names:
            if type(names[name]) not in SCALARS:
                return False
        elif _HARMLESS.get(name) is None or vars(builtins).get(name) is not _HARMLESS[name]:
            return False
    return True
