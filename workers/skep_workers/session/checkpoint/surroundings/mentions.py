"""What a cell's source says it may change in libraries: attributes it stores, deletes or patches, and registrations.

Read from the tree once for each source; the paths are followed to modules and classes by `library_changes`.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from opcode import opmap
from types import CodeType
from typing import Final

Path = tuple[str, ...]  # `a.b.c` is ("a", "b", "c")

_STORING: Final = bytes(opmap[name] for name in ("STORE_ATTR", "DELETE_ATTR"))
_CALLS: Final = frozenset({"setattr", "delattr", "patch", "object", "__setattr__", "__delattr__"})
_REGISTER: Final = "register"


@dataclass(slots=True)
class Mentions:
    """Paths in one source.

    stores: to attributes that it may change. deferred: those of them that only a call of a function in it changes.
    registers: to what it registers something with. aliases: what the names that it imports stand for.
    """

    stores: list[Path] = field(default_factory=list)
    deferred: set[Path] = field(default_factory=set)
    registers: list[Path] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)


def mentions_in(tree: ast.AST, code: Iterable[CodeType]) -> Mentions:
    """Return what a source mentions; `code` is what it was compiled to, which tells quickly that it is nothing."""
    found = Mentions()
    if not any(_may_change_libraries(each) for each in code):
        return found
    _note(ast.walk(tree), found)
    inner = Mentions()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            _note(ast.walk(node), inner)
    counts = Counter(inner.stores)
    found.deferred = {path for path, count in Counter(found.stores).items() if count <= counts[path]}
    return found


def _note(nodes: Iterable[ast.AST], found: Mentions) -> None:
    for node in nodes:
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            found.stores += _paths(node)
        elif isinstance(node, ast.Call):
            _note_call(node, found)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.registers += [path for each in node.decorator_list for path in _registering(each)]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found.aliases[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found.aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"


def texts_in(code: CodeType) -> Iterator[str]:
    """Yield the texts in code, and those of the functions in it."""
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from texts_in(constant)


def _may_change_libraries(code: CodeType) -> bool:
    operations = code.co_code[::2]
    if any(operation in operations for operation in _STORING):
        return True
    names = code.co_names
    if any(name in _CALLS or name.startswith(_REGISTER) for name in names):
        return True
    return any(_may_change_libraries(each) for each in code.co_consts if isinstance(each, CodeType))


def _note_call(node: ast.Call, found: Mentions) -> None:
    found.registers += _registering(node)
    called = _last_name(node.func)
    if called not in _CALLS or not node.args:
        return
    first, *others = node.args
    if isinstance(first, ast.Constant) and isinstance(first.value, str):  # mock.patch("json.dumps", ...)
        path = tuple(first.value.split("."))
        found.aliases.setdefault(path[0], path[0])
        found.stores += [path] if len(path) > 1 else []
    elif others and isinstance(others[0], ast.Constant) and isinstance(others[0].value, str):
        found.stores += [(*path, others[0].value) for path in _paths(first)]


def _registering(node: ast.expr) -> list[Path]:
    """Return the path of what a call, or a decorator, registers with."""
    if isinstance(node, ast.Call):
        return _registering(node.func)
    if isinstance(node, ast.Attribute) and node.attr.startswith(_REGISTER):
        return _paths(node)
    return [(node.id,)] if isinstance(node, ast.Name) and node.id.startswith(_REGISTER) else []


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _paths(node: ast.expr) -> list[Path]:
    """Return the path of an attribute as the only item, nothing for what doesn't start at a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [(node.id, *reversed(parts))] if isinstance(node, ast.Name) else []
